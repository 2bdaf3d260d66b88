"""Recipes and values of --set that are damaged by chance: read, or refused, and nothing else."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from components.base.errors import UsageError
from pipeline.recipe.load import RECIPES, load_recipe
from pipeline.recipe.yaml_text import read_yaml, write_yaml

pytestmark = pytest.mark.stack_free

ROUNDS = 60
ODD = (
    *(".nan", ".inf", "1e999", "010", "0b1", "1:30", "off", "~", "2026-02-30", "1_000", "9" * 5000, "-0.0"),
    *(
        "!!int x",
        "!!binary ====",
        "!!python/name:os.system",
        '"\\0"',
        '"\\ud800"',
        "\x00",
        "\ufffe",
        "\u2028",
    ),
    *("&a", "*a", "<<: *a", "{", "}", "[", "- ", "? ", ": ", ",", "|", ">", "%", "'", '"', "\n", "\t", "---"),
    *("[" * 200, "{a: " * 200, "{a: b, a: c}", "${HOME}", "${", "~root", "s3://a:b@c/d", "http://[::1"),
    *("{SPAN}", "{SPAN:0}", "a" * 5000, "é", "😀"),
)
KEYS = (
    *(
        "name",
        "task",
        "data",
        "data.path",
        "data.span",
        "data.splits.train",
        "data.split_names",
        "model.name",
    ),
    *("model.weights", "model.options", "training", "training.epochs", "training.learning_rate", "tuner"),
    *("training.warm_start.from", "training.tracking.mlflow.tracking_uri", "training.augmentation.crop.area"),
    *("evaluation.thresholds", "evaluation.thresholds.accuracy", "hyperparameters", "push.destination"),
    *("kubeflow.defaults.cpu", "kubeflow.defaults.memory", "kubeflow.defaults.env", "kubeflow.volumes"),
    *("vertex", "kubeflow.together", "tuner.fields", "nothing", "a..b", ""),
)


def damaged(text: str, rnd: random.Random) -> str:
    for _ in range(rnd.randint(1, 4)):
        start = rnd.randrange(len(text) + 1)
        end = min(len(text), start + rnd.choice([0, 0, 1, 5, 12]))
        piece = rnd.choice([*ODD, "", chr(rnd.randrange(0x3000)), chr(rnd.randrange(0xD700, 0xE100))])
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_anything_is_read_or_refused(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rnd = random.Random(seed)
    texts = [path.read_text(encoding="utf-8") for path in sorted(RECIPES.glob("*.yaml"))]
    file = tmp_path / "mine.yaml"
    for _ in range(ROUNDS):
        file.write_bytes(damaged(rnd.choice(texts), rnd).encode("utf-8", "surrogatepass"))
        recipe = rnd.choice([str(file), "digits"])
        sets = [f"{rnd.choice(KEYS)}={damaged('[1, a]', rnd)}" for _ in range(rnd.randrange(3))]
        data = rnd.choice([None, None, rnd.choice(ODD)])
        began = time.process_time()
        try:
            values = load_recipe(recipe, sets, data, elsewhere=rnd.random() < 0.5).model_dump(mode="json")
        except UsageError:
            values = None
        if values is not None:
            json.dumps(values, allow_nan=False)
            assert read_yaml(write_yaml(values)) == values
        assert time.process_time() - began < 5, (sets, file.read_bytes())
