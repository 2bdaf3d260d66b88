"""A third task is a folder and one line: it trains, is judged, pushed and served by `mirante` as it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.tasks import classification
from tests.make.quick import quick_python

pytestmark = [pytest.mark.long, pytest.mark.slow]

# The room of the task: digits whose training also logs how sure the network is. The rest is classification's.
ROOM = {
    "__init__": """
import dataclasses
from components.tasks import classification
TASK = dataclasses.replace(classification.TASK, name="toy", gives="one digit for each image")
""",
    "recipe": """
def check(model, training, tuner, evaluation):
    if model.name != "lenet":
        raise ValueError(f"model.name: task toy is for lenet, got {model.name}; take lenet")
""",
    "data_gate": """
from components.tasks.classification.data_gate import *
""",
    "transform": """
from components.tasks.classification.transform import *
""",
    "trainer": """
import tensorflow as tf
from components.tasks.classification.trainer import Classification
from components.tasks.classification.serving import ClassificationModule

class Toy(Classification):
    metrics = ("accuracy", "sureness")

    def measure(self, labels, outputs):
        sureness = tf.reduce_max(tf.nn.softmax(outputs), axis=-1)
        return {**super().measure(labels, outputs), "sureness": sureness}

    def serving(self, model, tft_output):
        return ToyModule(model, tft_output, list(self.class_names))

class ToyModule(ClassificationModule):
    task = "toy"

def make_trainee(class_names, model, training, input_shape):
    return Toy(class_names, training.label_smoothing)
""",
    "evaluator": """
import pathlib
from components.tasks.classification.evaluator import *

def write_report(evaluation, files, model):
    pathlib.Path(evaluation, "toy.txt").write_text("judged", encoding="utf-8")
""",
    "page": """
from components.tasks.classification.page import *
""",
}
COMMAND = """
import sys
from components.base.task import TASKS
TASKS["toy"] = "toy_task"
from mirante_command import main
sys.exit(main())
"""
RECIPE = """
name: toy
task: toy
data:
  source: digits
  splits: {train: 0.7, eval: 0.1, test: 0.2}
transform: {height_px: 16, width_px: 16, channels: 1}
model: {name: lenet}
training: {epochs: 3, learning_rate: 0.002}
evaluation:
  thresholds: {accuracy: 0.5}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    room = folder / "toy_task"
    room.mkdir()
    for name, text in ROOM.items():
        (room / f"{name}.py").write_text(text, encoding="utf-8")
    # InfraValidator's process loads this file alone, without Mirante.
    answers = Path(classification.__file__).with_name("answers.py")
    (room / "answers.py").write_text(answers.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "toy_command.py").write_text(COMMAND, encoding="utf-8")
    (folder / "toy.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def mirante(folder: Path, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, the JSON of the last line (None without one) and what went to standard error."""
    command = [quick_python(), folder / "toy_command.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1] if done.stdout.strip() else ""
    return done.returncode, json.loads(last) if last[:1] in ("{", "[") else None, done.stderr


def test_it_is_learned_judged_pushed_and_served(folder: Path) -> None:
    root = folder / "root"
    code, result, said = mirante(folder, "run", str(folder / "toy.yaml"), "--root", str(root), "--json")
    assert code == 0, said
    assert {outcome["status"] for outcome in result["components"].values()} == {"completed"}
    assert result["metrics"]["accuracy"] >= 0.5
    assert "eval sureness 0." in said
    (report,) = root.glob("Evaluator/evaluation/*/toy.txt")
    assert report.read_text(encoding="utf-8") == "judged"
    pushed = Path(result["pushed_model"])
    assert (pushed / "assets.extra" / "task.txt").read_text(encoding="utf-8") == "toy\n"
    code, answers, said = mirante(folder, "predict", str(pushed), str(root / "sample.png"), "--json")
    assert code == 0, said
    assert sum(one["score"] for one in answers[0]["predictions"]) == pytest.approx(1.0, abs=1e-3)


def test_its_room_checks_the_recipe(folder: Path) -> None:
    key = "model.name=cifar_resnet"
    code, _, said = mirante(
        folder, "run", str(folder / "toy.yaml"), "--set", key, "--root", str(folder / "no")
    )
    assert code == 2
    assert "model.name: task toy is for lenet, got cifar_resnet; take lenet" in said
