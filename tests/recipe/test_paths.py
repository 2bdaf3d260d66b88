"""Which keys of a recipe are paths, found by what the fields say of themselves."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.recipe.load import load_recipe
from pipeline.recipe.paths import find_files, find_paths, list_files, make_paths_absolute

pytestmark = pytest.mark.stack_free

EVERY_PATH: dict[str, Any] = {
    "data": {"source": "folder", "path": "photos", "label_map": "map.pbtxt"},
    "model": {"weights": "weights.h5"},
    "training": {
        "warm_start": {"from": "model.keras"},
        "tracking": {"mlflow": {"tracking_uri": "sqlite:///mlflow.db"}},
    },
    "hyperparameters": "best.yaml",
    "push": {"destination": "models"},
}


def test_every_key_of_a_path_is_found() -> None:
    assert [path.key for path in find_paths(EVERY_PATH)] == [
        "data.path",
        "data.label_map",
        "model.weights",
        "training.warm_start.from",
        "training.tracking.mlflow.tracking_uri",
        "hyperparameters",
        "push.destination",
    ]


def test_files_are_all_but_databases_and_what_is_read_at_once() -> None:
    assert [(path.key, path.mark.makes_model) for path in find_files(EVERY_PATH)] == [
        ("data.path", False),
        ("data.label_map", False),
        ("model.weights", True),
        ("training.warm_start.from", True),
        ("push.destination", False),
    ]


def test_words_in_place_of_a_path_are_none() -> None:
    values = {
        "data": {"source": "tfds", "path": "cats_vs_dogs"},
        "model": {"weights": "imagenet"},
        "training": {"warm_start": {"from": "latest_blessed"}},
        "push": {"destination": None},
    }
    assert list(find_paths(values)) == []


def test_what_has_not_the_form_of_a_recipe_is_passed_over() -> None:
    assert list(find_paths({"data": ["path"], "model": {"weights": 3}, "training": None})) == []


def test_paths_are_made_absolute_in_their_place() -> None:
    values = {
        "data": {"path": "photos"},
        "training": {"tracking": {"mlflow": {"tracking_uri": "sqlite:///mlflow.db"}}},
        "push": {"destination": "gs://bucket/models"},
    }
    make_paths_absolute(values, "/recipes")
    assert values == {
        "data": {"path": "/recipes/photos"},
        "training": {"tracking": {"mlflow": {"tracking_uri": "sqlite:////recipes/mlflow.db"}}},
        "push": {"destination": "gs://bucket/models"},
    }


def test_the_files_of_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("digits", [f"push.destination={tmp_path}"])
    assert list_files(recipe) == {"push.destination": str(tmp_path)}
