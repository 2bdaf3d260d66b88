"""Recipes: how they are loaded, overridden and checked, and what is said when they are wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from components.base.errors import UsageError
from components.models.config import ModelConfig
from components.trainer.config import TrainingConfig
from components.transform.config import TransformConfig
from pipeline.recipe.load import RECIPES, list_keys, load_recipe, parse_overrides, recipe_names, recipe_path
from pipeline.recipe.recipe import Recipe
from tests.make.weights import write_weights_file

pytestmark = pytest.mark.stack_free

SMALLEST = {"name": "flowers", "evaluation": {"thresholds": {"accuracy": 0.9}}}


def write_recipe(folder: Path, values: Any = SMALLEST, **more: Any) -> str:
    path = folder / "recipe.yaml"
    path.write_text(
        values if isinstance(values, str) else yaml.safe_dump({**values, **more}), encoding="utf-8"
    )
    return str(path)


def refusal(recipe: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_keys_of_overrides() -> None:
    given = parse_overrides(["data={path: x, splits: {test: 0.5}}", "training.epochs=3", "tuner={}"])
    assert given["training.epochs"] == 3
    assert list_keys(given) == ["data.path", "data.splits.test", "training.epochs", "tuner"]
    with pytest.raises(UsageError, match=r"^--set data: expected key\.sub=value"):
        parse_overrides(["data"])


def test_built_in_recipes_are_known() -> None:
    assert recipe_names() == sorted(path.stem for path in RECIPES.iterdir())
    assert {"digits", "folder", "mnist", "cats_vs_dogs"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_built_in_recipe_loads(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    bounds = {"classification": "accuracy", "multilabel": "mean_average_precision", "detection": "map_50"}
    bound = bounds[recipe.task]
    assert recipe.evaluation.thresholds[bound] >= 0.5
    # `mirante recipes` shows the first line.
    assert (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")


def test_the_columns_of_a_list_may_be_set_by_name_or_number() -> None:
    given = ["data.label_column=2", "data.image_column=File", "data.no_header=true", "data.images=photos"]
    data = load_recipe("csv", given, "list.csv").data
    assert (data.source, data.path) == ("csv", os.path.abspath("list.csv"))
    assert (data.label_column, data.image_column, data.no_header) == ("2", "File", True)
    assert data.images == os.path.abspath("photos")


def test_a_recipe_says_what_it_means() -> None:
    recipe = load_recipe("cats_vs_dogs")
    assert recipe.data.split_names == {"validation": "test"}
    assert (recipe.transform.height_px, recipe.transform.normalization) == (288, "minus_one_one")
    assert recipe.model.weights == "imagenet"
    assert recipe.evaluation.thresholds == {"accuracy": 0.95, "loss": 0.2}


def test_what_a_recipe_leaves_out_has_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))
    assert recipe == Recipe(**SMALLEST)
    assert recipe.training.epochs == 10
    assert recipe.data.splits == {"train": 0.8, "eval": 0.1, "test": 0.1}
    assert recipe.model.weights is None


def test_a_recipe_is_frozen_down_to_its_parts(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))
    with pytest.raises(ValidationError, match="frozen"):
        recipe.training.epochs = 3
    with pytest.raises(ValidationError, match="frozen"):
        recipe.training = TrainingConfig()


def test_the_resolved_recipe_loads_again_as_the_same(tmp_path: Path) -> None:
    # `run` keeps it as runs/<run_id>/recipe.yaml.
    recipe = load_recipe("cats_vs_dogs", ["training.epochs=3", "model.alpha=0.5"], str(tmp_path))
    kept = write_recipe(tmp_path, recipe.model_dump(mode="json"))
    assert load_recipe(kept) == recipe


def test_unknown_recipe_names_the_nearest() -> None:
    said = refusal("digit")
    assert said.startswith("no such recipe: 'digit': neither a file nor one of asirra_detection, ")
    assert said.endswith("did you mean 'digits'?")
    assert "did you mean" not in refusal("xyzzy")


def test_a_built_in_name_wins_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("name: other\n")
    assert recipe_path("digits") == RECIPES / "digits.yaml"
    assert recipe_path("./digits") == Path("digits")


def test_an_empty_path_is_not_the_folder_of_the_shell() -> None:
    with pytest.raises(UsageError, match=r"^--data: data.path: expected a path, got an empty text$"):
        load_recipe("mnist", [], data_path="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [", "cannot be read as YAML"),
        ("- a\n- b\n", "expected keys and values at the top, got a list"),
        ("", "expected keys and values at the top, got nothing"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = write_recipe(tmp_path, text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert expected in said


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"name: \xff\xfe\n")
    assert "expected UTF-8, got something else at byte 6" in refusal(str(tmp_path / "recipe.yaml"))


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, training={"epoch": 3})
    said = refusal(path)
    assert said.startswith(f"{path}: unknown key 'training.epoch': did you mean 'epochs'? Known here: ")
    assert "label_smoothing, label_threshold, learning_rate" in said  # the other keys of the same section


def test_an_unknown_section_names_the_nearest(tmp_path: Path) -> None:
    said = refusal(write_recipe(tmp_path, trainig={"epochs": 3}))
    assert (
        "unknown key 'trainig': did you mean 'training'? Known here: about, beam, bulk_inference, data, "
        in said
    )


def test_an_unknown_key_like_no_other_lists_what_there_is(tmp_path: Path) -> None:
    said = refusal(write_recipe(tmp_path), "push.zzz=1")
    assert said.endswith("unknown key 'push.zzz'. Known here: also, destination")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=0", "training.epochs: expected 1 or more, got 0"),
        ("training.epochs=many", "training.epochs: expected a whole number"),
        ("training.epochs=null", "training.epochs: expected a whole number, got null"),
        ("training=5", "training: expected a mapping, got 5"),
        ("data.retired_classes=cat", "data.retired_classes: expected a list, got 'cat'"),
        ("use_cache=3", "use_cache: expected true or false, got 3"),
        ("model.name=true", "model.name: expected a text, got true"),
        (
            "task=detect",
            "task: expected one of classification, multilabel, detection, got 'detect'; did you mean "
            "'detection'?",
        ),
        ("training.epochs=2.5", "training.epochs: expected a whole number"),
        ("training.seed=-1", "training.seed: expected 0 or more, got -1"),
        ("training.label_smoothing=1", "training.label_smoothing: expected less than 1, got 1"),
        (
            "training.class_weights=balance",
            "training.class_weights: expected none, balanced, or a mapping of class names to numbers",
        ),
        ("training.class_weights={cat: 0}", "numbers above 0, got 'cat': 0"),
        ("training.class_weights={cat: yes}", "numbers above 0, got 'cat': 'yes'"),
        (
            "training={class_weights: balanced, sampling: balanced}",
            "training.class_weights: expected none with sampling: balanced, which makes up for the classes'",
        ),
        (
            "transform.height_px=20",
            "transform.height_px: mobilenet_v2 needs images of at least 32 x 32 px, got 20 x 224; raise "
            "transform.height_px and transform.width_px, or take another model.name",
        ),
        ("training.warmup_epochs=10", "training.warmup_epochs: must be less than epochs, got 10 and 10"),
        (
            "model.name=mobilenet_v3",
            "model.name: there is no 'mobilenet_v3': did you mean 'mobilenet_v2'? Known here: lenet, ci",
        ),
        ("model.name=my/networks.py:build", "as package.module:function"),
        ("model.options={depth: 3}", "model.options: these are for a network of your own"),
        ("model.batch_norm=true", "model.batch_norm: it is for lenet alone, got name: "),
        ("model.weights=w.h5", "transform.normalization: the pretrained weights of mobilenet_v2 expect"),
        ("transform.channels=4", "transform.channels: expected 1 or 3, got 4"),
        ("data.splits={train: 2}", "data.splits.train: expected at most 1, got 2"),
        ("data.splits={training: 1}", "data.splits.training: expected one of train, eval, test, got 'tr"),
        (
            "data.split_names={validation: tests}",
            "data.split_names.validation: expected one of train, eval, test, none, got 'tests'; did you mean",
        ),
        (
            "evaluation.thresholds.accuracy=high",
            "evaluation.thresholds.accuracy: expected a number",
        ),
        ("name=Flowers 2", "name: expected a text that matches"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(tmp_path: Path, override: str, expected: str) -> None:
    said = refusal(write_recipe(tmp_path), override)
    assert expected in said


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert refusal(write_recipe(tmp_path, {"name": "flowers"})).endswith("evaluation: required, but not set")


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    said = refusal(write_recipe(tmp_path), "training.epochs=0", "modell.name=lenet", "transform.width_px=-3")
    lines = said.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("  - --set transform.width_px: ")
    assert lines[2].startswith("  - --set training.epochs: ")
    assert lines[3].startswith("  - --set modell.name: unknown key 'modell': did you mean 'model'?")


# Scripts depend on these keys: a renamed one breaks them.
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.source=idx", "idx"),
        ("data.split_names={validation: test}", {"validation": "test"}),
        ("data.split_names.dev=test", {"dev": "test"}),
        ("model.name=vgg16", "vgg16"),
        ("model.weights=null", None),
        ("model.alpha=0.35", 0.35),
        ("training.epochs=3", 3),
        ("training.seed=7", 7),
        ("evaluation.thresholds.accuracy=0.5", 0.5),
        ("evaluation.thresholds.loss=1", 1.0),
        ("evaluation.thresholds.auc=0.99", 0.99),
        ("evaluation.thresholds.top_5_accuracy=0.75", 0.75),
    ],
)
def test_stable_keys_are_set(tmp_path: Path, override: str, expected: Any) -> None:
    recipe = load_recipe(write_recipe(tmp_path, model={"name": "mobilenet_v2"}), [override])
    current: Any = recipe
    for part in override.partition("=")[0].split("."):
        if isinstance(expected, dict) and current == expected:
            break
        current = current[part] if isinstance(current, dict) else getattr(current, part)
    assert current == expected


def test_a_weights_file_is_set_on_its_own(tmp_path: Path) -> None:
    # The recipe names MobileNetV2 and its normalisation; the width is read from the file.
    weights = tmp_path / "mobilenet_v2_0.5_no_top.h5"
    with pytest.raises(UsageError, match=r"model\.weights: no such file"):
        load_recipe("cats_vs_dogs", [f"model.weights={weights}"])
    weights.touch()
    with pytest.raises(UsageError, match=r"^--set model\.weights: .* cannot be read as an HDF5 file"):
        load_recipe("cats_vs_dogs", [f"model.weights={weights}"])
    write_weights_file(weights, {"block_16_project": 160})
    recipe = load_recipe("cats_vs_dogs", [f"model.weights={weights}"])
    assert recipe.model.weights == str(weights)
    assert recipe.model.alpha is None


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("training.learning_rate=1e-3", "learning_rate", 0.001),  # a string to YAML 1.1, a number to us
        ("training.learning_rate=0.5", "learning_rate", 0.5),
        ("training.patience_epochs=null", "patience_epochs", None),
        ("training.patience_epochs=~", "patience_epochs", None),
        ("training.patience_epochs=", "patience_epochs", None),
        ("training.optimizer='sgd'", "optimizer", "sgd"),
        (" training.epochs =3", "epochs", 3),
    ],
)
def test_an_override_is_read_as_yaml(tmp_path: Path, override: str, key: str, expected: Any) -> None:
    path = write_recipe(tmp_path, training={"patience_epochs": 4})
    assert getattr(load_recipe(path, [override]).training, key) == expected


def test_an_override_may_hold_a_whole_section_and_equals_signs(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, training={"epochs": 7})
    assert load_recipe(path, ["training={seed: 4}"]).training == TrainingConfig(seed=4)
    assert load_recipe(path, ["data.path=/a=b"]).data.path == "/a=b"


def test_later_overrides_win_and_add_to_earlier_ones(tmp_path: Path) -> None:
    overrides = ["training.epochs=3", "training.seed=1", "training.epochs=4", "evaluation.thresholds.loss=2"]
    recipe = load_recipe(write_recipe(tmp_path), overrides)
    assert (recipe.training.epochs, recipe.training.seed) == (4, 1)
    assert recipe.evaluation.thresholds == {"accuracy": 0.9, "loss": 2.0}


def test_an_override_of_an_empty_section_fills_it(tmp_path: Path) -> None:
    assert load_recipe(write_recipe(tmp_path, training=None), ["training.epochs=3"]).training.epochs == 3


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs", "--set training.epochs: expected key.sub=value, e.g. --set training.epochs=3"),
        ("=3", "expected key.sub=value"),
        ("training.epochs=[3", "the value cannot be read as YAML"),
        ("name.first=x", "--set name.first=x: name is a single value and has no keys below it"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in refusal(write_recipe(tmp_path), override)


@pytest.mark.parametrize("evaluation", [{}, {"thresholds": {}}, {"max_regression": {"accuracy": 0.1}}])
def test_a_recipe_needs_a_threshold(tmp_path: Path, evaluation: dict[str, Any]) -> None:
    said = refusal(write_recipe(tmp_path, {"name": "flowers", "evaluation": evaluation}))
    assert "evaluation.thresholds: at least one is needed, e.g. {accuracy: 0.5}" in said


@pytest.mark.parametrize(
    ("model", "wanted", "given"),
    [("mobilenet_v2", "minus_one_one", "zero_one"), ("vgg16", "imagenet_caffe", "imagenet")],
)
def test_pretrained_weights_need_their_normalisation(
    tmp_path: Path, model: str, wanted: str, given: str
) -> None:
    path = write_recipe(
        tmp_path, model={"name": model, "weights": "imagenet"}, transform={"normalization": given}
    )
    assert f"the pretrained weights of {model} expect {wanted}, got {given}" in refusal(path)
    fitting = load_recipe(path, [f"transform.normalization={wanted}"])
    assert fitting.transform.normalization == wanted
    # Random weights take anything.
    assert load_recipe(path, ["model.weights=null"]).transform.normalization == given


@pytest.mark.parametrize("name", ["lenet", "cifar_resnet"])
def test_weights_are_for_models_that_have_them(name: str) -> None:
    with pytest.raises(
        ValidationError, match=f"weights: {name} starts from random weights; .* ssd_mobilenet_v2, vgg16"
    ):
        ModelConfig(name=name, weights="imagenet")


def test_only_mobilenet_has_a_width() -> None:
    with pytest.raises(
        ValidationError, match="alpha: it is for mobilenet_v2 and ssd_mobilenet_v2 alone, got name: vgg16"
    ):
        ModelConfig(name="vgg16", alpha=0.5)
    assert ModelConfig(name="mobilenet_v2", alpha=0.5).alpha == 0.5


def test_only_lenet_has_options_of_its_own() -> None:
    for key in ("batch_norm", "residual"):
        with pytest.raises(
            ValidationError, match=f"{key}: it is for lenet alone, got name: cifar_resnet; leave it out"
        ):
            ModelConfig(name="cifar_resnet", **{key: True})
        assert getattr(ModelConfig(name="lenet", **{key: True}), key)


@pytest.mark.parametrize("name", ["networks:build", "my_package.networks:build", "a.b_2.c:_build3"])
def test_a_network_of_ones_own_is_named_by_its_function(name: str) -> None:
    config = ModelConfig(name=name, weights="w.h5", options={"widths": [8, 16], "deep": None})
    assert config.builder == tuple(name.split(":"))
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "name", ["networks", "networks:", ":build", "a..b:build", "2a:build", "a:b:c", "a b:c"]
)
def test_what_is_no_name_of_a_network_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"name: there is no .* named by its function, as package"):
        ModelConfig(name=name)


def test_options_are_what_json_can_hold() -> None:
    with pytest.raises(ValidationError, match="options"):
        ModelConfig(name="networks:build", options={"when": object()})


def test_a_module_that_is_nowhere_is_refused_before_the_run(tmp_path: Path) -> None:
    said = refusal(write_recipe(tmp_path, model={"name": "no_such_package.networks:build"}))
    assert (
        "model.name: no_such_package.networks:build: there is no module no_such_package.networks in" in said
    )
    assert "set PYTHONPATH to the folder that no_such_package is in. Searched: " in said


def test_efficientnet_takes_raw_pixels_with_any_weights(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, model={"name": "efficientnet_b0"}, transform={"normalization": "zero_one"})
    assert "transform.normalization: efficientnet_b0 takes pixels of 0 to 255" in refusal(path)
    for weights in ("null", "imagenet"):
        recipe = load_recipe(path, ["transform.normalization=none", f"model.weights={weights}"])
        assert recipe.transform.normalization == "none"


@pytest.mark.parametrize("normalization", ["imagenet", "imagenet_caffe"])
def test_colour_normalisations_need_colour(normalization: str) -> None:
    with pytest.raises(ValidationError, match=f"{normalization} needs channels: 3, got channels: 1"):
        TransformConfig(channels=1, normalization=normalization)
    assert TransformConfig(channels=1, normalization="standardize").channels == 1


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "w").mkdir()
    write_weights_file(folder / "conf" / "w" / "net.h5", {"block_16_project": 320})
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = write_recipe(
        folder / "conf",
        data={"path": "../photos"},
        model={"weights": "w/net.h5"},
        transform={"normalization": "minus_one_one"},
        push={"destination": "~/models"},
    )
    recipe = load_recipe(os.path.relpath(path))
    # From the recipe's folder, wherever the command runs.
    assert recipe.data.path == str(folder / "photos")
    assert recipe.model.weights == str(folder / "conf/w/net.h5")
    assert recipe.push.destination == str(tmp_path / "home/models")


def test_what_is_no_local_path_stays(tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path,
        model={"weights": "imagenet"},
        transform={"normalization": "minus_one_one"},
        push={"destination": "gs://bucket/models"},
    )
    recipe = load_recipe(path)
    assert recipe.model.weights == "imagenet"
    assert recipe.push.destination == "gs://bucket/models"


def test_data_path_replaces_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path, data={"path": "/elsewhere", "source": "csv"})
    recipe = load_recipe(path, ["data.path=/also/elsewhere"], "photos: 1=2")
    assert recipe.data.path == str(tmp_path / "photos: 1=2")  # a path, not YAML
    assert recipe.data.source == "csv"


def test_loading_a_recipe_imports_no_tensorflow() -> None:
    code = (
        "import sys; from pipeline.recipe.load import load_recipe; load_recipe('digits'); "
        "print([m for m in ('tensorflow', 'keras', 'tfx', 'apache_beam', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epochs=yes", "training.epochs: expected a whole number"),
        ("evaluation.max_regression.accuracy=-0.1", "evaluation.max_regression.accuracy"),
        ("evaluation.max_regression.accuracy=2", "evaluation.max_regression.accuracy: expected a share from"),
        ("evaluation.thresholds.accuracy=90", "evaluation.thresholds.accuracy: expected a share from 0 to 1"),
        (
            "evaluation.thresholds.auc=-0.1",
            "evaluation.thresholds.auc: expected a share from 0 to 1, got -0.1",
        ),
        ("training.fine_tune_epochs=2", "nothing to fine-tune without model.weights"),
        ("data=photos", "data: expected"),
    ],
)
def test_values_that_would_be_misread_are_refused(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        load_recipe("digits", [override], data_path="photos")


def test_metrics_are_those_of_the_task(tmp_path: Path) -> None:
    evaluation = {"thresholds": {"map_50": 0.5}, "max_regression": {"map": 0.02}}
    model, transform = {"name": "ssd_mobilenet_v2"}, {"normalization": "minus_one_one"}
    parts = {"evaluation": evaluation, "model": model, "transform": transform}
    detection = write_recipe(tmp_path, {"name": "boxes", "task": "detection", **parts})
    assert load_recipe(detection).evaluation.thresholds == {"map_50": 0.5}
    assert refusal(detection, "evaluation.thresholds.accuracy=0.9").endswith(
        "evaluation.thresholds: accuracy is for task: classification, and this recipe's task is detection. "
        "Known here: map, map_50, map_75"
    )
    assert "evaluation.max_regression: loss is for task: classification" in refusal(
        detection, "evaluation.max_regression.loss=0.1"
    )
    assert "there is no 'map_57': did you mean 'map_75'?" in refusal(
        detection, "evaluation.thresholds.map_57=0.1"
    )
    assert "evaluation.thresholds: at least one is needed, e.g. {map: 0.5}" in refusal(
        detection, "evaluation.thresholds={}"
    )
    assert "evaluation.slice_by_class: an image of task: detection is of no one class" in refusal(
        detection, "evaluation.slice_by_class=true"
    )
    classification = write_recipe(tmp_path)
    assert refusal(classification, "evaluation.thresholds.map_50=0.5").endswith(
        "evaluation.thresholds: map_50 is for task: detection, and this recipe's task is classification. "
        "Known here: accuracy, loss, auc, top_5_accuracy, balanced_accuracy, min_class_precision, "
        "min_class_recall, min_class_f1, macro_precision, macro_recall, macro_f1, weighted_precision, "
        "weighted_recall, weighted_f1"
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "evaluation.thresholds.acuracy=0.9",
            "evaluation.thresholds: there is no 'acuracy': did you mean 'accuracy'?",
        ),
        (
            "data.source=fodler",
            "data.source: expected one of cifar, coco, csv, cvat, digits, folder, idx",
        ),
    ],
)
def test_names_that_nothing_has_are_refused_with_the_nearest(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        load_recipe("digits", [override])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"training": {"learning_rate": float("nan")}}, "expected a finite number, got .nan"),
        ({"evaluation": {"thresholds": {"accuracy": float("inf")}}}, "a finite number, got .inf"),
        ({"training": {"epochs": 10**12}}, "training.epochs: expected less than 2147483648"),
        (
            {"training": {"learning_rate": 1e300}},
            "training.learning_rate: expected at most",
        ),
        ({"training": {"learning_rate": True}}, "training.learning_rate: expected a number, got true"),
        ({"training": {"learning_rate": "1_000"}}, "training.learning_rate: expected a number, got 1_000"),
        (
            {"transform": {"height_px": 100_000}},
            "transform.height_px: expected at most",
        ),
        ({"data": {"shards": 10**6}}, "data.shards: expected at most 99999"),
        ({"data": {"path": "a\x01b"}}, "the character 0x1 is not allowed"),
        ({"kubeflow": {"defaults": {"cpu": 0}}}, "kubeflow.defaults.cpu: expected cores as 2, 0.5 or 500m"),
        ({"kubeflow": {"defaults": {"cpu": "-1"}}}, "kubeflow.defaults.cpu: expected cores"),
        ({"kubeflow": {"defaults": {"cpu": "0m"}}}, "kubeflow.defaults.cpu: expected cores"),
        ({"kubeflow": {"defaults": {"memory": 0}}}, "kubeflow.defaults.memory: expected bytes as 8Gi"),
        ({"kubeflow": {"defaults": {"memory": "8"}}}, "at least 16Mi and at most 1Pi, got 8"),
        (
            {"kubeflow": {"tasks": {"Trainer": {"memory": "9999Ei"}}}},
            "Trainer.memory: expected",
        ),
    ],
)
def test_numbers_that_make_no_sense_are_refused_with_key_or_line(
    tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    assert said in refusal(write_recipe(tmp_path, {**SMALLEST, **values}))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "evaluation.thresholds.accuracy=.nan",
            "--set evaluation.thresholds.accuracy=.nan: the value",
        ),
        ("evaluation.thresholds.accuracy=.inf", "expected a finite number, got .inf"),
        ("training.epochs=1:30", "--set training.epochs: expected a whole number, got '1:30'"),
        ("data.span=2026-02-30", "--set data.span: expected a whole number, got '2026-02-30'"),
        ("training={epochs: many}", "--set training.epochs: expected a whole number"),
        ("training.warmup_epochs=10", "--set training.warmup_epochs: must be less than epochs"),
        ("training.epochs=" + "9" * 5000, "expected a number of at most 25 digits, got 5,000"),
        ("name=\udcff", "the character 0xdcff is not allowed"),
        ("model.options={when: 2026-01-01}", "--set model.options: these are for a network of your own"),
    ],
)
def test_a_wrong_value_of_set_names_it(tmp_path: Path, override: str, said: str) -> None:
    assert said in refusal(write_recipe(tmp_path), override)


def test_an_option_that_another_key_does_not_fit_is_named(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, transform={"normalization": "zero_one"})
    assert refusal(path, "model.weights=imagenet").startswith(
        f"{path} with --set model.weights: transform.normalization: the pretrained weights of mobilenet_v2"
    )


def test_a_path_of_data_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--data: data\.path: expected characters that can be written"):
        load_recipe(write_recipe(tmp_path), [], "photos\udcff")


def test_tilde_and_variables_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("BELT", "belt 7")
    path = write_recipe(tmp_path / "conf", data={"path": "${BELT}/photos"}, push={"destination": "~/${BELT}"})
    recipe = load_recipe(path)
    assert recipe.data.path == str(tmp_path / "conf" / "belt 7" / "photos")
    assert recipe.push.destination == "/home/me/belt 7"
    # What the command line gives counts from where the command runs.
    given = load_recipe(path, ["push.destination=out"], "photos")
    assert (given.data.path, given.push.destination) == (str(tmp_path / "photos"), str(tmp_path / "out"))
    section = load_recipe(path, ["push={destination: out}"])
    assert section.push.destination == str(tmp_path / "out")
    assert refusal(path, "push.destination=${NO_SUCH}/x").startswith(
        "--set push.destination: the environment variable NO_SUCH of ${NO_SUCH}/x is not set: set it"
    )
    monkeypatch.setenv("MY_TOKEN", "hunter2-4711")
    assert "${MY_TOKEN} is a secret" in refusal(path, "push.destination=${MY_TOKEN}/x")
    monkeypatch.setenv("BELT", "belt")
    for_vertex = load_recipe(path, ["push.destination=gs://b/x"], elsewhere=True, data_here=True)
    assert for_vertex.data.path == str(tmp_path / "conf" / "belt" / "photos")
    with pytest.raises(UsageError, match=r"push\.destination: ~ and \$\{\.\.\.\} are this machine's"):
        load_recipe(path, ["data.path=/x"], elsewhere=True)
