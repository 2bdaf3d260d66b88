"""Multilabel classification: thresholds, answers, DataGate's counts, the recipe, and what is learned."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import UsageError
from components.base.example import parse_example, serialize_example
from components.tasks.multilabel import answers, data_gate
from components.tasks.multilabel.guard import MultilabelGuard, find_guessing_loss
from components.tasks.multilabel.thresholds import choose_thresholds, make_thresholds
from components.tasks.multilabel.trainer import Multilabel
from components.tasks.multilabel.transform import make_multi_hot
from components.trainer.class_balance import class_weights
from components.trainer.config import GuardConfig, TrainingConfig
from components.trainer.guard import NotLearningError
from components.trainer.result import StageResult
from pipeline.recipe.load import load_recipe

CLASSES = ("bird", "cat", "dog")
LABELS = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]], np.float32)


def make_result(probabilities: Any, loss: float = 0.5) -> StageResult:
    rows = np.arange(len(probabilities))
    return StageResult(loss, {}, {}, rows, {"probabilities": np.asarray(probabilities, np.float32)})


@pytest.mark.parametrize(
    ("truth", "scores", "wanted"),
    [
        pytest.param([1, 1, 0, 0], [0.4, 0.3, 0.2, 0.1], 0.25, id="between-the-classes"),
        pytest.param([1, 1, 0, 0], [0.9, 0.7, 0.5, 0.1], 0.6, id="above-one-half"),
        pytest.param([1, 0, 1], [0.8, 0.8, 0.8], 0.4, id="all-alike"),
        pytest.param([0, 0], [0.9, 0.1], 0.5, id="no-image-of-the-class"),
        pytest.param([1, 1], [0.9, 0.1], 0.5, id="all-images"),
        pytest.param([1, 0, 1], [0.9, 0.2, math.nan], 0.55, id="not-a-number"),
    ],
)
def test_the_threshold_has_the_highest_f1(truth: list[int], scores: list[float], wanted: float) -> None:
    chosen = choose_thresholds(np.array(truth, bool)[:, None], np.array(scores, np.float32)[:, None])
    assert chosen.tolist() == [pytest.approx(wanted)]


def test_no_other_threshold_is_better() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        truth, scores = random.random((60, 1)) < 0.3, np.round(random.random((60, 1)), 1).astype(np.float32)

        def f1(threshold: float, truth: Any = truth, scores: Any = scores) -> float:
            found = scores >= threshold
            return float(2 * (truth & found).sum() / max(1, truth.sum() + found.sum()))

        best = max(f1(threshold) for threshold in np.linspace(0, 1, 101))
        assert f1(float(choose_thresholds(truth, scores)[0])) == pytest.approx(best)


def test_one_number_for_all_classes() -> None:
    assert make_thresholds(0.3, LABELS > 0, LABELS).tolist() == pytest.approx([0.3] * 3)


def test_labels_become_a_table() -> None:
    sparse = tf.sparse.from_dense([[1, 3], [3, 3], [0, 0]])  # 0 is no value here
    shifted = tf.SparseTensor(sparse.indices, tf.cast(sparse.values, tf.int64) - 1, sparse.dense_shape)
    assert make_multi_hot(shifted, 3).numpy().tolist() == LABELS.tolist()


def test_losses_and_weights_of_classes() -> None:
    task = Multilabel(CLASSES, TrainingConfig())
    logits = tf.constant([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, -1.0, -1.0]])
    measured = task.measure(tf.constant(LABELS), logits)
    probabilities = 1 / (1 + np.exp(-logits.numpy()))
    by_hand = -np.log(np.where(LABELS > 0, probabilities, 1 - probabilities))
    assert measured["loss"].numpy() == pytest.approx(by_hand.mean(axis=1), abs=1e-6)
    # 0 is a probability of 0.5, which counts.
    assert measured["subset_accuracy"].numpy().tolist() == [1, 0, 1]
    weights = np.array([4.0, 1.0, 2.0])
    weighed = task.weigh_losses(measured["loss"], tf.constant(LABELS), logits, weights)
    assert weighed.numpy() == pytest.approx(
        (by_hand * np.where(LABELS > 0, weights, 1)).mean(axis=1), abs=1e-6
    )


def test_balanced_weights_are_those_of_the_images_with_a_class() -> None:
    weights = class_weights(TrainingConfig(class_weights="balanced"), CLASSES, LABELS)
    assert weights is not None
    assert weights.tolist() == [2.0, 1.0, 0.5]
    given = class_weights(TrainingConfig(class_weights={"dog": 3}), CLASSES, LABELS)
    assert given is not None
    assert given.tolist() == [1.0, 1.0, 3.0]


def test_what_is_shown_of_images() -> None:
    task = Multilabel(CLASSES)
    assert task.show(LABELS[0]) == ("bird\ndog", [])
    assert task.show(LABELS[2]) == ("no label", [])
    assert task.show(np.array([0.25, 0.0, 1.0])) == ("25% bird\ndog", [])
    result = make_result([[0.9, 0.1, 0.2], [0.1, 0.2, 0.9], [0.1, 0.2, 0.6]])
    assert [(place, words) for place, words, _ in task.mistakes(result, LABELS, 9)] == [
        (0, "bird\nmissed dog (0.20)"),
        (2, "false dog (0.60)"),
    ]
    assert task.judge(LABELS, result.predictions)["mean_average_precision"] == pytest.approx((1 + 5 / 6) / 2)


def test_thresholds_are_chosen_on_the_eval_split() -> None:
    task = Multilabel(CLASSES)
    task.calibrate(LABELS, lambda: make_result([[0.4, 0.1, 0.3], [0.1, 0.2, 0.2], [0.1, 0.2, 0.1]]))
    assert task._thresholds.tolist() == pytest.approx([0.25, 0.5, 0.15])


def test_the_guard_knows_a_ranking_from_none() -> None:
    random = np.random.default_rng(0)
    labels = (random.random((300, 2)) < 0.4).astype(np.float32)
    guessing = find_guessing_loss(labels, 0.0)
    shares = labels.mean(axis=0)
    assert guessing == pytest.approx(-(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).mean())
    train = {"loss": guessing, "subset_accuracy": 0.3}

    def look(probabilities: Any) -> None:
        guard = MultilabelGuard(GuardConfig(steps=2), guessing, labels, guessing)
        guard.epoch(10, train, make_result(probabilities, guessing), len(labels), is_last=True)

    look(labels * 0.2 + 0.4 * random.random(labels.shape))
    with pytest.raises(NotLearningError, match="nothing has been learned that holds for other images"):
        look(np.tile(shares, (300, 1)))


OUTPUTS = {
    "probabilities": np.array([[0.2, 0.9, 0.7]], np.float32),
    "labels": np.array([[b"bird", b"cat", "Wölfe".encode()]], object),
    "predicted": np.array([[False, True, True]]),
}


def row_of(outputs: Any) -> dict[str, Any]:
    return {name: values[0] for name, values in outputs.items()}


def test_predictions_and_their_line() -> None:
    found = answers.list_predictions(row_of(OUTPUTS), (1, 1), None)
    assert [(each["label"], each["predicted"]) for each in found] == [
        ("cat", True), ("Wölfe", True), ("bird", False)
    ]  # fmt: skip
    assert answers.summarize(found, None) == ["cat 0.9000", "Wölfe 0.7000"]
    assert answers.list_predictions(row_of(OUTPUTS), (1, 1), 0.8) == found[:2]
    nothing = [{**each, "predicted": False} for each in found]
    assert answers.summarize(nothing, None) == ["no label", "(cat 0.9000)"]
    assert answers.summarize([], None) == ["no label"]


def test_a_predicted_class_is_said_before_a_more_probable_one() -> None:
    # Thresholds 0.9, 0.2, 0.1: the first class is not predicted.
    outputs = {
        "probabilities": np.array([0.6, 0.3, 0.3], np.float32),
        "labels": np.array([b"cat", b"dog", b"bird"], object),
        "predicted": np.array([False, True, True]),
    }
    found = answers.list_predictions(outputs, (1, 1), None)
    assert [each["label"] for each in found] == ["dog", "bird", "cat"]
    assert answers.summarize(found[:1], None) == ["dog 0.3000"]
    sure = answers.list_predictions(outputs, (1, 1), 0.5)
    assert answers.summarize(sure, 0.5) == ["dog 0.3000", "bird 0.3000"]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("probabilities", [[0.2, 1.5, 0.7]], "probabilities are not all between 0 and 1"),
        ("probabilities", [[0.2, math.nan, 0.7]], "probabilities are not all finite"),
        ("probabilities", [[0.2, 0.7]], r"probabilities have shape \(1, 2\), not \(1, 3\)"),
        ("predicted", [[0, 1, 1]], "predicted are int64, not bool"),
        ("labels", [[b"cat", b"bird", b"dog"]], "labels are"),
    ],
)
def test_problems_of_answers(key: str, value: Any, problem: str) -> None:
    names = ["bird", "cat", "Wölfe"]
    assert answers.find_problems("serving_default", OUTPUTS, 1, names) == []
    # TF Serving's Classify has no third output.
    less = {name: values for name, values in OUTPUTS.items() if name != "predicted"}
    assert answers.find_problems("classify", less, 1, names) == []
    (found,) = answers.find_problems("x", {**OUTPUTS, key: np.array(value)}, 1, names)
    assert problem.replace("\\", "") in found


def record(labels: list[int], texts: list[bytes]) -> dict[str, list[Any]]:
    return parse_example(serialize_example({"image/class/label": labels, "image/class/text": texts}))


def test_the_gate_looks_at_both_lists() -> None:
    assert data_gate.find_problem(record([0, 2], [b"bird", b"dog"])) is None
    assert data_gate.find_problem(record([], [])) is None
    assert "has 2 values, and image/class/text has 1" in str(
        data_gate.find_problem(record([0, 2], [b"bird"]))
    )
    assert "has 2 2 times" in str(data_gate.find_problem(record([2, 2], [b"dog", b"dog"])))
    one, other = data_gate.Facts(), data_gate.Facts()
    one.add(record([0, 2], [b"bird", b"dog"]))
    other.add(record([], []))
    one.merge(other)
    assert one.report() == {
        "images": 2,
        "labels": 2,
        "images_by_labels": {"0": 1, "2": 1},
        "by_class": {"bird": 1, "dog": 1},
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.sampling=balanced", "training.sampling: expected shuffled for task: multilabel"),
        ("evaluation.slice_by_class=true", "evaluation.slice_by_class: an image of task: multilabel"),
        ("model.name=ssd_mobilenet_v2", "model.name: ssd_mobilenet_v2 is for detection"),
        ("training.augmentation.zoom_out.chance=0.5", "training.augmentation.zoom_out: it is for"),
        ("data.multilabel=false", "data.multilabel: expected True for task: multilabel, got False"),
        ("evaluation.thresholds={accuracy: 0.5}", "accuracy is for task: classification"),
        ("evaluation.thresholds={hamming_loss: 5}", "expected a share from 0 to 1"),
        ("training.label_threshold=1.5", "training.label_threshold"),
    ],
)
def test_what_a_recipe_must_not_ask_for(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        load_recipe("multilabel", [setting])


def test_the_task_sets_the_option_of_ingest() -> None:
    assert load_recipe("digits_multilabel").data.multilabel
    assert not load_recipe("digits").data.multilabel


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.label_threshold=0.4", "training.label_threshold: it is for task: multilabel"),
        ("data.multilabel=true", "data.multilabel: expected False for task: classification"),
    ],
)
def test_other_tasks_refuse_its_options(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        load_recipe("digits", [setting])
