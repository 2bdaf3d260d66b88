"""The gate: exact bounds through TFMA's validator, its sentences, and models no better than a trivial one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf.json_format import MessageToDict
from tensorflow_model_analysis.evaluators import metrics_validator

from components.base.task import part
from components.evaluator.bounds import (
    BEATS_TRIVIAL,
    COMMON,
    NO,
    UNKNOWN,
    YES,
    describe_failure,
    format_beside,
    format_bound,
)
from components.evaluator.config import EvaluationConfig
from components.evaluator.results import (
    CommonClasses,
    _warn_about_common,
    describe_trivial,
    find_warnings,
)
from components.tasks.classification.evaluator import make_eval_config
from components.tasks.classification.metrics import ByClass, Tally, measure
from components.tasks.classification.trivial import judge_trivial
from components.tasks.detection import trivial as detection_trivial

CLASSIFICATION, DETECTION = part("classification", "evaluator"), part("detection", "evaluator")


def key(name: str, model: str = "candidate") -> Any:
    return tfma.metrics.MetricKey(name=name, model_name=model, example_weighted=None)


def failures(name: str, value: float, config: EvaluationConfig, baseline: float | None = None) -> list[str]:
    """Return what TFMA's validator refuses, in words."""
    values = {key(name): value, key(BEATS_TRIVIAL): YES}
    if baseline is not None:
        # What a change is bound by: the same value, where both models know the same classes.
        values[key(f"{COMMON}{name}")] = value
        values[key(f"{COMMON}{name}", "baseline")] = baseline
        values[key(f"{COMMON}{name}").make_diff_key()] = value - baseline
    full = tfma.utils.update_eval_config_with_defaults(
        make_eval_config(config, ["a", "b"]), has_baseline=baseline is not None, rubber_stamp=True
    )
    if baseline is None:  # a single model has no name
        values = {item._replace(model_name=""): number for item, number in values.items()}
    result = metrics_validator.validate_metrics(((), values), full)
    assert result.validation_ok == (not result.metric_validations_per_slice)
    return [
        describe_failure(
            failure.metric_key.name,
            failure.metric_value.double_value.value,
            failure.metric_key.is_diff,
            failure.metric_threshold,
            "",
        )
        for by_slice in result.metric_validations_per_slice
        for failure in by_slice.failures
    ]


def accuracy(right: int, images: int) -> float:
    """The metrics of this many right images of two classes."""
    tally = Tally(2)
    labels = np.arange(images) % 2
    answers = np.where(np.arange(images) < right, labels, 1 - labels)
    tally.add(labels, np.eye(2)[answers])
    return measure(tally)[0]["accuracy"]


def test_a_bound_that_is_met_exactly_is_met() -> None:
    for images in range(1, 200):
        for right in range(images + 1):
            for digits in (2, 3):
                bound = round(right / images, digits)
                if bound * images == pytest.approx(right, abs=1e-9):
                    assert right / images >= bound
    for right, images, bound in ((18, 20, 0.9), (19, 20, 0.95), (7, 10, 0.7)):
        config = EvaluationConfig(thresholds={"accuracy": bound})
        assert failures("accuracy", accuracy(right, images), config) == []
        (said,) = failures("accuracy", accuracy(right - 1, images), config)
        assert said == f"accuracy is {(right - 1) / images:.4f}, must be at least {bound}"


def test_a_mean_of_shares_meets_its_bound_exactly() -> None:
    # Recalls 0.8, 0.9 and 1.0 of ten images each; floats would make 0.9000000000000001 or less than 0.9.
    tally = Tally(3)
    labels = np.repeat([0, 1, 2], 10)
    answers = labels.copy()
    answers[:2], answers[10] = 1, 2
    tally.add(labels, np.eye(3)[answers])
    assert measure(tally)[0]["balanced_accuracy"] == 0.9
    config = EvaluationConfig(thresholds={"balanced_accuracy": 0.9})
    assert failures("balanced_accuracy", measure(tally)[0]["balanced_accuracy"], config) == []


@pytest.mark.parametrize(
    ("right", "allowed", "is_refused"),
    [(90, 0.02, False), (89, 0.02, True), (92, 0.0, False), (91, 0.0, True)],
)
def test_a_regression_that_is_allowed_is_allowed_exactly(
    right: int, allowed: float, is_refused: bool
) -> None:
    config = EvaluationConfig(thresholds={"accuracy": 0.1}, max_regression={"accuracy": allowed})
    said = failures("accuracy", accuracy(right, 100), config, baseline=accuracy(92, 100))
    change = (right - 92) / 100
    sentence = f"accuracy changed by {change:.4f} against the baseline, allowed is {-allowed:g}"
    assert said == ([sentence] if is_refused else [])


@pytest.mark.slow
def test_every_allowed_regression_of_whole_images_is_allowed() -> None:
    for images in (7, 20, 97, 300, 1000):
        for lost in range(1, 8):
            for was in range(lost, images + 1, 7):
                config = EvaluationConfig(
                    thresholds={"accuracy": 0.0}, max_regression={"accuracy": lost / images}
                )
                assert failures("accuracy", (was - lost) / images, config, was / images) == []
            config = EvaluationConfig(
                thresholds={"accuracy": 0.0}, max_regression={"accuracy": lost / images}
            )
            assert failures("accuracy", (images - lost - 1) / images, config, 1.0) != []


def test_a_loss_is_bound_from_above() -> None:
    config = EvaluationConfig(thresholds={"loss": 0.3}, max_regression={"loss": 0.1})
    assert failures("loss", 0.3, config, baseline=0.2) == []
    assert failures("loss", 0.30001, config, baseline=0.25) == ["loss is 0.30001, must be at most 0.3"]
    assert failures("loss", 0.2, config, baseline=0.05) == [
        "loss changed by 0.1500 against the baseline, allowed is +0.1"
    ]


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        (0.75, 0.8, "0.7500"),
        (0.89996, 0.9, "0.89996"),
        (0.9 - 1e-12, 0.9, "0.899999999999"),
        (0.9, 0.9, "0.9000"),
        (0.30001, 0.3, "0.30001"),
        (np.nextafter(0.9, 0.0), 0.9, "0.8999999999999999"),
    ],
)
def test_a_message_never_contradicts_itself(value: float, bound: float, shown: str) -> None:
    assert format_beside(value, bound) == shown
    for other in np.random.default_rng(0).uniform(0.0, 1.0, 200):
        assert (float(format_beside(bound, other)) < other) == (bound < other)


def test_bounds_are_shown_as_they_were_written() -> None:
    assert [format_bound(value) for value in (0.9, 0.9999, 0.0, 1.0, 1e-05, -0.02 - 1e-12)] == [
        *("0.9", "0.9999", "0", "1", "1e-05", "-0.02")
    ]


def verdict(labels: Any, predicted: Any, classes: int) -> float:
    tally = Tally(classes)
    tally.add(np.asarray(labels), np.eye(classes)[np.asarray(predicted)])
    return judge_trivial(ByClass.of(tally.confusion(), classes).rows())


@pytest.mark.parametrize(
    ("images", "answer", "expected"),
    [
        ((285, 15), 0, NO),  # accuracy 0.95
        ((285, 15), 1, NO),
        ((150, 150), 0, NO),
        ((20, 20), 0, NO),
        ((5,) * 12, 3, NO),
        ((297, 3), 0, NO),
        ((3, 3), 0, NO),
        ((298, 2), 0, UNKNOWN),  # a model that finds four of five misses both in 4 of 100 splits
        ((4, 2), 0, UNKNOWN),
        ((6, 0), 0, UNKNOWN),  # one class alone: nothing to tell apart
        ((1, 1), 0, UNKNOWN),
    ],
)
def test_always_the_same_class_is_refused_where_the_images_suffice(
    images: tuple[int, ...], answer: int, expected: float
) -> None:
    labels = np.repeat(np.arange(len(images)), images)
    assert verdict(labels, np.full(len(labels), answer), len(images)) == expected


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ((285, 15), YES),
        ((5, 5), YES),
        ((299, 1), YES),
        ((1,) * 12, YES),
        ((3, 3), UNKNOWN),
        ((1, 1), UNKNOWN),
    ],
)
def test_always_right_is_never_refused(images: tuple[int, ...], expected: float) -> None:
    labels = np.repeat(np.arange(len(images)), images)
    assert verdict(labels, labels, len(images)) == expected


@pytest.mark.parametrize(("images", "expected"), [((285, 15), NO), ((295, 5), UNKNOWN)])
def test_nearly_always_the_same_class_is_refused_where_the_images_suffice(
    images: tuple[int, int], expected: float
) -> None:
    labels = np.repeat([0, 1], images)
    predicted = np.zeros_like(labels)
    predicted[:3] = 1  # three false alarms, and no image of the rare class is found
    assert verdict(labels, predicted, 2) == expected


def test_a_useful_model_of_a_rare_class_passes_though_the_most_frequent_class_has_more_right() -> None:
    labels = np.repeat([0, 1], [285, 15])
    predicted = labels.copy()
    predicted[:20], predicted[285:288] = 1, 0  # 12 of 15 found, 20 false alarms: accuracy 0.923
    assert verdict(labels, predicted, 2) == YES


def test_a_weak_model_of_many_classes_passes() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(2000) % 200
    predicted = np.where(random.random(2000) < 0.05, labels, random.integers(0, 200, 2000))
    assert verdict(labels, predicted, 200) == YES


def test_guesses_are_refused_and_good_models_never_are() -> None:
    random = np.random.default_rng(0)
    refused_guesses = refused_good = passed_guesses = 0
    for _ in range(400):
        classes = int(random.integers(2, 6))
        images = int(random.integers(100, 400))
        shares = random.dirichlet(np.full(classes, 3.0))
        labels = random.choice(classes, images, p=shares)
        guesses = verdict(labels, random.permutation(labels), classes)
        refused_guesses += guesses == NO
        passed_guesses += guesses == YES
        few = labels[: int(random.integers(2, 30))]
        good = np.where(random.random(len(few)) < 0.8, few, random.integers(0, classes, len(few)))
        refused_good += verdict(few, good, classes) == NO
    assert refused_guesses > 350
    assert passed_guesses <= 12  # about 1 of 100
    assert refused_good == 0


def test_the_variance_is_that_of_all_orders() -> None:
    # 4 images of a, 3 of b, answers a a b b b a b in random order: YES begins where z does.
    labels, predicted = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0, 1])
    random = np.random.default_rng(0)
    shuffled = [random.permutation(predicted) for _ in range(20_000)]
    recalls = [((each[:4] == 0).mean() + (each[4:] == 1).mean()) / 2 for each in shuffled]
    assert np.mean(recalls) == pytest.approx(0.5, abs=0.01)
    # The best order, all a answers on a: balanced accuracy 0.875, z of it by the simulated deviation.
    z = (0.875 - np.mean(recalls)) / np.std(recalls)
    assert z < 2.326
    assert verdict(labels, [0, 0, 0, 1, 1, 1, 1], 2) == UNKNOWN


def test_a_detector_that_finds_nothing_is_refused() -> None:
    assert detection_trivial.judge_trivial(7, found_any=False) == NO
    assert detection_trivial.judge_trivial(6, found_any=False) == UNKNOWN
    assert detection_trivial.judge_trivial(7, found_any=True) == YES


def test_the_gate_says_why_a_trivial_model_is_refused() -> None:
    metrics = {"accuracy": 0.95, "balanced_accuracy": 0.5, "majority_accuracy": 0.95}
    values = {key(BEATS_TRIVIAL)._replace(model_name=""): NO, key("accuracy")._replace(model_name=""): 0.95}
    for refuse_trivial in (True, False):
        config = EvaluationConfig(thresholds={"accuracy": 0.8}, refuse_trivial=refuse_trivial)
        full = tfma.utils.update_eval_config_with_defaults(
            make_eval_config(config, ["cat", "dog"]), has_baseline=False, rubber_stamp=True
        )
        result = metrics_validator.validate_metrics(((), values), full)
        assert result.validation_ok == (not refuse_trivial)
    said = describe_failure(BEATS_TRIVIAL, NO, False, None, describe_trivial(metrics, CLASSIFICATION))
    assert said == (
        "not better than one that gives the same class for every image: balanced_accuracy is 0.5000, and "
        "accuracy 0.9500, where always the most frequent class reaches 0.9500 "
        "(evaluation.refuse_trivial: false lets it pass)"
    )
    said = describe_failure(BEATS_TRIVIAL, NO, False, None, describe_trivial({"map_50": 0.0}, DETECTION))
    assert said.startswith("not better than one that finds nothing: map_50 is 0.0000")


def test_what_is_unclear_is_a_warning() -> None:
    metrics = {
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "majority_accuracy": 0.5,
        "example_count": 6.0,
        BEATS_TRIVIAL: UNKNOWN,
        "not_number_count": 2.0,
    }
    small, numbers = find_warnings(metrics, CLASSIFICATION)
    assert small.startswith("the test split (6 images) is too small to tell whether the model is better than")
    assert numbers.startswith("2 of 6 test images: the model's probabilities are not all finite numbers")
    assert find_warnings({**metrics, BEATS_TRIVIAL: YES, "not_number_count": 0.0}, CLASSIFICATION) == []


def test_a_value_that_is_missing_is_called_missing() -> None:
    config = EvaluationConfig(thresholds={"auc": 0.5})
    assert failures("auc", math.nan, config) == ["auc is missing, must be at least 0.5"]


def test_a_bound_that_few_common_classes_always_meet_is_said(tmp_path: Path) -> None:
    config = part("classification", "evaluator").make_eval_config(
        EvaluationConfig(max_regression={"accuracy": 0.1, "top_5_accuracy": 0.1}),
        [f"class {index}" for index in range(10)],
    )
    (tmp_path / "eval_config.json").write_text(json.dumps({"evalConfig": MessageToDict(config)}))
    asked = part("classification", "evaluator")

    def warned(classes: int) -> list[str]:
        names = [f"class {index}" for index in range(classes)]
        return _warn_about_common(str(tmp_path), CommonClasses(names, 9, {}, {}), asked)

    assert warned(5) == [
        "evaluation.max_regression.top_5_accuracy compares nothing: it says nothing about 5 common classes"
    ]
    assert warned(6) == []
