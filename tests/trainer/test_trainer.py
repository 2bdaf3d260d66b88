"""The Trainer as TFX calls it: that a seed gives one result, and that what is served is what was trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models.config import ModelConfig
from components.prediction.predict import predict
from components.schema_gen.schema_file import write_schema
from components.trainer import run_fn
from components.trainer.config import TrainingConfig
from pipeline.data.examples import Examples
from pipeline.recipe.load import load_recipe
from pipeline.target import Target
from pipeline.training import training_config
from tests.make.graphs import Tiny
from tests.make.images import encode_image, make_noise
from tests.make.records import CLASS_NAMES

pytest_plugins = ["tests.fixtures"]


@dataclasses.dataclass(frozen=True)
class Trained:
    serving: Path
    run: Path

    def weights(self) -> list[np.ndarray]:
        return keras.models.load_model(self.run / "model.keras").get_weights()


@pytest.fixture(scope="module")
def train(
    tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable[[int], Tiny]
) -> Callable[..., Trained]:
    """Runs `run_fn` with a seed on the tiny split."""

    def run(seed: int, precision: str = "float32", **more: Any) -> Trained:
        split = make_tiny(3)
        folder = tmp_path_factory.mktemp("trained")
        arguments: Any = SimpleNamespace(
            train_files=[split.pattern],
            eval_files=[split.pattern],
            transform_output=split.tft_output.transform_savedmodel_dir.rpartition("/")[0],
            schema_path=str(write_schema(CLASS_NAMES, folder / "schema")),
            serving_model_dir=str(folder / "serving"),
            model_run_dir=str(folder / "run"),
            base_model=None,
            hyperparameters=None,
            custom_config={
                "task": "classification",
                "transform": split.config.model_dump(),
                "model": ModelConfig(name="lenet", dropout=0.3).model_dump(),
                "training": TrainingConfig(
                    epochs=1, global_batch_size=5, seed=seed, precision=precision
                ).model_dump(),
                "checkpoints": str(folder / "checkpoints"),
                **more,
            },
        )
        run_fn(arguments)
        return Trained(folder / "serving", folder / "run")

    return run


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(train: Callable[..., Trained]) -> None:
    first = train(3)
    # Whatever random numbers were drawn in between.
    keras.utils.set_random_seed(99)
    again, other = train(3).weights(), train(4).weights()
    assert len(first.weights()) == 10  # two convolutions and three dense layers, kernel and bias
    assert all(np.array_equal(a, b) for a, b in zip(first.weights(), again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(again, other, strict=True))
    # What is served is what was trained.
    served = tf.saved_model.load(str(first.serving))
    images = tf.constant([encode_image(make_noise(index, 20, 20)) for index in range(4)])
    logits = keras.models.load_model(first.run / "model.keras")(served.transform(images))
    probabilities = served.signatures["serving_default"](image_bytes=images)["probabilities"]
    np.testing.assert_allclose(probabilities, tf.nn.softmax(logits), rtol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # the images differ
    # What the network saw first, and the curves.
    assert (first.run / "training" / "inputs.png").read_bytes().startswith(b"\x89PNG")
    assert list((first.run / "training").glob("events.out.tfevents.*"))


@pytest.fixture(scope="module")
def trained(train: Callable[..., Trained]) -> Trained:
    """Training in 16 bits, on images of which 12 bits were kept."""
    return train(3, "mixed_bfloat16", bit_depth="12")


@pytest.mark.both_stacks
@pytest.mark.slow
def test_a_model_is_asked_with_the_bits_that_it_was_trained_on(trained: Trained, tmp_path: Path) -> None:
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 10
    files = {"deep.png": encode_image(values), "shallow.png": encode_image((values >> 4).astype(np.uint8))}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    deep, shallow = predict(str(trained.serving), [str(tmp_path / name) for name in files])
    assert deep["predictions"] == shallow["predictions"]
    assert deep["converted"] == "expected 8 bits per channel for a model with data.bit_depth 12, got 16"
    assert "warning" not in deep
    assert "converted" not in shallow


def test_the_trainer_is_told_the_bits_if_they_are_not_the_usual_ones(tmp_path: Path) -> None:
    recipe, here = load_recipe("mnist"), str(tmp_path)
    usual = Examples(tmp_path, {}, CLASS_NAMES)
    told = training_config(recipe, dataclasses.replace(usual, bit_depth="12"), here, Target())
    assert told == {**training_config(recipe, usual, here, Target()), "bit_depth": "12"}


@pytest.mark.both_stacks
@pytest.mark.slow
def test_what_is_trained_in_16_bits_is_served_in_32(trained: Trained) -> None:
    model = keras.models.load_model(trained.run / "model.keras")
    assert model.dtype_policy.name == "float32"
    assert {layer.compute_dtype for layer in model.get_layer("backbone").layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"  # as it was before
