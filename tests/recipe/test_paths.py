"""Which keys of a recipe are paths, found by what the fields say of themselves."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from components.base.errors import UsageError
from components.base.settings import IsPath
from pipeline.recipe.load import load_recipe
from pipeline.recipe.paths import (
    _settings_in,
    check_paths_elsewhere,
    find_files,
    find_paths,
    list_files,
    make_paths_absolute,
)
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.yaml_text import write_yaml
from tests.make.commands import mirante

pytestmark = pytest.mark.stack_free

EVERY_PATH: dict[str, Any] = {
    "data": {"source": "folder", "path": "photos", "images": "images", "label_map": "map.pbtxt"},
    "model": {"weights": "weights.h5"},
    "training": {
        "warm_start": {"from": "model.keras"},
        "tracking": {"mlflow": {"tracking_uri": "sqlite:///mlflow.db"}},
    },
    "hyperparameters": "best.yaml",
    "push": {"destination": "models"},
    "bulk_inference": {"input": "photos"},
    "beam": {"prism_location": "prism", "setup_file": "worker.py", "extra_package": "mirante.whl"},
}


def test_every_key_of_a_path_is_found() -> None:
    assert [path.key for path in find_paths(EVERY_PATH)] == [
        "data.path",
        "data.images",
        "data.label_map",
        "model.weights",
        "training.warm_start.from",
        "training.tracking.mlflow.tracking_uri",
        "hyperparameters",
        "push.destination",
        "bulk_inference.input",
        "beam.prism_location",
        "beam.setup_file",
        "beam.extra_package",
    ]


def test_no_field_of_a_path_is_missing_here() -> None:
    def marked(settings: type[BaseModel]) -> int:
        return sum(
            any(isinstance(mark, IsPath) for mark in field.metadata)
            + sum(marked(inner) for inner in _settings_in(field.annotation))
            for field in settings.model_fields.values()
        )

    assert marked(Recipe) == len(list(find_paths(EVERY_PATH)))


def test_files_are_all_but_databases_and_what_is_read_at_once() -> None:
    assert [(path.key, path.mark.makes_model) for path in find_files(EVERY_PATH)] == [
        ("data.path", False),
        ("data.images", False),
        ("data.label_map", False),
        ("model.weights", True),
        ("training.warm_start.from", True),
        ("push.destination", False),
        ("bulk_inference.input", False),
        ("beam.prism_location", False),
        ("beam.setup_file", False),
        ("beam.extra_package", False),
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


# --- from where a path counts, key by key


KEYS = [path.key for path in find_paths(EVERY_PATH)]
# What a run writes need not be there before.
READ = [path.key for path in find_paths(EVERY_PATH) if not path.mark.is_written]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The recipe's folder, and the one of the shell."""
    for name in ("conf", "shell"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    return tmp_path / "conf", tmp_path / "shell"


def value_of(values: dict[str, Any], key: str) -> str:
    return next(path for path in find_paths(values) if path.key == key).value


def put(key: str, written: str) -> dict[str, Any]:
    """EVERY_PATH with another path in a key; a database has its prefix before it."""
    values = copy.deepcopy(EVERY_PATH)
    path = next(path for path in find_paths(values) if path.key == key)
    path.section[path.name] = f"{path.mark.prefix}{written}"
    return values


def alone(key: str, written: str) -> dict[str, Any]:
    """A recipe with this path and nothing else."""
    values: Any = written
    for name in reversed(key.split(".")):
        values = {name: values}
    return dict(values)


@pytest.mark.parametrize("key", KEYS)
def test_where_a_path_counts_from(
    key: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, shell = folders
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("BELT", "belt 7")
    for written, from_recipe, from_shell in (
        ("a/b", f"{conf}/a/b", f"{shell}/a/b"),
        ("../b", f"{conf.parent}/b", f"{conf.parent}/b"),
        ("~/b", "/home/me/b", "/home/me/b"),
        ("${BELT}/b", f"{conf}/belt 7/b", f"{shell}/belt 7/b"),
        ("/b", "/b", "/b"),
        ("gs://bucket/b", "gs://bucket/b", "gs://bucket/b"),
    ):
        for given, expected in (((), from_recipe), ((key,), from_shell), ((key.split(".")[0],), from_shell)):
            values = put(key, written)
            make_paths_absolute(values, str(conf), given)
            assert value_of(values, key).removeprefix("sqlite:///") == expected


@pytest.mark.parametrize("key", KEYS)
def test_variables_that_are_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    monkeypatch.setenv("MY_TOKEN", "hunter2-4711")
    monkeypatch.setenv("BELT", "belt")
    for written, said in (
        ("${NO_SUCH}/b", "the environment variable NO_SUCH of ${NO_SUCH}/b is not set"),
        ("${MY_TOKEN}/b", "${MY_TOKEN} is a secret"),
        ("$BELT/b", "expected ${BELT} for a variable of the environment, got $BELT/b"),
        ("", "expected a path, got an empty text"),
    ):
        if written or key != "training.warm_start.from":  # an empty one is refused as a text
            with pytest.raises(ValueError, match=":") as e:
                make_paths_absolute(put(key, written), "/conf")
            assert str(e.value).startswith(f"{key}: ")
            assert said in str(e.value).replace("sqlite:///", "")
            assert "hunter2" not in str(e.value)
    # A dollar before anything else is a part of the name.
    values = put(key, "/my$photos/$1")
    make_paths_absolute(values, "/conf")
    assert value_of(values, key).endswith("/my$photos/$1")


@pytest.mark.parametrize("key", READ)
def test_a_path_that_is_in_the_other_folder_only(key: str, folders: tuple[Path, Path]) -> None:
    conf, shell = folders
    (shell / "here").touch()
    (conf / "there").touch()
    option = "--data here" if key == "data.path" else f"--set {key}=here"
    with pytest.raises(ValueError, match=":") as e:
        make_paths_absolute(put(key, "here"), str(conf))
    assert str(e.value) == (
        f"{key}: expected here in the recipe's folder, {conf}, got one in the current folder, {shell}; write "
        f"{shell}/here, or give {option}"
    )
    with pytest.raises(ValueError, match=":") as e:
        make_paths_absolute(put(key, "there"), str(conf), (key,))
    assert str(e.value) == (
        f"{key}: expected there in the current folder, {shell}, got one in the recipe's folder, {conf}; give "
        "../conf/there"
    )
    # Where both have one, or none, there is nothing to tell.
    (conf / "here").touch()
    for written in ("here", "nowhere"):
        values = put(key, written)
        make_paths_absolute(values, str(conf))
        assert value_of(values, key) == f"{conf}/{written}"


def test_what_a_run_writes_may_be_in_both_folders(folders: tuple[Path, Path]) -> None:
    conf, shell = folders
    (shell / "models").mkdir()
    values = put("push.destination", "models")
    make_paths_absolute(values, str(conf))
    assert value_of(values, "push.destination") == f"{conf}/models"


def test_the_message_names_the_recipe(folders: tuple[Path, Path]) -> None:
    conf, shell = folders
    recipe = conf / "belt.yaml"
    recipe.write_text(
        write_yaml(
            {
                "name": "belt",
                "data": {"source": "folder", "path": "photos"},
                "evaluation": {"thresholds": {"accuracy": 0.5}},
            }
        )
    )
    (shell / "photos").mkdir()
    with pytest.raises(UsageError, match=r"belt\.yaml: data\.path: expected photos in the recipe's folder"):
        load_recipe(str(recipe))
    assert load_recipe(str(recipe), [], "photos").data.path == f"{shell}/photos"


@pytest.mark.parametrize("key", KEYS)
def test_the_paths_of_a_cluster_are_not_this_machines(key: str, folders: tuple[Path, Path]) -> None:
    conf, shell = folders
    (shell / "here").touch()
    values = put(key, "here")
    # What is read while compiling is here; all else stays as it is written, whatever is here.
    make_paths_absolute(put(key, "elsewhere"), str(conf), (), only=())
    if key == "hyperparameters":
        with pytest.raises(ValueError, match="expected here in the recipe's folder"):
            make_paths_absolute(values, str(conf), (), only=())
        return
    make_paths_absolute(values, str(conf), (), only=())
    assert value_of(values, key).removeprefix("sqlite:///") == "here"
    prefix = "sqlite:///" if key.endswith("tracking_uri") else ""
    for written in ("~/b", "/data/${HOME}"):
        with pytest.raises(ValueError, match=rf"^{key}: ~ and "):
            check_paths_elsewhere(alone(key, f"{prefix}{written}"))


def test_a_database_of_a_cluster_is_no_file_of_a_pod() -> None:
    key = "training.tracking.mlflow.tracking_uri"
    with pytest.raises(
        ValueError, match=rf"{key}: expected a whole path, which all tasks see, got sqlite:///m"
    ):
        check_paths_elsewhere(alone(key, "sqlite:///mlflow.db"))
    check_paths_elsewhere(alone(key, "sqlite:////data/mlflow.db"))


def test_the_root_has_tilde_and_variables_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = mirante("run", "digits", "--root", "${NO_SUCH}/belt", cwd=tmp_path)
    assert done.returncode == 2
    assert "--root: the environment variable NO_SUCH of ${NO_SUCH}/belt is not set" in done.stderr
    assert os.listdir(tmp_path) == []
