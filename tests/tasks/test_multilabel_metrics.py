"""Metrics of multilabel classification, against values worked out by hand and scikit-learn."""

from __future__ import annotations

import math
import pickle

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as sklearn

from components.base.errors import DataRefusedError
from components.evaluator.bounds import NO, UNKNOWN, YES
from components.tasks.multilabel.confidence import find_confidence
from components.tasks.multilabel.figures import make_figures
from components.tasks.multilabel.metrics import Tally, measure
from components.tasks.multilabel.mistakes import Mistakes
from components.tasks.multilabel.predictions import Predictions
from components.tasks.multilabel.trivial import judge_trivial
from components.tasks.multilabel.truth import make_truth

Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float32]
# True classes, probabilities: two images of three classes.
TRUTH = np.array([[True, False, True], [False, False, True]])
SCORES = np.array([[0.9, 0.2, 0.4], [0.7, 0.1, 0.8]], np.float32)


def tally(truth: Bools, predicted: Bools, scores: Scores, most_levels: int | None = None) -> Tally:
    counted = Tally(truth.shape[1], most_levels)
    counted.add(truth, predicted, scores)
    return counted


def random_answers(seed: int) -> tuple[Bools, Bools, Scores]:
    """Truth, predictions and scores of few or many images, in turn ordinary and degenerate."""
    random = np.random.default_rng(seed)
    classes, images = int(random.integers(1, 9)), int(random.choice([1, 2, 5, 40, 300]))
    truth = random.random((images, classes)) < random.uniform(0.05, 0.6)
    logits = random.normal(0.0, 1.5, (images, classes)) + truth * random.uniform(0.0, 3.0) - 1.0
    kind = seed % 7
    if kind == 1:  # always the same answer
        logits[:] = random.normal(0.0, 2.0, classes)
    if kind == 2:  # a class without an image
        truth[:, 0] = False
    if kind == 3:  # a class that is never predicted
        logits[:, 0] = -50.0
    if kind == 4:  # all images have a class
        truth[:, 0] = True
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    if kind == 5:  # ties everywhere
        scores = np.round(scores, 1).astype(np.float32)
    if kind == 6:  # no image has a class
        truth[:] = False
    return truth, scores >= 0.5, scores


def test_values_by_hand() -> None:
    overall, per_class = measure(tally(TRUTH, SCORES >= 0.5, SCORES))
    assert per_class[0] == {
        "precision": 0.5,
        "recall": 1.0,
        "f1": 2 / 3,
        "average_precision": 1.0,
        "auc": 1.0,
    }
    assert per_class[1] == {
        "precision": None, "recall": None, "f1": None, "average_precision": None, "auc": None
    }  # fmt: skip
    assert per_class[2] == {
        "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "average_precision": 1.0, "auc": None
    }  # fmt: skip
    assert overall["subset_accuracy"] == 0.0
    assert overall["hamming_loss"] == 2 / 6
    assert overall["micro_f1"] == pytest.approx(4 / 6)
    assert overall["macro_f1"] == pytest.approx(2 / 3)
    assert overall["mean_average_precision"] == 1.0
    assert (overall["label_cardinality"], overall["predicted_cardinality"]) == (1.5, 1.5)
    nats = -np.log([0.9, 0.8, 0.4, 0.3, 0.9, 0.8]).mean()
    assert overall["loss"] == pytest.approx(nats, abs=1e-7)


@pytest.mark.parametrize("kind", range(7))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:No positive class")
def test_all_that_is_counted_is_scikit_learns(kind: int) -> None:
    for seed in range(kind, 20 * 7, 7):
        truth, predicted, scores = random_answers(seed)
        overall, per_class = measure(tally(truth, predicted, scores))
        clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
        expected: dict[str, float] = {
            "subset_accuracy": float((truth == predicted).all(axis=1).mean()),
            "hamming_loss": float((truth != predicted).mean()),
            "loss": float(-np.log(np.where(truth, clipped, 1 - clipped)).mean()),
        }
        if truth.shape[1] > 1:  # scikit-learn takes one column for binary
            expected["hamming_loss"] = sklearn.hamming_loss(truth, predicted)
            expected["subset_accuracy"] = sklearn.accuracy_score(truth, predicted)
            seen = np.flatnonzero(truth.any(axis=0) | predicted.any(axis=0))
            for average, labels in (("micro", None), ("macro", seen)):
                if average == "macro" and not len(seen):
                    continue
                found = sklearn.precision_recall_fscore_support(
                    truth, predicted, average=average, labels=labels, zero_division=0
                )
                names = (f"{average}_{name}" for name in ("precision", "recall", "f1"))
                expected.update(zip(names, found[:3], strict=True))
        ranked = [
            sklearn.average_precision_score(truth[:, label], scores[:, label])
            for label in np.flatnonzero(truth.any(axis=0))
        ]
        if ranked:
            expected["mean_average_precision"] = float(np.mean(ranked))
            expected["min_class_average_precision"] = min(ranked)
        areas = [
            sklearn.roc_auc_score(truth[:, label], scores[:, label])
            for label in range(truth.shape[1])
            if 0 < truth[:, label].sum() < len(truth)
        ]
        if areas:
            expected["auc"] = float(np.mean(areas))
        for name, value in expected.items():
            assert overall[name] == pytest.approx(value, abs=1e-6 if name == "loss" else 1e-12), (seed, name)
        for label, of_class in enumerate(per_class):
            right = int((truth & predicted)[:, label].sum())
            total, answers = int(truth[:, label].sum()), int(predicted[:, label].sum())
            assert of_class["recall"] == (right / total if total else None)
            assert of_class["precision"] == (right / answers if answers else None)


def test_without_any_label_nothing_is_ranked() -> None:
    scores = np.array([[0.7], [0.1]], np.float32)
    overall, _ = measure(tally(np.zeros((2, 1), bool), scores >= 0.5, scores))
    assert math.isnan(overall["mean_average_precision"])
    assert math.isnan(overall["auc"])
    assert math.isnan(overall["min_class_f1"])
    assert overall["micro_f1"] == 0.0
    assert overall["subset_accuracy"] == 0.5


def test_what_is_no_number_is_wrong_in_every_class() -> None:
    scores = SCORES.copy()
    scores[0, 1] = np.nan
    overall, per_class = measure(tally(TRUTH, scores >= 0.5, scores))
    assert overall["not_number_count"] == 1
    assert math.isnan(overall["loss"])
    assert overall["hamming_loss"] == (3 + 1) / 6
    assert per_class[0]["auc"] == 0.0
    assert per_class[2]["average_precision"] == pytest.approx((1 + 1) / 2)


def test_tallies_merge_in_any_order_and_size() -> None:
    truth, predicted, scores = random_answers(7 * 5 + 0)
    whole = pickle.dumps(measure(tally(truth, predicted, scores)))
    random = np.random.default_rng(1)
    order = random.permutation(len(truth))
    parts = np.array_split(order, min(3, len(truth)))
    merged = Tally(truth.shape[1])
    for part in reversed(parts):
        other = tally(truth[part], predicted[part], scores[part])
        other.compact()
        merged.merge(other)
    assert pickle.dumps(measure(merged)) == whole


def test_the_loss_of_a_batch_that_is_all_wrong() -> None:
    # 2^20 decisions of 16.1 nats each, whose sum in units no int64 holds.
    truth = np.ones((1024, 1024), bool)
    overall, _ = measure(tally(truth, ~truth, np.zeros(truth.shape, np.float32)))
    assert overall["loss"] == pytest.approx(-math.log(1e-7))


def test_a_tally_stays_small() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.random((4000, 3)) < 0.3, random.random((4000, 3)).astype(np.float32)
    exact, coarse = (measure(tally(truth, scores >= 0.5, scores, most))[0] for most in (None, 200))
    counted = tally(truth, scores >= 0.5, scores, 200)
    counted.compact()
    assert len(pickle.dumps(counted)) < 20_000
    assert coarse["mean_average_precision"] == pytest.approx(exact["mean_average_precision"], abs=0.02)
    assert coarse["micro_f1"] == exact["micro_f1"]


@pytest.mark.parametrize("shape", [(2, 2), (1, 3)])
def test_other_shapes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected probabilities of 2 images and 3 classes"):
        tally(TRUTH, TRUTH, np.zeros(shape, np.float32))


def test_the_truth_of_a_batch() -> None:
    assert make_truth([(0, 2), (), (1, 1)], 3).tolist() == [
        [True, False, True], [False, False, False], [False, True, False]
    ]  # fmt: skip
    with pytest.raises(DataRefusedError, match="expected labels 0 to 2, got 0, 3"):
        make_truth([(0, 3)], 3)


def test_a_ranking_that_nothing_explains_but_the_images() -> None:
    assert judge_trivial([(0.9, 50, 50), (0.8, 40, 60)]) == YES
    assert judge_trivial([(0.5, 500, 500), (0.5, 400, 600)]) == NO
    assert judge_trivial([(0.5, 2, 3)]) == UNKNOWN
    assert judge_trivial([]) == UNKNOWN


def test_intervals_hold_the_metrics() -> None:
    random = np.random.default_rng(3)
    truth = random.random((200, 4)) < 0.3
    scores = np.clip(random.random((200, 4)) * 0.6 + truth * 0.3, 0, 1).astype(np.float32)
    found = Predictions(("a", "b", "c", "d"), [f"{n:03}" for n in range(200)], truth, scores >= 0.5, scores)
    overall, _ = measure(tally(truth, scores >= 0.5, scores))
    confidence = find_confidence(found, overall)
    names = {"mean_average_precision", "macro_f1", "micro_f1", "hamming_loss", "loss", "subset_accuracy"}
    assert names <= confidence.intervals.keys()
    for name in names:
        interval = confidence.intervals[name]
        assert interval.low < overall[name] < interval.high
    assert len(confidence.draws["micro_f1"]) == 1000
    assert set(confidence.recall_intervals) == {0, 1, 2, 3}


def test_mistakes_and_figures_of_two_images() -> None:
    names = ("bird", "cat", "dog")
    mistakes = Mistakes()
    mistakes.add(names, ["1.png", "ü|2.png"], TRUTH, SCORES >= 0.5, SCORES)
    read = Mistakes.from_bytes(mistakes.to_bytes())
    assert read.format() == (
        "\ufeffimage,true,predicted,missed,false,loss\n"
        "ü|2.png,dog,bird; dog,,bird,0.510826\n"
        "1.png,bird; dog,bird,dog,,0.414932\n"
    )
    found = Predictions.from_bytes(
        Predictions(names, ["1.png", "ü|2.png"], TRUTH, SCORES >= 0.5, SCORES).to_bytes()
    )
    figures = make_figures(found, find_confidence(found, {}), {"bird": 0.5, "cat": 0.25, "dog": 0.5})
    assert figures.images == [1, 0, 2]
    assert figures.thresholds == [0.5, 0.25, 0.5]
    assert figures.cardinality == [(1, 1, 1), (2, 1, 1)]
    # One image has bird and dog; one with a dog gets bird by mistake.
    assert figures.together == [(0, 2, 1, 0, 1)]
    assert [curve.index for curve in figures.curves] == [0, 2]
    assert type(figures).from_json(figures.to_json()) == figures


def test_an_empty_split_has_no_figures() -> None:
    empty = Predictions(("a",), [], *(np.zeros((0, 1), kind) for kind in (bool, bool, np.float32)))
    assert find_confidence(empty, {}).intervals == {}
    figures = make_figures(empty, find_confidence(empty, {}), {})
    assert (figures.images, figures.cardinality, figures.curves) == ([0], [], [])
