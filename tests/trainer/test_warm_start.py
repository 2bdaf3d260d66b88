"""Warm start: weights of every kind of file, by name and bit for bit; what does not fit is refused."""

from __future__ import annotations

import functools
import json
import logging
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError, UsageError
from components.models import BACKBONE, HEAD, build_model
from components.models.config import DetectionConfig, ModelConfig
from components.schema_gen.schema_file import write_schema
from components.tasks.classification.trainer import Classification
from components.trainer import run_fn
from components.trainer.checkpoints import Checkpoints, by_path
from components.trainer.config import TrainingConfig
from components.trainer.job import Job
from components.trainer.run import Run
from components.trainer.strategy import Place
from components.trainer.tracking.trackers import Trackers
from components.trainer.warm_start.config import WarmStartConfig
from components.trainer.warm_start.source import digest, locate, open_source
from components.trainer.warm_start.start import REPORT, begin, warm_start
from pipeline.recipe.load import load_recipe
from tests.make import commands
from tests.make.graphs import Exported, Tiny
from tests.make.pipelines import make_node_runner
from tests.make.quick import quick_python
from tests.make.records import CLASS_NAMES
from tests.make.trainings import make_striped

pytestmark = pytest.mark.long

pytest_plugins = ["tests.fixtures"]

SHAPE = (16, 16, 1)


def config(kind: str = "full", source: str = "anything") -> WarmStartConfig:
    return WarmStartConfig.model_validate({"from": source, "fine_tune_checkpoint_type": kind})


def network(
    name: str = "lenet", seed: int = 0, classes: int = 3, shape: tuple[int, int, int] = SHAPE
) -> keras.Model:
    """As the Trainer builds it, with a state of batch norms as if it had been trained."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = build_model(ModelConfig(name=name, dropout=0.3), shape, classes)
    for variable in model.non_trainable_variables:
        if "moving" in variable.path:
            variable.assign(np.random.default_rng(seed).uniform(0.5, 1.5, variable.shape))
    return model


@functools.cache
def shared(name: str, seed: int = 0, classes: int = 3) -> keras.Model:
    """The same, for tests that leave it as it is."""
    return network(name, seed, classes)


def values(part: Any) -> list[bytes]:
    return [weight.numpy().tobytes() for weight in part.weights]


def checkpoint(model: keras.Model, folder: Path) -> Path:
    """A checkpoint of a training, optimiser and all."""
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    Checkpoints(str(folder)).saver(model, optimizer, tf.Variable(7, dtype=tf.int64), {}).save({"stage": "x"})
    return folder


def keras_file(model: keras.Model, folder: Path) -> Path:
    folder.mkdir()
    model.save(folder / "model.keras")
    return folder / "model.keras"


def weights_file(model: keras.Model, folder: Path) -> Path:
    folder.mkdir()
    model.save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def legacy_file(model: keras.Model, folder: Path) -> Path:
    folder.mkdir()
    model.save(folder / "model.h5")
    return folder / "model.h5"


WRITERS = [checkpoint, keras_file, weights_file, legacy_file]
# The first one in the fast tests.
ONE_WRITER = [checkpoint, *(pytest.param(write, marks=pytest.mark.slow) for write in WRITERS[1:])]
Writer = Callable[[keras.Model, Path], Path]


# --- what is read


@pytest.mark.parametrize("name", ["lenet", pytest.param("cifar_resnet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("write", WRITERS)
def test_a_file_gives_back_the_network_bit_for_bit(tmp_path: Path, write: Writer, name: str) -> None:
    trained = shared(name, seed=1)
    path = write(trained, tmp_path / "there")
    model = network(name, seed=2)
    states = [variable.numpy() for variable in model.variables if "seed" in variable.path]
    assert values(model) != values(trained)
    comparison = warm_start(model, open_source(str(path), model), config())
    assert values(model) == values(trained)
    assert len(comparison.loaded) == len(model.weights)
    assert (comparison.misfits, comparison.missing) == ({}, [])
    # What is drawn by chance is the seed's affair.
    after = [variable.numpy() for variable in model.variables if "seed" in variable.path]
    assert states
    assert all(np.array_equal(a, b) for a, b in zip(states, after, strict=True))


@pytest.mark.both_stacks
@pytest.mark.slow
def test_a_pushed_model_gives_back_the_network_bit_for_bit(
    tmp_path: Path, export: Callable[[int], Exported]
) -> None:
    pushed = tmp_path / "serving"
    shutil.copytree(export(1).folder, pushed / "1700000123")
    shutil.copytree(export(3).folder, pushed / "999")  # three channels: would not fit
    (pushed / ".1700000124.incomplete").mkdir()
    for path in (pushed, pushed / "1700000123"):
        model = network(seed=5)
        source = open_source(str(path), model)
        assert source.class_names == CLASS_NAMES
        warm_start(model, source, config())
        assert values(model) == values(export(1).model)


@pytest.mark.slow
def test_weights_are_in_a_pushed_model_once_and_by_name(export: Callable[[int], Exported]) -> None:
    exported = export(1)
    prefix = locate(str(exported.folder))
    keys = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    named = {key for key in keys if key.startswith("weights/")}
    assert len(named) == len(exported.model.variables)
    assert "weights/conv2d.Skernel/.ATTRIBUTES/VARIABLE_VALUE" in named
    sizes = sum(np.prod(keys[key], dtype=int) for key in keys)
    # The rest is what the Transform graph holds.
    assert sizes < 1.01 * sum(np.prod(v.shape, dtype=int) for v in exported.model.variables)
    loaded = tf.saved_model.load(str(exported.folder))
    for path, variable in by_path(exported.model.variables).items():
        np.testing.assert_array_equal(loaded.weights[path], variable)


def test_a_checkpoint_is_found_by_its_prefix_its_files_and_its_folder(tmp_path: Path) -> None:
    folder = checkpoint(network(), tmp_path / "training")
    prefix = str(folder / "ckpt-1")
    for path in (folder, prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001"):
        assert locate(str(path)) == prefix


@pytest.mark.slow
def test_the_latest_checkpoint_of_a_folder_is_taken(tmp_path: Path) -> None:
    checkpoint(network(seed=1), tmp_path / "training")
    latest = network(seed=2)
    checkpoint(latest, tmp_path / "training")
    model = network(seed=3)
    warm_start(model, open_source(str(tmp_path / "training"), model), config())
    assert values(model) == values(latest)


def test_a_file_of_keras_2_is_read_by_its_names(tmp_path: Path) -> None:
    # Names end in :0 there, and the kernel of a depthwise convolution is called depthwise_kernel.
    model = network("lenet")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv2d"]
        for path, variable in by_path(model.variables).items():
            name = path.replace("conv2d/kernel", "conv2d/depthwise_kernel")
            file.create_dataset(f"layer/{name}:0", data=variable.numpy() + 1)
    before = [weight.numpy() for weight in model.weights]
    comparison = warm_start(model, open_source(str(tmp_path / "old.h5"), model), config())
    assert comparison.loaded["conv2d/kernel"] == "conv2d/depthwise_kernel"
    for weight, former in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), former + 1)


@pytest.mark.parametrize("write", ONE_WRITER)
def test_other_weights_have_another_digest(tmp_path: Path, write: Writer) -> None:
    model = network()
    path = write(model, tmp_path / "one")
    first = digest(str(path))
    assert digest(str(path)) == first
    shutil.rmtree(tmp_path / "one")
    # The last bit of one of thousands.
    kernel = model.get_layer(HEAD).get_layer("logits").kernel
    changed = kernel.numpy()
    changed[3, 2] = np.nextafter(changed[3, 2], np.float32(9))
    kernel.assign(changed)
    assert digest(str(write(model, tmp_path / "one"))) != first


# --- what is taken


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (checkpoint, "lenet"),
        *(pytest.param(write, "lenet", marks=pytest.mark.slow) for write in WRITERS if write != checkpoint),
        pytest.param(checkpoint, "cifar_resnet", marks=pytest.mark.slow),
    ],
)
def test_classification_takes_the_backbone_and_starts_the_head_anew(
    tmp_path: Path, write: Writer, name: str
) -> None:
    trained = shared(name, seed=1, classes=7)
    path = write(trained, tmp_path / "there")
    model, untouched = network(name, seed=2, classes=4), network(name, seed=2, classes=4)
    comparison = warm_start(model, open_source(str(path), model), config("classification"))
    assert values(model.get_layer(BACKBONE)) == values(trained.get_layer(BACKBONE))
    assert values(model.get_layer(HEAD)) == values(untouched.get_layer(HEAD))
    assert comparison.unused["head/logits/kernel"] == "outside of the backbone"
    assert not any("head" in path for path in comparison.loaded)


def test_detection_takes_the_backbone_of_a_detector(tmp_path: Path) -> None:
    # A network with the same backbone, and what a detector has above it.
    trained = network(seed=1)
    backbone = trained.get_layer(BACKBONE)
    inputs = keras.Input(SHAPE)
    boxes = keras.layers.Dense(8, name="boxes")(backbone(inputs))
    classes = keras.layers.Dense(9, name="classes")(backbone(inputs))
    path = checkpoint(keras.Model(inputs, [boxes, classes]), tmp_path / "detector")
    model = network(seed=2)
    head = values(model.get_layer(HEAD))
    comparison = warm_start(model, open_source(str(path), model), config("detection"))
    assert values(model.get_layer(BACKBONE)) == values(backbone)
    assert values(model.get_layer(HEAD)) == head
    assert comparison.unused["boxes/kernel"] == "the network has no such variable"
    assert comparison.missing == []


@pytest.mark.slow
def test_most_of_a_backbone_is_taken_and_the_rest_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Gray to colour: the first convolution does not fit.
    trained = network("cifar_resnet", seed=1)
    path = checkpoint(trained, tmp_path / "there")
    model = network("cifar_resnet", seed=2, shape=(16, 16, 3))
    with caplog.at_level(logging.INFO, "mirante.trainer"):
        comparison = warm_start(model, open_source(str(path), model), config("classification"))
    assert comparison.misfits == {
        "conv2d/kernel": "the checkpoint has (3, 3, 1, 32), the network (3, 3, 3, 32)"
    }
    assert "36 variables loaded, 1 of another shape, 0 missing in the checkpoint, 3 not used" in caplog.text
    assert "leaves as they are: other shape  conv2d/kernel: the checkpoint has (3, 3, 1, 32)" in caplog.text
    assert values(model.get_layer(BACKBONE))[1:] == values(trained.get_layer(BACKBONE))[1:]


# --- what is refused


def refused(model: keras.Model, path: Path, kind: str) -> str:
    """The message; nothing is changed by what is refused."""
    before = values(model)
    with pytest.raises(MiranteError) as caught:
        warm_start(model, open_source(str(path), model), config(kind))
    assert values(model) == before
    return str(caught.value)


def test_full_needs_everything_to_fit(tmp_path: Path) -> None:
    path = checkpoint(network(seed=1, classes=7), tmp_path / "there")
    said = refused(network(seed=2), path, "full")
    assert "8 variables loaded, 2 of another shape, 0 missing in the checkpoint, 1 not used" in said
    assert "other shape  head/logits/bias: the checkpoint has (7,), the network (3,)" in said
    assert "for other classes take classification" in said


def test_full_needs_everything_to_be_there(tmp_path: Path) -> None:
    tf.train.Checkpoint(
        weights={path: v for path, v in by_path(network(seed=1).variables).items() if "logits" not in path}
    ).write(str(tmp_path / "half"))
    said = refused(network(seed=2), tmp_path / "half", "full")
    assert "missing      head/logits/kernel" in said


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (checkpoint, "full"),
        pytest.param(keras_file, "classification", marks=pytest.mark.slow),
        pytest.param(weights_file, "classification", marks=pytest.mark.slow),
        (legacy_file, "detection"),
    ],
)
def test_another_networks_weights_are_refused_with_names_of_both(
    tmp_path: Path, write: Writer, kind: str
) -> None:
    path = write(shared("cifar_resnet"), tmp_path / "there")
    said = refused(network("lenet"), path, kind)
    assert "does not fit lenet: less than half of the " in said
    # Those without a counterpart first, in either order: both networks have a conv2d/kernel.
    assert re.search(r"The (network|backbone) has conv2d(_1)?/(kernel|bias), ", said)
    assert "the checkpoint has " in said
    assert "batch_normalization" in said


def test_another_width_is_refused(tmp_path: Path) -> None:
    path = checkpoint(
        keras.Sequential(
            [keras.Input(SHAPE), keras.layers.Conv2D(8, 5), keras.layers.Conv2D(16, 5)], name=BACKBONE
        ),
        tmp_path / "there",
    )
    said = refused(network(), path, "classification")
    assert "less than half of the backbone" in said


def test_names_of_another_making_are_refused(tmp_path: Path) -> None:
    model = network()
    tf.train.Checkpoint(model=model).write(str(tmp_path / "keras"))
    said = refused(model, tmp_path / "keras", "full")
    assert "/.ATTRIBUTES/VARIABLE_VALUE" in said
    assert "0 variables loaded" in said


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda path: None, UsageError, "there is nothing at "),
        (lambda path: path.mkdir(), UsageError, "it has nothing. Give a pushed model"),
        (lambda path: (path / "12").mkdir(parents=True), UsageError, "there are no weights in "),
        (lambda path: path.write_text("no weights"), UsageError, "is a file of no known kind"),
    ],
)
def test_what_holds_no_weights_is_refused(
    tmp_path: Path, make: Callable[[Path], None], error: type[MiranteError], said: str
) -> None:
    path = tmp_path / "there"
    make(path)
    with pytest.raises(error) as caught:
        open_source(str(path), network())
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("write", WRITERS)
def test_a_cut_file_is_refused(tmp_path: Path, write: Writer) -> None:
    model = network()
    path = write(model, tmp_path / "there")
    file = path if path.is_file() else path / "ckpt-1.index"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(MiranteError, match=r"cannot be read: .*Copy it again"):
        open_source(str(path), model)


# --- in a training


def started(
    folder: Path,
    source: Path | None,
    kind: str = "full",
    base_model: str | None = None,
    channels: int = 1,
) -> tuple[keras.Model, bool]:
    model = network(seed=9, shape=(16, 16, channels))
    training = TrainingConfig(warm_start=config(kind, str(source or "latest_blessed")))
    run = Run(
        Classification(("bird", "cat", "fish")),
        make_striped(1, 0),
        make_striped(1, 1),
        training,
        Place(tf.distribute.get_strategy()),
        Checkpoints(str(folder / "checkpoints")),
        Trackers(),
    )
    return model, begin(model, run, base_model, str(folder / "run"), DetectionConfig())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "pretrained"), [("full", False), ("classification", True), ("detection", True)]
)
def test_a_backbone_alone_counts_as_pretrained(tmp_path: Path, kind: str, pretrained: bool) -> None:
    path = checkpoint(network(seed=1), tmp_path / "there")
    assert started(tmp_path, path, kind)[1] is pretrained


@pytest.mark.slow
def test_the_table_is_kept(tmp_path: Path) -> None:
    path = checkpoint(network(seed=1), tmp_path / "there")
    started(tmp_path, path, "classification")
    lines = (tmp_path / "run" / REPORT).read_text().splitlines()
    assert lines[:4] == [
        f"source       {path}/ckpt-1",
        "taken as     classification",
        "result       4 variables loaded, 0 of another shape, 0 missing in the checkpoint, 7 not used",
        "",
    ]
    assert "loaded       conv2d/kernel" in lines
    assert "not used     head/logits/kernel: outside of the backbone" in lines
    assert len(lines) == 4 + 11


@pytest.mark.slow
def test_a_training_that_goes_on_does_not_load_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoint(network(seed=1), tmp_path / "there")
    started(tmp_path, path, "classification")
    checkpoint(network(seed=2), tmp_path / "checkpoints")  # the training got so far
    shutil.rmtree(tmp_path / "run")
    with caplog.at_level(logging.INFO, "mirante.trainer"):
        model, pretrained = started(tmp_path, path, "classification")
    assert pretrained  # the stages are the same
    assert values(model) == values(network(seed=9))
    assert "not again, the training resumes from its own checkpoint" in caplog.text
    assert (tmp_path / "run" / REPORT).is_file()


def test_without_a_blessed_model_the_training_starts_as_it_would(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mirante.trainer"):
        model, pretrained = started(tmp_path, None, "classification")
    assert not pretrained  # random weights are not frozen
    assert values(model) == values(network(seed=9))
    assert "no model is blessed yet" in caplog.text


def test_a_head_of_other_classes_is_told(
    tmp_path: Path, export: Callable[[int], Exported], caplog: pytest.LogCaptureFixture
) -> None:
    exported = export(3)
    model, _ = started(tmp_path, None, base_model=str(exported.folder), channels=3)
    assert values(model) == values(exported.model)
    assert "trained for other classes, or in another order: bird, cat, dog" in caplog.text


@pytest.fixture(scope="module")
def job(
    tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable[[int], Tiny]
) -> Callable[..., SimpleNamespace]:
    """TFX's arguments for a training of one slow epoch."""
    split = make_tiny(3)
    common = tmp_path_factory.mktemp("trained")

    def arguments(name: str, base_model: str | None = None, **training: Any) -> SimpleNamespace:
        whole = TrainingConfig(epochs=1, global_batch_size=6, learning_rate=1e-9, **training)
        return SimpleNamespace(
            train_files=[split.pattern],
            eval_files=[split.pattern],
            transform_output=split.tft_output.transform_savedmodel_dir.rpartition("/")[0],
            schema_path=str(write_schema(CLASS_NAMES, common / "schema")),
            serving_model_dir=str(common / name / "serving"),
            model_run_dir=str(common / name / "run"),
            base_model=base_model,
            hyperparameters=None,
            custom_config={
                "task": "classification",
                "transform": split.config.model_dump(),
                "model": ModelConfig(name="lenet").model_dump(),
                "training": whole.model_dump(),
                "checkpoints": str(common / "checkpoints"),
            },
        )

    return arguments


@pytest.mark.slow
def test_a_training_starts_from_what_the_pipeline_gives_it(
    job: Callable[..., SimpleNamespace], export: Callable[[int], Exported]
) -> None:
    exported = export(3)
    keras.layers.Conv2D(3, 3)  # names must not depend on what was made before
    given = job("full", str(exported.folder), warm_start=config(source="latest_blessed"))
    run_fn(given)
    served = tf.saved_model.load(given.serving_model_dir).weights
    for path, variable in by_path(exported.model.weights).items():
        np.testing.assert_allclose(served[path], variable, atol=1e-7)
    assert "10 variables loaded" in (Path(given.model_run_dir) / REPORT).read_text()


@pytest.mark.slow
def test_a_head_is_trained_on_a_backbone_that_stays(
    job: Callable[..., SimpleNamespace], export: Callable[[int], Exported]
) -> None:
    exported = export(3)
    given = job("head", warm_start=config("classification", str(exported.folder)))
    run_fn(given)
    served = tf.saved_model.load(given.serving_model_dir).weights
    for path, variable in by_path(exported.model.weights).items():
        assert np.array_equal(served[path], variable) == (not path.startswith(f"{HEAD}/")), path
    assert [path.name for path in Path(given.model_run_dir).iterdir() if path.is_dir()] == ["head"]


def test_a_trainings_name_knows_what_it_started_from(
    job: Callable[..., SimpleNamespace], export: Callable[[int], Exported], tmp_path: Path
) -> None:
    path = weights_file(network(seed=1), tmp_path / "there")
    cold = Job.of(job("a"))
    warm = Job.of(job("a", warm_start=config(source=str(path))))
    blessed = Job.of(job("a", str(export(3).folder), warm_start=config(source="latest_blessed")))
    first = Job.of(job("a", warm_start=config(source="latest_blessed")))
    names = [one.name for one in (cold, warm, blessed, first)]
    assert len(set(names)) == 4
    assert warm.name == names[1]
    shutil.rmtree(tmp_path / "there")
    weights_file(network(seed=2), tmp_path / "there")
    assert warm.name not in names


# --- in a recipe


def test_it_is_set_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_recipe("digits").training.warm_start is None
    recipe = load_recipe("digits", ["training.warm_start.from=latest_blessed"])
    assert recipe.training.warm_start == config(source="latest_blessed")
    assert recipe.model_dump(mode="json")["training"]["warm_start"] == {
        "from": "latest_blessed",
        "fine_tune_checkpoint_type": "full",
    }
    # From the folder where the command runs.
    (tmp_path / "model.keras").touch()
    monkeypatch.chdir(tmp_path)
    overrides = ["training.warm_start={from: model.keras, fine_tune_checkpoint_type: detection}"]
    taken = load_recipe("digits", overrides).training.warm_start
    assert taken == config("detection", str(tmp_path / "model.keras"))
    far = load_recipe("digits", ["training.warm_start.from=gs://bucket/model"]).training.warm_start
    assert far is not None
    assert far.source == "gs://bucket/model"
    off = ["training.warm_start.from=latest_blessed", "training.warm_start=null"]
    assert load_recipe("digits", off).training.warm_start is None


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.warm_start.from=absent.keras", "training.warm_start.from: there is nothing at /"),
        ("training.warm_start.from=", "training.warm_start.from: expected a text"),
        ("training.warm_start={}", "training.warm_start.from: required, but not set"),
        (
            "training.warm_start.form=x",
            "unknown key 'training.warm_start.form': did you mean 'from'? Known here: "
            "fine_tune_checkpoint_type, from",
        ),
        (
            "training.warm_start={from: latest_blessed, fine_tune_checkpoint_type: head}",
            "training.warm_start.fine_tune_checkpoint_type: expected 'classification', 'detection'",
        ),
        (
            "training={fine_tune_epochs: 1, warm_start: {from: latest_blessed}}",
            "there is nothing to fine-tune without model.weights, or a training.warm_start that takes",
        ),
    ],
)
def test_a_wrong_setting_is_refused(override: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("digits", [override])
    assert said in str(caught.value)


def test_what_takes_the_backbone_may_be_fine_tuned() -> None:
    section = "{from: latest_blessed, fine_tune_checkpoint_type: classification}"
    recipe = load_recipe(
        "digits", [f"training.warm_start={section}", "training.fine_tune_epochs=2", "training.epochs=1"]
    )
    assert recipe.training.fine_tune_epochs == 2


@pytest.mark.slow
def test_a_checkpoints_prefix_is_known_to_be_there(tmp_path: Path) -> None:
    checkpoint(network(), tmp_path / "training")
    prefix = str(tmp_path / "training" / "ckpt-1")
    taken = load_recipe("digits", [f"training.warm_start.from={prefix}"]).training.warm_start
    assert taken is not None
    assert taken.source == prefix


# --- in the pipeline


@pytest.mark.slow
def test_the_nodes_are_those_that_are_told(tmp_path: Path) -> None:
    from pipeline.data.examples import Examples
    from pipeline.steps import node_ids

    examples = Examples(tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, CLASS_NAMES)
    schema = write_schema(CLASS_NAMES, tmp_path / "schema")
    weights_file(network(), tmp_path / "there")
    for override in ("null", f"{{from: {tmp_path}/there/model.weights.h5}}", "{from: latest_blessed}"):
        recipe = load_recipe("digits", [f"training.warm_start={override}"])
        runner = make_node_runner(recipe, examples, schema, tmp_path / "root")
        assert tuple(runner.node_ids) == node_ids(recipe.optional_steps)
        assert ("BaseModelResolver" in runner.node_ids) == ("latest_blessed" in override)
    assert node_ids(load_recipe("digits").optional_steps) == node_ids()


def test_the_folder_that_is_pushed_to_is_no_start(tmp_path: Path) -> None:
    from pipeline.data.examples import Examples
    from pipeline.definition import create_pipeline

    examples = Examples(tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, CLASS_NAMES)
    (tmp_path / "root" / "serving").mkdir(parents=True)
    recipe = load_recipe("digits", [f"training.warm_start.from={tmp_path}/root/serving/"])
    with pytest.raises(UsageError, match="is where this recipe pushes to: each run would find another"):
        create_pipeline(recipe, examples, str(tmp_path / "schema.pbtxt"), str(tmp_path / "root"))


def mirante(*arguments: str) -> tuple[int, Any, str]:
    done = commands.mirante(*arguments, "--json", runs_nodes=True)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_a_run_starts_from_the_model_that_was_blessed_last(tmp_path: Path) -> None:
    root = tmp_path / "root"
    common = ["run", "digits", "--root", str(root)]
    for override in (
        "training.epochs=1",
        "training.learning_rate=0.001",
        "training.warm_start.from=latest_blessed",
        "evaluation={thresholds: {accuracy: 0.05}}",
    ):
        common += ["--set", override]

    def executed(result: Any) -> list[str]:
        return [name for name, done in result["components"].items() if done["status"] == "completed"]

    def report() -> str:
        (latest,) = sorted(root.glob("Trainer/model_run/*"), key=lambda path: int(path.name))[-1:]
        path = latest / REPORT
        return path.read_text() if path.exists() else ""

    code, first, said = mirante(*common)
    assert code == 0, said
    assert "no model is blessed yet" in said
    assert report() == ""
    # Its result is the latest blessed model now, and the same run is still the same.
    code, again, said = mirante(*common)
    assert code == 0, said
    assert executed(again) == []
    assert again["pushed_model"] == first["pushed_model"]
    # Another training starts from it.
    code, second, said = mirante(*common, "--set", "training.seed=1")
    assert code == 0, said
    assert executed(second)[:2] == ["BaseModelResolver", "Trainer"]
    assert "warm start (full) from " in commands.unwrap(said)
    models = sorted((root / "Trainer" / "model").iterdir(), key=lambda path: int(path.name))
    assert report().startswith(f"source       {models[0]}/Format-Serving/variables/variables\n")
    assert second["metrics"]["accuracy"] > first["metrics"]["accuracy"]
    assert second["pushed_model"] != first["pushed_model"]
    code, third, said = mirante(*common, "--set", "training.seed=1")
    assert code == 0, said
    assert executed(third) == []


MIRRORED = """
import json, logging, sys
from types import SimpleNamespace
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
logging.basicConfig(level=logging.INFO, force=True)
from components.trainer import run_fn
run_fn(SimpleNamespace(**json.loads(sys.argv[1])))
"""


@pytest.mark.slow
def test_every_replica_starts_from_the_weights(
    job: Callable[..., SimpleNamespace], export: Callable[[int], Exported]
) -> None:
    exported = export(3)
    given = job(
        "mirrored", str(exported.folder), strategy="mirrored", warm_start=config(source="latest_blessed")
    )
    done = subprocess.run(
        [quick_python(), "-c", MIRRORED, json.dumps(vars(given))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "strategy: mirrored, 2 CPUs" in done.stderr
    assert "10 variables loaded" in done.stderr
    served = tf.saved_model.load(given.serving_model_dir).weights
    for path, variable in by_path(exported.model.weights).items():
        np.testing.assert_allclose(served[path], variable, atol=1e-7)
