"""Recipes whose parts are not for their task are refused, with what to give instead."""

from __future__ import annotations

from typing import Any

import pytest

from components.base.task import part
from components.evaluator.config import EvaluationConfig
from components.models.config import ModelConfig
from components.trainer.config import TrainingConfig
from components.tuner.config import TunerConfig

pytestmark = pytest.mark.stack_free

SSD: dict[str, Any] = {"name": "ssd_mobilenet_v2"}


def refusal(
    task: str,
    model: dict[str, Any],
    training: dict[str, Any] | None = None,
    tuner: dict[str, Any] | None = None,
) -> str:
    with pytest.raises(ValueError, match=":") as caught:
        check(task, model, training, tuner)
    return str(caught.value)


def check(
    task: str,
    model: dict[str, Any],
    training: dict[str, Any] | None = None,
    tuner: dict[str, Any] | None = None,
) -> None:
    part(task, "recipe").check(
        ModelConfig.model_validate(model),
        TrainingConfig.model_validate(training or {}),
        TunerConfig.model_validate(tuner) if tuner else None,
        EvaluationConfig(thresholds={}),
    )


def test_a_network_for_the_other_task() -> None:
    assert refusal("detection", {"name": "lenet"}) == (
        "model.name: lenet is for classification, and task is detection: take ssd_mobilenet_v2, "
        "ssd_keras/<Name>"
    )
    assert "ssd_mobilenet_v2 is for detection, and task is classification" in refusal("classification", SSD)


@pytest.mark.parametrize("option", [{"rotation": 0.1}, {"mix_up": 0.2}, {"crop": {"area": [0.5, 1.0]}}])
def test_augmentation_that_boxes_do_not_go_along_with(option: dict[str, Any]) -> None:
    said = refusal("detection", SSD, training={"augmentation": option})
    assert said.startswith(f"training.augmentation.{next(iter(option))}: it is for task: classification")


def test_augmentation_for_boxes_alone() -> None:
    option = {"zoom_out": {"chance": 0.5}}
    said = refusal("classification", {"name": "lenet"}, training={"augmentation": option})
    assert said.startswith("training.augmentation.zoom_out: it is for task: detection")
    check("detection", SSD, training={"augmentation": {**option, "flip": "horizontal", "hue": 0.1}})


def test_other_parts() -> None:
    assert "label_smoothing" in refusal("detection", SSD, training={"label_smoothing": 0.1})
    fields = {"fields": {"training.learning_rate": {"min": 0.1, "max": 0.2}}}
    assert "take eval_map_50 or eval_loss" in refusal("detection", SSD, tuner=fields)
    check("detection", SSD, tuner={**fields, "objective": "eval_map_50"})
    check("classification", {"name": "lenet"}, tuner=fields)


@pytest.mark.parametrize("option", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_a_detectors_images_are_of_no_one_class(option: dict[str, Any]) -> None:
    said = refusal("detection", SSD, training=option)
    expected = "none" if "class_weights" in option else "shuffled"
    assert said.startswith(
        f"training.{next(iter(option))}: expected {expected} for task: detection, whose images"
    )
    check("classification", {"name": "lenet"}, training=option)


def test_options_of_detection_are_for_detectors() -> None:
    with pytest.raises(
        ValueError, match="detection: it is for ssd_mobilenet_v2 and ssd_keras/<Name> alone, got name: lenet"
    ):
        ModelConfig.model_validate({"name": "lenet", "detection": {"extra_layers": 0}})
