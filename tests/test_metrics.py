"""Metrics of our own, against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from components.metrics import BUCKETS, ROC_POINTS, mean_auc, roc_matrices


def test_mean_auc_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    buckets = np.array([[9, 1], [5, 5], [5, 5], [2, 8]])
    # Of the four pairs of a 0 and a 1, three are ranked right and one is tied, for either class.
    assert mean_auc(labels, buckets) == pytest.approx(3.5 / 4)


def test_mean_auc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 500)
    buckets = random.integers(0, BUCKETS + 1, (500, 7))
    buckets[np.arange(500), labels] += 2000
    buckets = np.minimum(buckets, BUCKETS)
    expected = np.mean([roc_auc_score(labels == label, buckets[:, label]) for label in range(7)])
    assert mean_auc(labels, buckets) == pytest.approx(expected, abs=1e-12)


def test_classes_without_examples_do_not_count() -> None:
    labels = np.array([0, 0, 2])
    buckets = np.array([[9, 0, 1], [8, 0, 2], [1, 0, 9]])
    assert mean_auc(labels, buckets) == 1.0
    assert math.isnan(mean_auc(np.array([1, 1]), buckets[:2]))


def test_of_two_classes_the_roc_is_that_of_the_second() -> None:
    labels = np.array([0, 0, 1, 1])
    buckets = np.array([[9900, 100], [5000, 5000], [5000, 5000], [2000, 8000]])
    curve = roc_matrices(labels, buckets).matrices
    assert [(m.threshold, m.true_positives, m.false_positives) for m in curve] == [
        (1.0001, 0, 0),
        (0.8, 1, 0),
        (0.5, 2, 1),
        (0.01, 2, 2),
    ]
    assert [(m.false_negatives, m.true_negatives) for m in curve] == [(2, 2), (1, 2), (0, 1), (0, 0)]


def test_the_roc_of_many_images_has_few_points_and_the_area_of_all() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, 1000)
    buckets = random.integers(0, 8001, (1000, 4))
    buckets[np.arange(1000), labels] += 2000
    curve = roc_matrices(labels, buckets).matrices
    assert 90 < len(curve) <= ROC_POINTS
    area = auc([m.false_positives / 3000 for m in curve], [m.true_positives / 1000 for m in curve])
    assert area == pytest.approx(roc_auc_score(np.eye(4)[labels].ravel(), buckets.ravel()), abs=1e-3)


def test_there_is_no_roc_of_one_class_alone() -> None:
    assert not roc_matrices(np.array([1, 1]), np.array([[0, 9], [3, 6]])).matrices
