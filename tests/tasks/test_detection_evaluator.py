"""Evaluator for detection through TFX's executor and real TFMA: metrics, gate, baseline and report."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.base.errors import DataRefusedError, UsageError
from components.evaluator.component import Evaluator, ReportingExecutor
from components.evaluator.config import EvaluationConfig
from components.evaluator.evaluation import read_draws, read_mistakes
from components.evaluator.results import read_evaluation
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.evaluator import make_eval_config
from components.tasks.detection.tally import evaluate
from components.tasks.detection.tfma_metric import read_answer
from components.tasks.detection.truth import read_truth
from schemas import features
from tests.make.detections import make_detections, make_random_detections, make_record, save_detector
from tests.make.graphs import BEAM_ARGS
from tests.make.images import encode_image, make_noise
from tests.make.records import write_split

CLASS_NAMES = ("cat", "dog", "owl")
LEFT, RIGHT = (10.0, 10.0, 110.0, 110.0), (200.0, 10.0, 300.0, 110.0)


def sorted_by_score(image: Detections) -> Detections:
    order = np.argsort(-image.scores, kind="stable")
    values = {name: getattr(image, name)[order] for name in ("found_boxes", "found_labels", "scores")}
    return Detections(**{**vars(image), **values})


def some_images() -> list[Detections]:
    """Return the detections of 40 images, some without objects, one without a box found."""
    images = [sorted_by_score(image) for image in make_random_detections(3, 39, 2)]
    assert any(not len(image.boxes) for image in images)
    return [*images, make_detections([(LEFT, 1)], name="00039.jpg", height=300)]


def run(
    folder: Path,
    images: Sequence[Detections],
    config: EvaluationConfig,
    baseline: Sequence[Detections] | None = None,
    expected_examples: int | None = None,
    baseline_classes: Sequence[str] = CLASS_NAMES,
) -> tuple[Path, standard_artifacts.ModelBlessing]:
    """The evaluation's folder and the blessing."""
    pictures = [encode_image(make_noise(i, image.height, image.width)) for i, image in enumerate(images[:5])]
    records = [make_record(image, pictures[i % len(pictures)], CLASS_NAMES) for i, image in enumerate(images)]
    write_split(folder / "examples" / "Split-test", records)
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    examples.split_names = '["train", "eval", "test"]'
    inputs: dict[str, Any] = {"examples": [examples]}
    for key, answers, known in (
        ("model", images, CLASS_NAMES),
        ("baseline_model", baseline, baseline_classes),
    ):
        if answers is not None:
            model = standard_artifacts.Model()
            model.uri = str(folder / key)
            saved = folder / key / "Format-Serving"
            save_detector(str(saved), answers, known)
            (saved / "assets.extra").mkdir(exist_ok=True)
            (saved / "assets.extra" / "labels.txt").write_text("\n".join(known))
            inputs[key] = [model]
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    for path in (evaluation.uri, blessing.uri):
        Path(path).mkdir()
    context = ReportingExecutor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(options=PipelineOptions(BEAM_ARGS))
    )
    ReportingExecutor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(
                make_eval_config(config, CLASS_NAMES, expected_examples)
            ),
            "example_splits": json_utils.dumps(["test"]),
            "fairness_indicator_thresholds": "null",
            "task": "detection",
        },
    )
    return folder / "evaluation", blessing


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, standard_artifacts.ModelBlessing]:
    config = EvaluationConfig(thresholds={"map": 0.1, "map_50": 0.2, "map_75": 0.05})
    return run(tmp_path_factory.mktemp("evaluated"), some_images(), config)


def test_the_metrics_are_those_of_coco(evaluated: tuple[Path, Any]) -> None:
    expected = evaluate(some_images(), 3)
    read = read_evaluation(str(evaluated[0]))
    assert list(read.metrics)[:3] == ["map", "map_50", "map_75"]
    there = {name: value for name, value in expected.metrics.items() if not math.isnan(value)}
    assert read.metrics == pytest.approx(there)
    assert 0.2 < read.metrics["map_50"] < 0.95
    # By class index, as class names are listed: label 1 is the first.
    assert read.per_class[0] == pytest.approx(expected.per_class[0])
    assert read.per_class[1]["map_50"] == pytest.approx(expected.per_class[1]["map_50"])
    assert read.per_class[2] == {"map": None, "map_50": None, "map_75": None, "ar_100": None}


def test_what_meets_its_thresholds_is_blessed(evaluated: tuple[Path, Any]) -> None:
    folder, blessing = evaluated
    assert blessing.get_int_custom_property("blessed") == 1
    assert read_evaluation(str(folder)).blessed
    assert read_evaluation(str(folder)).failures == []


def test_the_report_lies_in_the_evaluation(evaluated: tuple[Path, Any]) -> None:
    folder = evaluated[0]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    names = sorted(str(path.relative_to(folder)) for path in (folder / "detection").rglob("*.*"))
    pictures = [
        f"detection/pictures/{what}-{number:02}.png" for what in ("chosen", "worst") for number in range(1, 9)
    ]
    assert names == sorted(
        [
            *(f"detection/{name}.json" for name in ("errors", "intervals", "metrics", "precision_recall")),
            "detection/counted.npz",
            *pictures,
        ]
    )
    metrics = json.loads((folder / "detection" / "metrics.json").read_text())
    assert metrics["images"] == 40
    assert metrics["metrics"]["map"] == pytest.approx(read_evaluation(str(folder)).metrics["map"], abs=1e-6)
    assert metrics["per_class"]["owl"]["map"] is None
    assert {name: len(values) for name, values in read_draws(str(folder)).items()} == {
        "map": 1000, "map_50": 1000, "map_75": 1000
    }  # fmt: skip
    for name in pictures:
        with Image.open(folder / name) as picture:
            picture.load()
            assert picture.width > 2 * 400


@pytest.mark.both_stacks
@pytest.mark.slow
def test_missed_thresholds_and_a_better_baseline_refuse_a_model(tmp_path: Path) -> None:
    truth = [(LEFT, 1), (RIGHT, 2)]
    perfect = [(LEFT, 1, 0.9), (RIGHT, 2, 0.8)]
    # Nothing on the second image, nor anything found: its features are empty in all of their forms.
    candidate = [make_detections(truth, perfect[:1], name="00000.jpg"), make_detections(name="00001.jpg")]
    baseline = [make_detections(truth, perfect, name="00000.jpg"), make_detections(name="00001.jpg")]
    config = EvaluationConfig(thresholds={"map": 0.6, "map_50": 0.5}, max_regression={"map_75": 0.2})
    folder, blessing = run(tmp_path, candidate, config, baseline)
    read = read_evaluation(str(folder))
    assert blessing.get_int_custom_property("blessed") == 0
    assert not read.blessed
    assert sorted(read.failures) == [
        "map is 0.5000, must be at least 0.6",
        "map_75 changed by -0.5000 against the baseline, allowed is -0.2",
    ]
    assert read.metrics["map"] == pytest.approx(0.5)  # the candidate's
    metrics = json.loads((folder / "detection" / "metrics.json").read_text())
    assert metrics["metrics"]["map"] == 0.5
    # The object on the left is found, the one on the right is not.
    assert (folder / "mistakes.csv").read_text() == (
        "image,errors,missed,duplicate,wrong_class,badly_placed,background,right,f1\n"
        "00000.jpg,1,1,0,0,0,0,1,0.666667\n"
    )
    assert read_mistakes(str(folder)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("allowed", "is_refused"), [(0.5, False), (0.4, True)])
def test_a_baseline_of_other_classes_is_compared_on_the_common_ones(
    allowed: float, is_refused: bool, tmp_path: Path
) -> None:
    # A cat, a dog and an owl. The candidate finds the cat and the owl. The baseline knows dogs as 1, cats as
    # 2 and emus as 3; it finds the cat, the dog, and an emu where the owl is.
    below = (10.0, 120.0, 110.0, 190.0)
    truth = [(LEFT, 1), (RIGHT, 2), (below, 3)]
    candidate = [make_detections(truth, [(LEFT, 1, 0.9), (below, 3, 0.9)], name="00000.jpg")]
    baseline = [make_detections(truth, [(LEFT, 2, 0.9), (RIGHT, 1, 0.8), (below, 3, 0.7)], name="00000.jpg")]
    config = EvaluationConfig(thresholds={"map": 0.6}, max_regression={"map": allowed})
    folder, blessing = run(tmp_path, candidate, config, baseline, baseline_classes=("dog", "cat", "emu"))
    read = read_evaluation(str(folder))
    assert read.failures == (
        [
            "map on the 2 common classes (cat, dog; 1 test image) changed by -0.5000 against the baseline, "
            "allowed is -0.4"
        ]
        if is_refused
        else []
    )
    assert blessing.get_int_custom_property("blessed") == (not is_refused)
    assert read.metrics["map"] == pytest.approx(2 / 3)  # of cats and owls, over all three
    assert read.baseline == {}
    assert read.common is not None
    assert (read.common.class_names, read.common.test_images) == (["cat", "dog"], 1)
    assert read.common.metrics == {"map": 0.5, "map_50": 0.5, "map_75": 0.5}
    assert read.common.baseline == {"map": 1.0, "map_50": 1.0, "map_75": 1.0}


@pytest.mark.slow
def test_without_any_object_nothing_is_blessed(tmp_path: Path) -> None:
    images = [make_detections([], [(LEFT, 1, 0.9)], name="00000.jpg")]
    folder, _ = run(tmp_path, images, EvaluationConfig(thresholds={"map": 0.0}))
    read = read_evaluation(str(folder))
    assert not read.blessed
    assert read.metrics == {}
    assert read.failures == ["map is missing, must be at least 0"]


@pytest.mark.slow
def test_a_detector_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    images = [
        make_detections([(LEFT, 1), (RIGHT, 2)], [(RIGHT, 1, 0.9)], name=f"{n:05}.jpg") for n in range(4)
    ]
    folder, blessing = run(tmp_path, images, EvaluationConfig(thresholds={"map": 0.0}), expected_examples=4)
    assert blessing.get_int_custom_property("blessed") == 0
    read = read_evaluation(str(folder))
    assert read.example_count == 4
    assert read.failures == [
        "not better than one that finds nothing: map_50 is 0.0000 "
        "(evaluation.refuse_trivial: false lets it pass)"
    ]


@pytest.mark.slow
def test_an_image_that_is_lost_fails_the_evaluation(tmp_path: Path) -> None:
    images = [make_detections([(LEFT, 1)], [(LEFT, 1, 0.9)], name="00000.jpg")]
    with pytest.raises(Exception, match="expected 2 examples, as its manifest has it, got 1"):
        run(tmp_path, images, EvaluationConfig(thresholds={"map": 0.1}), expected_examples=2)


def test_the_component_is_called_as_tfx_calls_it() -> None:
    assert Evaluator.__name__ == "Evaluator"  # its id in the pipeline
    assert Evaluator.EXECUTOR_SPEC.executor_class is ReportingExecutor


def test_records_are_read_as_they_are() -> None:
    image = make_detections([(LEFT, 1), (RIGHT, 3)], difficult=[1], name="a/b.jpg")
    truth = read_truth(make_record(image, b"", CLASS_NAMES))
    assert (truth["name"], truth["height"], truth["width"]) == ("a/b.jpg", 200, 400)
    np.testing.assert_array_equal(truth["boxes"], image.boxes)
    np.testing.assert_array_equal(truth["labels"], [1, 3])
    np.testing.assert_array_equal(truth["difficult"], [False, True])
    # Nothing is said of what is not difficult in most data sets.
    example = tf.train.Example.FromString(make_record(image, b"", CLASS_NAMES))
    del example.features.feature[features.BOX_DIFFICULT]
    np.testing.assert_array_equal(read_truth(example.SerializeToString())["difficult"], [False, False])


@pytest.mark.parametrize("missing", [features.HEIGHT, features.BOX_XMAX, features.BOX_LABEL])
def test_records_that_cannot_be_judged_by_are_refused(missing: str) -> None:
    example = tf.train.Example.FromString(make_record(make_detections([(LEFT, 1)]), b"", CLASS_NAMES))
    del example.features.feature[missing]
    with pytest.raises(DataRefusedError, match=r"record of image.jpg: expected image/height and image/width"):
        read_truth(example.SerializeToString())


def test_padding_is_no_box() -> None:
    outputs = {
        "boxes": np.ones((100, 4), np.float32),
        "scores": np.linspace(1, 0, 100, dtype=np.float32),
        "class_labels": np.array([2, 1, *[0] * 98]),
        "counts": np.array([2]),
    }
    fields = read_answer(outputs)
    np.testing.assert_array_equal(fields["found_labels"], [2, 1])
    assert fields["found_boxes"].shape == (2, 4)


def test_a_classifier_is_no_detector() -> None:
    with pytest.raises(UsageError, match=r"serving_tf_examples gives no boxes, scores, class_labels, counts"):
        read_answer({"probabilities": np.zeros(3)})


def test_only_metrics_of_detection_can_be_bound() -> None:
    with pytest.raises(UsageError, match=r"accuracy: no such metric .* there are map, map_50, map_75"):
        make_eval_config(EvaluationConfig(thresholds={"accuracy": 0.9}), CLASS_NAMES)
