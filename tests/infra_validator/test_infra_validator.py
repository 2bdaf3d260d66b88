"""InfraValidator: models that a server could load and use are blessed, others are refused with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tfx.types import standard_artifacts

from components.base.errors import DataRefusedError, MiranteError
from components.base.saved_model import LABELS_FILE, WARM_UP_FILE
from components.infra_validator import component
from components.infra_validator import probe as infra_probe
from components.infra_validator.component import InfraValidator
from components.tasks.classification import answers
from components.trainer.warm_up import write_warm_up
from tests.make.graphs import Exported, Tiny
from tests.make.records import CLASS_NAMES, write_split

pytestmark = pytest.mark.stack_free

pytest_plugins = ["tests.fixtures"]

LIMIT_SECS = 300


class Answers(tf.Module):
    """A model that gives the same probabilities for whatever it is asked."""

    def __init__(
        self, by_bytes: list[float], by_example: list[float] | None, labels: tuple[str, ...] = CLASS_NAMES
    ):
        super().__init__()
        self._by_bytes = by_bytes
        self._by_example = by_example
        self._labels = list(labels)

    def _answer(self, values: list[float], requests: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(requests)[0]
        return {
            "probabilities": tf.repeat(tf.constant([values], tf.float32), count, axis=0),
            "labels": tf.repeat(tf.constant([self._labels]), count, axis=0),
        }

    def save(self, folder: Path) -> Path:
        def signature(name: str, values: list[float]) -> Any:
            spec = tf.TensorSpec([None], tf.string, name=name)
            return tf.function(lambda requests: self._answer(values, requests)).get_concrete_function(spec)

        signatures = {"serving_default": signature("image_bytes", self._by_bytes)}
        if self._by_example is not None:
            signatures["serving_tf_examples"] = signature("examples", self._by_example)
            values = self._by_example
            spec = tf.TensorSpec([None], tf.string, name="inputs")

            def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
                answer = self._answer(values, inputs)
                return {"classes": answer["labels"], "scores": answer["probabilities"]}

            signatures["classify"] = tf.function(classify).get_concrete_function(spec)
        tf.saved_model.save(self, str(folder), signatures=signatures)
        (folder / "assets.extra").mkdir()
        (folder / "assets.extra" / "labels.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
        return folder


GOOD = [0.5, 0.25, 0.25]


def probe(model_dir: str, records_file: str) -> dict[str, Any]:
    """The report on a classifier."""
    return infra_probe.probe(
        model_dir,
        f"{model_dir}/{LABELS_FILE}",
        f"{model_dir}/{WARM_UP_FILE}",
        records_file,
        answers.__file__,
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable[[int], Tiny]) -> str:
    """A TFRecord file of four records."""
    path = str(tmp_path_factory.mktemp("sample") / "sample.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for item in make_tiny(3).records[:4]:
            writer.write(item)
    return path


def run_component(
    folder: Path, model_dir: Path, records: list[bytes], **parameters: int
) -> tuple[int, dict[str, Any]]:
    """Runs the component's executor on real artifacts; the blessing and the report."""
    model, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    blessing = standard_artifacts.InfraBlessing()
    for made, name in ((model, "model"), (examples, "examples"), (blessing, "blessing")):
        made.uri = str(folder / name)
        (folder / name).mkdir(parents=True)
    (folder / "model" / "Format-Serving").symlink_to(model_dir)
    write_split(folder / "examples" / "Split-test", records)
    examples.split_names = json.dumps(["train", "eval", "test"])
    InfraValidator.EXECUTOR_SPEC.executor_class().Do(
        {"model": [model], "examples": [examples]}, {"blessing": [blessing]}, parameters
    )
    report = json.loads((folder / "blessing" / "report.json").read_text())
    return blessing.get_int_custom_property("blessed"), report


def verdict(folder: Path, model: Path, records: list[bytes]) -> tuple[int, dict[str, Any]]:
    """Return what the component says of a model; it starts a process that imports TensorFlow."""
    return run_component(folder / "run", model, records, images=4, time_limit_secs=0)


@pytest.mark.slow
def test_a_good_model_is_blessed(
    tmp_path: Path, make_tiny: Callable[[int], Tiny], export: Callable[[int], Exported]
) -> None:
    blessed, report = verdict(tmp_path, export(3).folder, make_tiny(3).records)
    assert report["problems"] == []
    assert blessed == 1
    assert 0 < report["load_secs"] < LIMIT_SECS
    assert set(report["request_secs"]) == {"serving_default", "serving_tf_examples", "classify"}
    assert all(0 < secs < 10 for secs in report["request_secs"].values())


@pytest.mark.slow
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, make_tiny: Callable[[int], Tiny]) -> None:
    empty = tmp_path / "empty"
    (empty / "assets.extra").mkdir(parents=True)
    (empty / "assets.extra" / "labels.txt").write_text("bird\n")
    blessed, report = verdict(tmp_path, empty, make_tiny(3).records)
    (problem,) = report["problems"]
    assert problem.startswith(
        "the process that loads the model ended with 1: OSError: SavedModel file does not"
    )
    assert blessed == 0


def test_a_model_that_takes_too_long_is_refused(
    tmp_path: Path, make_tiny: Callable[[int], Tiny], export: Callable[[int], Exported]
) -> None:
    # TensorFlow alone takes longer to import.
    blessed, report = run_component(
        tmp_path, export(3).folder, make_tiny(3).records, images=4, time_limit_secs=1
    )
    assert report == {
        "problems": ["the model did not load and answer within 1 s (infra_validation.time_limit_secs)"]
    }
    assert blessed == 0


class Slow:
    """A probe that takes so long to start and to load, instead of TensorFlow's."""

    READY = infra_probe.READY

    def __init__(self, folder: Path, start_secs: float, load_secs: float):
        self.__file__ = str(folder / "probe.py")
        (folder / "probe.py").write_text(
            f"import time; time.sleep({start_secs}); print({self.READY!r}, flush=True)\n"
            f"time.sleep({load_secs}); print('{{\"problems\": []}}')\n"
        )


@pytest.mark.parametrize(
    ("load_secs", "problems"),
    [
        # Twenty times half a second and more, and not the two seconds that a quick start would give.
        (4.0, []),
        (60.0, ["the model did not load and answer within"]),
    ],
)
def test_the_time_limit_follows_the_machine(
    load_secs: float, problems: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component, "_LEAST_SECS", 2)
    monkeypatch.setattr(component, "_STARTS", 20 if not problems else 1)
    monkeypatch.setattr(component, "probe", Slow(tmp_path, 0.5, load_secs))
    told = component.validate("model", "records")["problems"]
    assert [sentence[: len(problem)] for sentence, problem in zip(told, problems, strict=True)] == problems


def test_a_process_that_does_not_start_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "_START_SECS", 1)
    monkeypatch.setattr(component, "probe", Slow(tmp_path, 60.0, 0.0))
    with pytest.raises(MiranteError, match="did not start within 1 s; is the machine overloaded"):
        component.validate("model", "records")


def test_there_must_be_test_examples(tmp_path: Path, export: Callable[[int], Exported]) -> None:
    with pytest.raises(DataRefusedError, match="the test split has no examples to send to the model"):
        run_component(tmp_path, export(3).folder, [], images=4, time_limit_secs=1)


# From here on in this process, which saves importing TensorFlow once more for each.


def test_as_many_images_as_asked_for_are_sent(tmp_path: Path, make_tiny: Callable[[int], Tiny]) -> None:
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(tmp_path), json.dumps(["test"])
    write_split(tmp_path / "Split-test", make_tiny(3).records)
    for count, sent in ((5, 5), (100, 12)):
        component._write_sample(examples, count, str(tmp_path / "sample"))
        written = [item.numpy() for item in tf.data.TFRecordDataset(str(tmp_path / "sample"))]
        assert len(written) == sent
        assert set(written) <= set(make_tiny(3).records)


def test_a_missing_signature_is_refused(tmp_path: Path, sample: str) -> None:
    report = probe(str(Answers(GOOD, None).save(tmp_path / "model")), sample)
    assert report["problems"] == ["signature classify is missing", "signature serving_tf_examples is missing"]


def test_probabilities_that_are_no_numbers_are_refused(tmp_path: Path, sample: str) -> None:
    report = probe(str(Answers([0.5, 0.5, float("nan")], GOOD).save(tmp_path / "model")), sample)
    assert report["problems"] == [
        "signature serving_default: probabilities are not all finite",
        "the signatures give different probabilities for the same images",
    ]


def test_labels_in_another_order_are_refused(tmp_path: Path, sample: str) -> None:
    report = probe(str(Answers(GOOD, GOOD, ("cat", "bird", "dog")).save(tmp_path / "model")), sample)
    given, wanted = "['cat', 'bird', 'dog']", "['bird', 'cat', 'dog']"
    assert report["problems"] == [
        f"signature classify: labels are {given}, not {wanted}",
        f"signature serving_default: labels are {given}, not {wanted}",
        f"signature serving_tf_examples: labels are {given}, not {wanted}",
    ]


@pytest.mark.parametrize(
    ("by_bytes", "by_example", "problem"),
    [
        (GOOD, [0.25, 0.5, 0.25], "the signatures give different probabilities for the same images"),
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "signature classify: probabilities do not sum to 1"),
        ([0.5, 0.5], [0.5, 0.5], "signature classify: probabilities have shape (4, 2), not (4, 3)"),
    ],
)
def test_wrong_probabilities_are_refused(
    tmp_path: Path, sample: str, by_bytes: list[float], by_example: list[float], problem: str
) -> None:
    problems = probe(str(Answers(by_bytes, by_example).save(tmp_path / "model")), sample)["problems"]
    assert problems[0] == problem


def test_an_unknown_signature_and_a_missing_output_are_refused(tmp_path: Path, sample: str) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="image_bytes")
    function = tf.function(lambda image_bytes: {"scores": tf.strings.length(image_bytes)})
    concrete = function.get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": concrete, "predict": concrete})
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "labels.txt").write_text("bird\n")
    assert probe(str(tmp_path), sample)["problems"] == [
        "signature classify is missing",
        "signature predict is unknown",
        "signature serving_default gives no output 'probabilities'",
        "signature serving_default gives no output 'labels'",
        "signature serving_tf_examples is missing",
    ]


@pytest.mark.slow
def test_a_warm_up_that_fails_is_refused(
    tmp_path: Path, sample: str, make_tiny: Callable[[int], Tiny]
) -> None:
    model = Answers(GOOD, GOOD).save(tmp_path / "model")
    warm_up = str(model / WARM_UP_FILE)
    write_warm_up(warm_up, ["serving_default", "serving_tf_examples", "classify"], make_tiny(3).records[:2])
    assert probe(str(model), sample)["problems"] == []
    other = Answers(GOOD, None).save(tmp_path / "other")
    shutil.copy(warm_up, other / WARM_UP_FILE)
    assert probe(str(other), sample)["problems"][2:] == [
        "the warm-up request of signature serving_tf_examples fails: 'serving_tf_examples'",
        "the warm-up request of signature classify fails: 'classify'",
    ]


class Unfilled(Answers):
    """A model with a variable that only `tf.saved_model.load` fills."""

    def __init__(self) -> None:
        super().__init__(GOOD, GOOD)
        self._factor = tf.Variable(1.0)

    def _answer(self, values: list[float], requests: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = super()._answer(values, requests)
        return {**answer, "probabilities": self._factor * answer["probabilities"]}


@pytest.mark.slow
def test_a_model_that_only_a_session_cannot_restore_is_refused(tmp_path: Path, sample: str) -> None:
    folder = Unfilled().save(tmp_path / "model")
    assert probe(str(folder), sample)["problems"] == []
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    # The operation that restores does so no more; the objects are read as before.
    saved.meta_graphs[0].saver_def.restore_op_name = "NoOp"
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    problems = probe(str(folder), sample)["problems"]
    assert len(problems) == 3
    for problem in problems:
        assert "fails in a session, as TF Serving has it: Could not find variable" in problem
