"""The name of a training, by which it finds its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.trainer.config import TrainingConfig
from components.trainer.job import Job


def name(folder: Path, **training: Any) -> str:
    settings = TrainingConfig.model_validate(training).model_dump()
    parts = {"training": settings, "checkpoints": str(folder), "about": {"recipe": "mine"}}
    return Job([], [], "", "", parts, str(folder), str(folder)).name


@pytest.mark.parametrize(
    "training",
    [{"checkpoints": {"steps": 7}}, {"guard": {"steps": None}}, {"tracking": {"tensorboard": False}}],
    ids=lambda training: next(iter(training)),
)
def test_what_makes_the_same_model_resumes_the_same_training(
    tmp_path: Path, training: dict[str, Any]
) -> None:
    assert name(tmp_path / "here", **training) == name(tmp_path / "there")


@pytest.mark.parametrize("training", [{"seed": 1}, {"cache": "none"}, {"class_weights": {"é": 2.0}}])
def test_any_other_option_is_another_training(tmp_path: Path, training: dict[str, Any]) -> None:
    assert name(tmp_path, **training) != name(tmp_path)
