"""Metrics of classification, against values worked out by hand, scikit-learn and NumPy."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import rankdata
from sklearn import metrics as sklearn

from components.evaluator.probability_levels import levels_of, probabilities_of
from components.tasks.classification.metrics import ROC_POINTS, Tally, measure

Array = npt.NDArray[np.float32]


def tally(labels: npt.ArrayLike, probabilities: npt.ArrayLike, most_levels: int | None = None) -> Tally:
    rows = np.asarray(probabilities, np.float32)
    counted = Tally(rows.shape[1], most_levels=most_levels)
    counted.add(np.asarray(labels), rows)
    return counted


def softmax(logits: npt.NDArray[np.float64]) -> Array:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), np.float32)


def random_answers(seed: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Labels and probabilities of few or many images of 2 to 8 classes, in turn ordinary and degenerate."""
    random = np.random.default_rng(seed)
    classes, images = int(random.integers(2, 9)), int(random.choice([1, 2, 5, 40, 300]))
    labels = random.integers(0, classes, images)
    logits = random.normal(0.0, 2.0, (images, classes))
    logits[np.arange(images), labels] += random.uniform(0.0, 4.0)
    kind = seed % 7
    if kind == 1:  # always the same answer
        logits[:, random.integers(classes)] = 50.0
    if kind == 2:  # a class without an image
        labels[labels == 0] = 1
    if kind == 3:  # a class that is never predicted
        logits[:, 0] = -50.0
    if kind == 4:  # images of one class alone
        labels[:] = labels[0]
    probabilities = softmax(logits)
    if kind == 5:  # ties everywhere
        probabilities = np.round(probabilities, 1).astype(np.float32)
    if kind == 6:  # some are no numbers
        probabilities[random.random(images) < 0.3, random.integers(classes)] = np.nan
    return labels, probabilities


@pytest.mark.parametrize("kind", range(7))
def test_all_that_is_counted_is_scikit_learns(kind: int) -> None:
    for seed in range(kind, 30 * 7, 7):
        labels, probabilities = random_answers(seed)
        classes = probabilities.shape[1]
        counted = tally(labels, probabilities)
        overall, per_class = measure(counted)
        predicted = np.where(np.isnan(probabilities).any(axis=1), -1, np.argmax(probabilities, axis=1))
        assert overall["example_count"] == len(labels)
        assert overall["not_number_count"] == (predicted < 0).sum()
        assert overall["accuracy"] == (labels == predicted).mean()
        matrix = sklearn.confusion_matrix(labels, predicted, labels=range(-1, classes))[1:]
        assert counted.confusion() == {
            (true, answer - 1): count for (true, answer), count in np.ndenumerate(matrix) if count
        }
        recalls = [np.mean(predicted[labels == label] == label) for label in np.unique(labels)]
        assert overall["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-12)
        of_classes = sklearn.precision_recall_fscore_support(
            labels, predicted, labels=np.unique(labels), zero_division=0
        )
        for name, values in zip(("precision", "recall", "f1"), of_classes, strict=False):
            assert overall[f"min_class_{name}"] == pytest.approx(min(values), abs=1e-12)
        assert overall["majority_accuracy"] == np.bincount(labels).max() / len(labels)
        there = np.union1d(labels, predicted[predicted >= 0])
        for mean in ("macro", "weighted"):
            expected = sklearn.precision_recall_fscore_support(
                labels, predicted, labels=there, average=mean, zero_division=0
            )
            for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
                assert overall[f"{mean}_{name}"] == pytest.approx(value, abs=1e-12)
        undefined = sklearn.precision_recall_fscore_support(
            labels, predicted, labels=range(classes), zero_division=np.nan
        )
        for name, values in zip(("precision", "recall", "f1"), undefined, strict=False):
            got = np.array([row[name] for row in per_class], float)  # None becomes nan
            np.testing.assert_allclose(got, values, atol=1e-12)
        higher = (probabilities > probabilities[np.arange(len(labels)), labels][:, None]).sum(axis=1)
        assert overall["top_5_accuracy"] == np.mean((higher < 5) & (predicted >= 0))


@pytest.mark.parametrize("kind", range(6))
def test_areas_are_scikit_learns(kind: int) -> None:
    for seed in range(kind, 30 * 7, 7):
        labels, probabilities = random_answers(seed)
        overall, per_class = measure(tally(labels, probabilities))
        expected = [
            sklearn.roc_auc_score(labels == label, column)
            if 0 < (labels == label).sum() < len(labels)
            else None
            for label, column in enumerate(probabilities.T)
        ]
        assert [row["auc"] for row in per_class] == pytest.approx(expected, abs=1e-12)
        there = [area for area in expected if area is not None]
        assert overall["auc"] == pytest.approx(np.mean(there) if there else math.nan, abs=1e-12, nan_ok=True)


def test_a_class_that_is_never_predicted_by_hand() -> None:
    overall, per_class = measure(tally([0, 0, 0, 1], [[0.9, 0.1]] * 4))
    assert per_class[0] == {"precision": 0.75, "recall": 1.0, "f1": 6 / 7, "auc": 0.5}
    assert per_class[1] == {"precision": None, "recall": 0.0, "f1": 0.0, "auc": 0.5}
    assert overall["balanced_accuracy"] == 0.5
    # Nothing is known about the second class' precision; that does not make the model good.
    assert [overall[f"min_class_{name}"] for name in ("precision", "recall", "f1")] == [0.0, 0.0, 0.0]
    assert overall["macro_precision"] == 0.375
    assert overall["weighted_precision"] == 0.5625
    assert overall["majority_accuracy"] == 0.75


def test_a_class_without_images_by_hand() -> None:
    overall, per_class = measure(tally([0, 0], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    assert per_class[1] == {"precision": 0.0, "recall": None, "f1": 0.0, "auc": None}
    assert per_class[2] == {"precision": None, "recall": None, "f1": None, "auc": None}
    assert overall["macro_recall"] == 0.25  # of classes 0 and 1; class 2 is nowhere
    # Class 0 alone has images: 1 of 1 answers is right, and 1 of 2 images.
    assert [overall[f"min_class_{name}"] for name in ("precision", "recall", "f1")] == [1.0, 0.5, 2 / 3]
    assert overall["balanced_accuracy"] == 0.5
    assert math.isnan(overall["auc"])


def test_images_without_numbers_are_counted_and_ranked_wrongly() -> None:
    rows = [[0.8, 0.2], [np.nan, 0.5], [0.3, 0.7], [np.inf, 0.0]]
    counted = tally([0, 0, 1, 1], rows)
    overall, _ = measure(counted)
    assert counted.confusion() == {(0, -1): 1, (0, 0): 1, (1, -1): 1, (1, 1): 1}
    assert (overall["accuracy"], overall["not_number_count"]) == (0.5, 2.0)
    assert math.isnan(overall["loss"])
    assert overall["auc"] == 0.25  # of four pairs the one with both numbers


def sure(random: np.random.Generator) -> tuple[npt.NDArray[np.int64], Array]:
    labels = random.integers(0, 10, 20_000)
    logits = random.normal(0.0, 6.0, (20_000, 10))
    logits[np.arange(20_000), labels] += 12.0
    return labels, softmax(logits)


def rare(random: np.random.Generator) -> tuple[npt.NDArray[np.int64], Array]:
    labels = (random.random(50_000) < 0.001).astype(np.int64)
    logits = np.stack([np.full(50_000, 9.0), random.normal(0.0, 1.0, 50_000) + labels], axis=1)
    return labels, softmax(logits)


def thousand_classes(random: np.random.Generator) -> tuple[npt.NDArray[np.int64], Array]:
    labels = np.arange(4000) % 1000
    logits = random.normal(0.0, 2.0, (4000, 1000))
    logits[np.arange(4000), labels] += 2.0
    return labels, softmax(logits)


def untrained(random: np.random.Generator) -> tuple[npt.NDArray[np.int64], Array]:
    labels = np.arange(4000) % 1000
    logits = random.normal(0.0, 1e-4, (4000, 1000))
    logits[np.arange(4000), labels] += 1e-4
    return labels, softmax(logits)


@pytest.mark.parametrize(
    ("answers", "most_levels"),
    [
        (sure, None),
        (sure, 5000),
        (rare, None),
        (rare, 1000),
        pytest.param(thousand_classes, None, marks=pytest.mark.slow),
        pytest.param(untrained, None, marks=pytest.mark.slow),
    ],
)
def test_areas_are_within_a_thousandth_of_scikit_learns(answers: object, most_levels: int | None) -> None:
    labels, probabilities = answers(np.random.default_rng(0))  # type: ignore[operator]
    counted = Tally(probabilities.shape[1], most_levels=most_levels)
    for start in range(0, len(labels), 1000):
        counted.add(labels[start : start + 1000], probabilities[start : start + 1000])
    overall, per_class = measure(counted)
    got = np.array([row["auc"] for row in per_class], float)
    for label in range(0, len(per_class), max(1, len(per_class) // 40)):
        expected = sklearn.roc_auc_score(labels == label, probabilities[:, label])
        assert got[label] == pytest.approx(expected, abs=1e-3)
    # All of them by Mann and Whitney's ranks, which is the same and quicker.
    counts = np.bincount(labels, minlength=len(per_class))
    ranks = rankdata(probabilities, axis=0)
    sums = np.array([ranks[labels == label, label].sum() for label in range(len(per_class))])
    all_expected = (sums - counts * (counts + 1) / 2) / (counts * (len(labels) - counts))
    np.testing.assert_allclose(got, all_expected, atol=1e-3)
    assert overall["auc"] == pytest.approx(np.mean(all_expected), abs=1e-4)


def batches(seed: int) -> Iterator[tuple[npt.NDArray[np.int64], Array]]:
    random = np.random.default_rng(seed)
    for _ in range(12):
        labels = random.integers(0, 20, 200)
        yield labels, softmax(random.normal(0.0, 3.0, (200, 20)))


def test_tallies_merge_to_the_same_metrics_in_any_order() -> None:
    most = 6000  # of 48,000 different probabilities
    whole = Tally(20, most_levels=most)
    parts = []
    for labels, probabilities in batches(3):
        whole.add(labels, probabilities)
        parts.append(Tally(20, most_levels=most))
        parts[-1].add(labels, probabilities)
    for order in (range(12), reversed(range(12)), np.random.default_rng(0).permutation(12)):
        merged = Tally(20, most_levels=most)
        for index in order:
            merged.merge(pickle.loads(pickle.dumps(parts[index])))
        assert measure(merged) == measure(whole)
        assert merged.roc() == whole.roc()


@pytest.mark.slow
def test_a_tally_stays_small_with_a_thousand_classes() -> None:
    random = np.random.default_rng(0)
    counted = Tally(1000)
    sizes = []
    for _ in range(4):
        for _ in range(3):
            counted.add(random.integers(0, 1000, 1500), softmax(random.normal(0.0, 3.0, (1500, 1000))))
        counted.compact()
        sizes.append(len(pickle.dumps(counted)))
    assert sizes[3] < 1.1 * sizes[1] < 1.1 * 2**26  # 16 bytes a level at most, and the confusion matrix


def test_levels_order_probabilities_finely_at_both_ends() -> None:
    values = np.float32(
        [0.0, 1e-38, 1e-7, 0.1, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.9, 1 - 6e-8, 1.0]
    )
    levels = levels_of(values)
    assert (np.diff(levels) > 0).all()
    np.testing.assert_array_equal(probabilities_of(levels), values)
    # About as fine at 1 as at 0, where float32 itself is.
    fine = np.float32([1e-3, 1.0001e-3, 1 - 1.0001e-3, 1 - 1e-3])
    assert np.diff(levels_of(fine))[0] == pytest.approx(np.diff(levels_of(fine))[2], rel=0.25)
    assert (
        levels_of(np.float32([-0.0, -1.0, 2.0])).tolist() == levels_of(np.float32([0.0, 0.0, 1.0])).tolist()
    )


def test_of_two_classes_the_roc_is_that_of_the_second() -> None:
    curve = tally([0, 0, 1, 1], [[0.99, 0.01], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]]).roc()
    # Threshold, true positives, false positives, true negatives, false negatives.
    assert [tuple(np.round(point, 6)) for point in curve] == [
        (1.0001, 0, 0, 2, 2),
        (0.8, 1, 0, 2, 1),
        (0.5, 2, 1, 1, 0),
        (0.01, 2, 2, 0, 0),
    ]


def test_the_roc_of_many_images_has_few_points_and_the_area_of_all() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, 1000)
    probabilities = random.random((1000, 4)).astype(np.float32) * 0.8
    probabilities[np.arange(1000), labels] += 0.2
    curve = tally(labels, probabilities).roc()
    assert 90 < len(curve) <= ROC_POINTS
    area = sklearn.auc([point[2] / 3000 for point in curve], [point[1] / 1000 for point in curve])
    expected = sklearn.roc_auc_score(np.eye(4)[labels].ravel(), probabilities.ravel())
    assert area == pytest.approx(expected, abs=1e-3)
    # Each point holds what its threshold says.
    for threshold, right, wrong, *_ in curve[1:]:
        is_positive = probabilities >= np.float32(threshold)
        assert is_positive[np.arange(1000), labels].sum() == right
        assert is_positive.sum() == right + wrong


def test_there_is_no_roc_of_one_class_alone() -> None:
    assert tally([1, 1], [[0.1, 0.9], [0.6, 0.3]]).roc() == []


@pytest.mark.parametrize(
    ("labels", "shape", "said"),
    [
        ([0, 1], (2, 3), r"expected probabilities of 2 images and 2 classes, got 2 x 3"),
        ([0, 2], (2, 2), r"expected labels 0 to 1, got 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(labels: list[int], shape: tuple[int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tally(2).add(np.array(labels), np.zeros(shape))
