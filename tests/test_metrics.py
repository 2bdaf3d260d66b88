"""Metrics of our own, against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from components.metrics import BUCKETS, mean_auc


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
