"""Two models that know different classes, compared on those that both know; values worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from components.base.common_classes import find_common
from components.base.errors import UsageError
from components.evaluator.bounds import COMMON
from components.evaluator.metric import COMMON_NAMES
from components.tasks.classification.batches import IMAGE_NAMES
from components.tasks.classification.restrict import restrict
from components.tasks.classification.tfma_metric import ClassificationMetrics

# Six images: ants, cats and a bee. The candidate knows bees, which the baseline does not; the baseline knows
# dogs, and its columns are in another order.
CANDIDATE, BASELINE = ("ant", "bee", "cat"), ("cat", "ant", "dog")
LABELS = np.array([0, 0, 0, 2, 2, 1])
OF_CANDIDATE = np.array(
    [
        [0.5, 0.4, 0.1],
        [0.2, 0.5, 0.3],  # a bee; of ant and cat it says cat: wrong
        [0.3, 0.5, 0.2],  # a bee; of ant and cat it says ant: right
        [0.1, 0.1, 0.8],
        [0.1, 0.6, 0.3],  # a bee; of ant and cat it says cat: right
        [0.1, 0.8, 0.1],  # right, and not a common class
    ]
)
OF_BASELINE = np.array(
    [
        [0.1, 0.7, 0.2],
        [0.2, 0.3, 0.5],  # a dog; of ant and cat it says ant: right
        [0.3, 0.6, 0.1],
        [0.5, 0.1, 0.4],
        [0.6, 0.2, 0.2],
        [0.9, 0.1, 0.0],
    ]
)


def measured(
    model: str,
    models: dict[str, tuple[tuple[str, ...], np.ndarray]],
    batches: int = 1,
    images: Sequence[int] = range(len(LABELS)),
    slice_key: tuple[Any, ...] = (),
) -> dict[str, Any]:
    """Return the metric of one of the models, from batches that are counted apart and merged."""
    config = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(name=name, is_baseline=name == "baseline") for name in models]
    )
    metric = ClassificationMetrics(num_classes=3)
    (computation,) = metric.computations(eval_config=config, model_names=[model])
    (preprocessor,), combiner = computation.preprocessors, computation.combiner
    counts = []
    for rows in np.array_split(np.array(images), batches):
        outputs = {
            name: {
                "probabilities": table[rows].astype(np.float32),
                "labels": np.array([[each.encode() for each in names]] * len(rows)),
            }
            for name, (names, table) in models.items()
        }
        extracts = {
            tfma.SLICE_KEY_TYPES_KEY: [slice_key],
            tfma.LABELS_KEY: LABELS[rows],
            tfma.PREDICTIONS_KEY: outputs,
            IMAGE_NAMES: np.array([f"{row}.png".encode() for row in rows]),
        }
        counts.append(combiner.create_accumulator())
        for element in preprocessor.process(extracts):
            counts[-1] = combiner.compact(combiner.add_input(counts[-1], element))
    found = combiner.extract_output(combiner.merge_accumulators(counts))
    return {key.name: value for key, value in found.items() if getattr(key, "sub_key", None) is None}


@pytest.mark.parametrize("batches", [1, 4])
def test_both_models_are_measured_on_the_classes_that_both_know(batches: int) -> None:
    models = {"candidate": (CANDIDATE, OF_CANDIDATE), "baseline": (BASELINE, OF_BASELINE)}
    ours, theirs = (measured(name, models, batches) for name in models)
    # Images 0, 2, 3 and 4 of five; the baseline all five. Over all classes: images 0, 3 and 5 of six.
    assert (ours[f"{COMMON}accuracy"], theirs[f"{COMMON}accuracy"]) == (0.8, 1.0)
    assert ours["accuracy"] == 0.5
    assert ours[f"{COMMON}example_count"] == theirs[f"{COMMON}example_count"] == 5
    assert ours[COMMON_NAMES] == b'["ant", "cat"]'
    # Recalls: two of three ants, both cats.
    assert ours[f"{COMMON}balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-15)
    # Probabilities of the true class, divided by those of ant and cat together.
    nats = -np.mean(np.log([5 / 6, 2 / 5, 3 / 5, 8 / 9, 3 / 4]))
    assert ours[f"{COMMON}loss"] == pytest.approx(nats, abs=1e-6)
    nats = -np.mean(np.log([7 / 8, 3 / 5, 2 / 3, 5 / 6, 3 / 4]))
    assert theirs[f"{COMMON}loss"] == pytest.approx(nats, abs=1e-6)
    # Probabilities of ant: of ants 5/6, 2/5, 3/5, of cats 1/9, 1/4; all ants above all cats.
    assert ours[f"{COMMON}auc"] == theirs[f"{COMMON}auc"] == 1.0
    # What the baseline says over its own classes is no measure of the candidate.
    assert [name for name in theirs if not name.startswith(COMMON)] == []


def test_a_slice_without_a_common_class_has_no_value() -> None:
    """TFMA refuses a model that lacks a value in any slice, though the bound is on the whole split."""
    models = {"candidate": (CANDIDATE, OF_CANDIDATE), "baseline": (BASELINE, OF_BASELINE)}
    for name in models:
        found = measured(name, models, images=[5], slice_key=(("image/class/text", "bee"),))
        assert found[f"{COMMON}example_count"] == 0
        assert np.isnan(found[f"{COMMON}accuracy"])
        assert COMMON_NAMES not in found


def test_classes_in_another_order_are_the_same_classes() -> None:
    order = [2, 0, 1]
    permuted = tuple(CANDIDATE[place] for place in order)
    models = {"candidate": (CANDIDATE, OF_CANDIDATE), "baseline": (permuted, OF_CANDIDATE[:, order])}
    ours, theirs = (measured(name, models) for name in models)
    plots = {
        "confusion_matrix",
        "roc",
        "mistakes",
        "predictions",
    }  # of the candidate alone, or in the order of its classes
    assert {name: value for name, value in ours.items() if name not in plots} == {
        name: value for name, value in theirs.items() if name not in plots
    }
    assert ours[f"{COMMON}accuracy"] == ours["accuracy"] == 0.5
    assert COMMON_NAMES not in ours


def test_without_a_baseline_nothing_is_compared() -> None:
    found = measured("", {"": (CANDIDATE, OF_CANDIDATE)})
    assert found["accuracy"] == 0.5
    assert [name for name in found if name.startswith(COMMON)] == []


def test_a_row_without_any_probability_of_a_common_class_stays_zero() -> None:
    table = np.array([[0.0, 1.0, 0.0], [np.nan, 0.5, 0.5], [0.0, 1e-30, 1e-30]], np.float32)
    labels, answers = restrict(np.array([0, 2, 2]), table, CANDIDATE, CANDIDATE, ("ant", "cat"))
    np.testing.assert_array_equal(labels, [0, 1, 1])
    np.testing.assert_array_equal(answers, [[0.0, 0.0], [np.nan, 0.5], [0.0, 1.0]])


def test_shapes_and_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected probabilities of 6 images and 2 classes, got 6 x 3"):
        restrict(LABELS, OF_CANDIDATE, CANDIDATE, ("ant", "cat"), ("ant", "cat"))
    with pytest.raises(ValueError, match=r"expected labels 0 to 1, got 0 to 2"):
        restrict(LABELS, OF_CANDIDATE, ("ant", "cat"), CANDIDATE, ("ant", "cat"))
    models = {"candidate": (CANDIDATE, OF_CANDIDATE), "baseline": (("ant", "cat"), OF_BASELINE)}
    with pytest.raises(UsageError, match="the model and the test split have different classes: expected"):
        measured("baseline", models)


@pytest.mark.parametrize(
    ("task", "others", "common"),
    [
        ("classification", BASELINE, ("ant", "cat")),
        ("classification", ("ant",), ()),
        ("classification", ("dog", "owl"), ()),
        ("detection", ("ant",), ("ant",)),
        ("detection", ("dog",), ()),
    ],
)
def test_a_classifier_needs_two_common_classes_and_a_detector_one(
    task: str, others: tuple[str, ...], common: tuple[str, ...]
) -> None:
    assert find_common(task, CANDIDATE, others) == common
