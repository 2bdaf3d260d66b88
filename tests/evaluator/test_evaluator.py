"""Evaluator's configuration through real TFMA, against values worked out by hand with NumPy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.base.errors import MiranteError, UsageError, walk_causes
from components.base.outcome import Output
from components.evaluator.component import ReportingExecutor
from components.evaluator.config import EvaluationConfig
from components.evaluator.evaluation import read_draws, read_mistakes
from components.evaluator.results import read_evaluation
from components.evaluator.stored import load_evaluation
from components.tasks.classification import TASK
from components.tasks.classification.evaluator import EXTRACTORS, make_eval_config
from components.tasks.classification.metrics import Tally, measure
from components.tasks.classification.plots import read_plots
from pipeline.engines.arguments import IN_MEMORY
from pipeline.pages import make_page
from tests.make.records import write_split
from tests.tasks import test_common_classes as other_classes

# Six classes; the model answers with these rows, whatever it is asked, in the order of `index`.
LABELS = np.array([0, 1, 2, 3, 4, 5, 0, 1])
PREDICTED = np.array([0, 1, 2, 3, 4, 4, 5, 1])  # two of eight are wrong


def probabilities() -> np.ndarray:
    rows = np.full((len(LABELS), 6), 0.02)
    rows[np.arange(len(LABELS)), PREDICTED] = 0.9
    # The last wrong one ranks its true class last: not among the five most probable.
    rows[6] = [0.0, 0.03, 0.03, 0.03, 0.03, 0.88]
    return rows.astype(np.float32)


class Answers(tf.Module):
    """Gives row `image/height` of a table, and the names of its columns."""

    def __init__(self, table: np.ndarray, names: Sequence[str]):
        super().__init__()
        self.table = tf.constant(table)
        self.names = tf.constant(list(names))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_tf_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {"image/height": tf.io.FixedLenFeature([], tf.int64)})
        rows = tf.gather(self.table, parsed["image/height"])
        return {"probabilities": rows, "labels": tf.repeat(self.names[tf.newaxis], tf.shape(rows)[0], axis=0)}


def evaluate(
    tmp_path: Path,
    config: EvaluationConfig,
    baseline: np.ndarray | None = None,
    labels: np.ndarray = LABELS,
    table: np.ndarray | None = None,
    expected_examples: int | None = None,
    names: Sequence[str] | None = None,
    baseline_names: Sequence[str] | None = None,
) -> tuple[str, bool]:
    """Runs the Evaluator on as many records as there are labels; its folder, and whether it blessed."""
    table = probabilities() if table is None else table
    names = names or [f"class {index}" for index in range(table.shape[1])]
    records = []
    for index, label in enumerate(labels):
        feature = {
            "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[index])),
            "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"%d.png" % index])),
            "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            "image/class/text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"class %d" % label])),
        }
        records.append(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    write_split(tmp_path / "examples" / "Split-test", records)
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    examples.split_names = '["train", "eval", "test"]'
    inputs: dict[str, Any] = {"examples": [examples]}
    for key, answers, known in (
        ("model", table, names),
        ("baseline_model", baseline, baseline_names or names),
    ):
        if answers is not None:
            module = Answers(answers.astype(np.float32), known)
            model = standard_artifacts.Model()
            model.uri = str(tmp_path / key)
            tf.saved_model.save(
                module,
                f"{model.uri}/Format-Serving",
                signatures={"serving_tf_examples": module.serving_tf_examples},
            )
            inputs[key] = [model]
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(tmp_path / "evaluation"), str(tmp_path / "blessing")
    context = ReportingExecutor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(options=PipelineOptions(list(IN_MEMORY)))
    )
    ReportingExecutor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(
                make_eval_config(config, names, expected_examples=expected_examples)
            ),
            "example_splits": json_utils.dumps(["test"]),
            "fairness_indicator_thresholds": "null",
            "module_path": EXTRACTORS,
            "task": "classification",
        },
    )
    return evaluation.uri, blessing.get_int_custom_property("blessed") == 1


def test_metrics_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    config = EvaluationConfig(thresholds={"accuracy": 0.7, "loss": 9.0}, slice_by_class=True)
    folder, is_blessed = evaluate(tmp_path, config, expected_examples=8)
    assert is_blessed
    found = read_evaluation(folder)
    assert found.metrics["accuracy"] == 6 / 8
    assert found.example_count == 8
    # Recalls: of class 0 a half, of class 5 none, of the four others all.
    assert found.metrics["balanced_accuracy"] == 4.5 / 6
    assert found.metrics["min_class_recall"] == 0.0
    assert found.metrics["majority_accuracy"] == 2 / 8
    assert list(found.metrics) == [*TASK.metrics, *TASK.more_metrics]
    assert found.metrics["top_5_accuracy"] == pytest.approx(7 / 8)
    # Six times -ln 0.9, once -ln 0.02, once -ln of Keras' smallest probability, 1e-7.
    expected = (-6 * np.log(0.9) - np.log(0.02) - np.log(1e-7)) / 8
    assert found.metrics["loss"] == pytest.approx(expected, rel=1e-3)
    assert 0.5 < found.metrics["auc"] <= 1.0
    # Class 4 is predicted twice, once rightly; class 5 once, wrongly; class 0 is found once of two times.
    # Of seven other images one has the same probability of class 4.
    expected_of_4 = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "auc": 6.5 / 7}
    assert found.per_class[4] == pytest.approx(expected_of_4)
    assert found.per_class[0]["recall"] == pytest.approx(0.5)
    assert found.per_class[0]["precision"] == pytest.approx(1.0)
    assert found.per_class[5]["recall"] == pytest.approx(0.0)
    recalls = {"class 0": 0.5, "class 1": 1.0, "class 2": 1.0, "class 3": 1.0, "class 4": 1.0, "class 5": 0.0}
    assert by_slice(folder, "accuracy") == {"": 0.75, **recalls}
    assert by_slice(folder, "example_count")["class 1"] == 2.0
    assert by_slice(folder, "macro_recall")["class 0"] == 0.25  # of classes 0 and 5, which was predicted
    assert {name: values["accuracy"] for name, values in found.slices.items()} == recalls
    assert found.slices["class 0"]["macro_recall"] == 0.25
    assert "auc" not in found.slices["class 0"]  # one class alone has none
    assert found.intervals["accuracy"].low < 0.75 < found.intervals["accuracy"].high
    # Of the same drawn splits as the interval.
    draws = read_draws(folder)
    assert list(draws) == ["loss", "auc"]
    assert np.percentile(draws["loss"], 2.5) == pytest.approx(found.intervals["loss"].low, rel=1e-5)
    assert load_evaluation(folder) == found
    assert "Slices slice accuracy" in page_of(folder, list(recalls))
    # The slices of class 0 and class 5 are below the bound: it holds for the whole split alone.
    assert found.blessed
    assert found.failures == []
    assert found.baseline == {}
    plots = read_plots(folder)
    right = {(0, 0): 1, (1, 1): 2, (2, 2): 1, (3, 3): 1, (4, 4): 1}
    assert plots.confusion == {**right, (5, 4): 1, (0, 5): 1}
    # The two others, the more confident one first.
    assert Path(folder, "mistakes.csv").read_text() == (
        "image,true_class,predicted_class,score\n5.png,class 5,class 4,0.9\n6.png,class 0,class 5,0.88\n"
    )
    assert read_mistakes(folder) == 2
    # Of 8 x 6 probabilities, 8 are of the true class: six of 0.9, one of 0.02, one of 0. Of the other 40, one
    # is 0.9, one is 0.88, four are 0.03 and 34 are 0.02.
    expected = [(0, 0), (1 / 40, 6 / 8), (2 / 40, 6 / 8), (6 / 40, 6 / 8), (1, 7 / 8), (1, 1)]
    assert [point[:2] for point in plots.roc] == [pytest.approx(point) for point in expected]
    assert [point[2] for point in plots.roc] == pytest.approx([1.0001, 0.9, 0.88, 0.03, 0.02, 0.0], abs=2e-4)


@pytest.mark.both_stacks
@pytest.mark.slow
def test_missed_thresholds_and_a_regression_against_a_better_baseline_are_named(tmp_path: Path) -> None:
    perfect = np.full((len(LABELS), 6), 0.02, np.float32)
    perfect[np.arange(len(LABELS)), LABELS] = 0.9
    config = EvaluationConfig(
        thresholds={"accuracy": 0.8, "loss": 0.5, "top_5_accuracy": 0.8}, max_regression={"accuracy": 0.1}
    )
    folder, is_blessed = evaluate(tmp_path, config, baseline=perfect)
    found = read_evaluation(folder)
    assert not found.blessed
    assert not is_blessed
    assert sorted(found.failures) == [
        "accuracy changed by -0.2500 against the baseline, allowed is -0.1",
        "accuracy is 0.7500, must be at least 0.8",
        f"loss is {found.metrics['loss']:.4f}, must be at most 0.5",
    ]
    assert found.metrics["accuracy"] == pytest.approx(0.75)  # the candidate's, not the baseline's
    assert found.baseline["accuracy"] == 1.0
    assert found.common is None
    names = [f"class {index}" for index in range(6)]
    row = r"accuracy 0.7500 0.\d+ to 0.\d+ at least 0.8, change -0.1 at worst 1.0000 -0.2500"
    assert re.search(row, page_of(folder, names))
    plots = read_plots(folder)
    assert plots.confusion[0, 5] == 1
    # The candidate's two, and not the baseline's.
    assert Path(folder, "mistakes.csv").read_text().splitlines()[1:] == [
        "5.png,class 5,class 4,0.9",
        "6.png,class 0,class 5,0.88",
    ]
    assert "mistakes.csv lists 2 images with mistakes" in page_of(folder, names)
    assert plots.roc[1][:2] == pytest.approx((1 / 40, 6 / 8))


def page_of(folder: str, class_names: Sequence[str]) -> str:
    """The words on the Evaluator's page."""
    page = make_page("Evaluator", {"evaluation": Output(folder, {})}, "classification", class_names).html
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.both_stacks
@pytest.mark.slow
@pytest.mark.parametrize(("allowed", "is_refused"), [(0.2, False), (0.1, True)])
def test_a_baseline_of_other_classes_is_compared_on_the_common_ones(
    allowed: float, is_refused: bool, tmp_path: Path
) -> None:
    """The models and the values worked out by hand are those of test_common_classes."""
    config = EvaluationConfig(
        thresholds={"accuracy": 0.5}, max_regression={"accuracy": allowed}, slice_by_class=True
    )
    folder, is_blessed = evaluate(
        tmp_path,
        config,
        other_classes.OF_BASELINE,
        other_classes.LABELS,
        other_classes.OF_CANDIDATE,
        names=other_classes.CANDIDATE,
        baseline_names=other_classes.BASELINE,
    )
    found = read_evaluation(folder)
    said = (
        "accuracy on the 2 common classes (ant, cat; 5 test images) changed by -0.2000 against the baseline, "
        "allowed is -0.1"
    )
    assert found.failures == ([said] if is_refused else [])
    assert is_blessed == (not is_refused)
    # The bound of the whole is met by three of six images; no figure of the baseline is next to it.
    assert (found.metrics["accuracy"], found.example_count, found.baseline) == (0.5, 6, {})
    assert found.common is not None
    assert (found.common.class_names, found.common.test_images) == (["ant", "cat"], 5)
    assert (found.common.metrics["accuracy"], found.common.baseline["accuracy"]) == (0.8, 1.0)
    assert "top_5_accuracy" not in found.common.metrics
    assert not any(name.startswith("common") for name in found.metrics)
    wrong = [row.split(",")[1:3] for row in Path(folder, "mistakes.csv").read_text().splitlines()[1:]]
    off_diagonal = {pair: n for pair, n in read_plots(folder).confusion.items() if pair[0] != pair[1]}
    names = other_classes.CANDIDATE
    assert sorted(wrong) == sorted(
        [names[a], names[b]] for (a, b), n in off_diagonal.items() for _ in range(n)
    )
    assert read_mistakes(folder) == len(wrong) == 3
    words = page_of(folder, other_classes.CANDIDATE)
    assert re.search(r"accuracy 0.5000 0.\d+ to 0.\d+ at least 0.5 loss", words)
    assert "both models are compared on the 2 common classes (ant, cat; 5 test images)." in words
    assert f"accuracy 0.8000 change -{allowed} at worst 1.0000 -0.2000" in words


def by_slice(folder: str, name: str) -> dict[str, float]:
    """A metric of the whole split, under "", and of each class' slice."""
    return {
        "".join(
            key.bytes_value.decode() for key in item.slice_key.single_slice_keys
        ): metric.value.double_value.value
        for item in tfma.load_metrics(folder)
        for metric in item.metric_keys_and_values
        if metric.key.name == name and not metric.key.HasField("sub_key")
    }


def cats_and_dogs(cats: int, dogs: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the probabilities of a model that takes everything for a cat."""
    return np.repeat([0, 1], [cats, dogs]), np.tile([0.9, 0.1], (cats + dogs, 1))


@pytest.mark.slow
def test_a_model_that_always_says_the_most_frequent_class_is_refused(tmp_path: Path) -> None:
    labels, table = cats_and_dogs(285, 15)
    config = EvaluationConfig(thresholds={"accuracy": 0.8}, slice_by_class=True)
    folder, is_blessed = evaluate(tmp_path / "on", config, labels=labels, table=table)
    found = read_evaluation(folder)
    assert not is_blessed
    assert found.failures == [
        "not better than one that gives the same class for every image: balanced_accuracy is 0.5000, and "
        "accuracy 0.9500, where always the most frequent class reaches 0.9500 "
        "(evaluation.refuse_trivial: false lets it pass)"
    ]
    assert found.per_class[0] == {"precision": 0.95, "recall": 1.0, "f1": 0.95 * 2 / 1.95, "auc": 0.5}
    assert found.per_class[1] == {"precision": None, "recall": 0.0, "f1": 0.0, "auc": 0.5}
    config = EvaluationConfig(thresholds={"accuracy": 0.8}, refuse_trivial=False)
    folder, is_blessed = evaluate(tmp_path / "off", config, labels=labels, table=table)
    assert is_blessed
    assert read_evaluation(folder).failures == read_evaluation(folder).warnings == []


@pytest.mark.slow
def test_too_few_images_to_tell_are_a_warning(tmp_path: Path) -> None:
    labels, table = cats_and_dogs(4, 2)
    table[3] = np.nan
    config = EvaluationConfig(thresholds={"accuracy": 0.5})
    folder, is_blessed = evaluate(tmp_path, config, labels=labels, table=table)
    assert is_blessed
    found = read_evaluation(folder)
    assert found.metrics["accuracy"] == 0.5
    assert "loss" not in found.metrics
    small, numbers = found.warnings
    assert small.startswith("the test split (6 images) is too small to tell")
    assert numbers.startswith("1 of 6 test images: the model's probabilities are not all finite numbers")
    assert read_plots(folder).confusion == {(0, -1): 1, (0, 0): 3, (1, 0): 2}
    # What is no number comes last, without an answer.
    assert Path(folder, "mistakes.csv").read_text().splitlines()[1:] == [
        "4.png,class 1,class 0,0.9",
        "5.png,class 1,class 0,0.9",
        "3.png,class 0,,",
    ]


@pytest.mark.slow
def test_18_of_20_right_are_nine_tenths(tmp_path: Path) -> None:
    labels = np.arange(20) % 2
    table = np.eye(2)[np.where(np.arange(20) < 18, labels, 1 - labels)] * 0.8 + 0.1
    baseline = np.eye(2)[np.where(np.arange(20) < 19, labels, 1 - labels)] * 0.8 + 0.1
    config = EvaluationConfig(
        thresholds={"accuracy": 0.9}, max_regression={"accuracy": 0.05, "macro_f1": 0.06}
    )
    folder, is_blessed = evaluate(tmp_path, config, baseline, labels, table)
    assert read_evaluation(folder).failures == []
    assert is_blessed
    assert read_evaluation(folder).metrics["accuracy"] == 0.9
    assert read_evaluation(folder).baseline["accuracy"] == 0.95


@pytest.mark.slow
def test_an_example_that_is_lost_fails_the_evaluation(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="expected 9 examples, as its manifest has it, got 8") as e:
        evaluate(tmp_path, EvaluationConfig(thresholds={"accuracy": 0.1}), expected_examples=9)
    assert any(type(cause) is MiranteError for cause in walk_causes(e.value))


@pytest.mark.both_stacks
@pytest.mark.slow
def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="add_input failed") as e:
        evaluate(tmp_path, EvaluationConfig(thresholds={"accuracy": 0.1}), table=np.full((8, 3), 1 / 3))
    (said,) = (str(cause) for cause in walk_causes(e.value) if isinstance(cause, UsageError))
    assert said.startswith(
        "the model and the test split have different classes: expected labels 0 to 2, got "
    )


@pytest.mark.parametrize("seed", range(6))
def test_loss_accuracy_and_top_5_are_those_of_keras(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 9, 400)
    logits = random.normal(0.0, [1.0, 5.0, 15.0][seed % 3], (400, 9))
    table = np.asarray(tf.nn.softmax(logits), np.float32)
    if seed == 4:
        table = np.round(table, 1).astype(np.float32)  # ties, zeros, sums that are not 1
    if seed == 5:
        table[:] = np.eye(9)[random.integers(0, 9)]  # always the same, and sure
    tally = Tally(9)
    tally.add(labels, table)
    ours = measure(tally)[0]
    for name, metric in (
        ("loss", keras.metrics.SparseCategoricalCrossentropy()),
        ("accuracy", keras.metrics.SparseCategoricalAccuracy()),
        ("top_5_accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5)),
    ):
        metric.update_state(labels, table)
        assert ours[name] == pytest.approx(float(metric.result()), rel=2e-5, abs=1e-6), name


def test_a_threshold_on_a_metric_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="top_5_accuracy: no such metric with 3 classes"):
        make_eval_config(EvaluationConfig(thresholds={"top_5_accuracy": 0.9}), ["a", "b", "c"])
