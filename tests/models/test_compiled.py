"""Every built-in network as XLA compiles it: the whole train step in one trace, with the same losses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import efficientnet
from keras.src.applications.efficientnet import DEFAULT_BLOCKS_ARGS

from components.models import build_model, networks
from components.models.config import ModelConfig
from components.tasks.classification.trainer import Classification
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import ArrayExamples
from components.trainer.step import build_step
from components.trainer.strategy import Place

BATCH, CLASSES = 8, 3
LAYERS = [
    {"type": "conv", "filters": 8},
    "max_pool",
    {"type": "residual", "layers": ["batch_norm", {"type": "conv", "filters": 16, "stride": 2}]},
    "flatten",
    {"type": "dense", "units": 16},
    "dropout",
]
# Small images, to be quick; the other EfficientNets are B0, wider and deeper.
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "lenet": ({"dropout": 0.3}, (28, 28, 1)),
    "lenet, all options": ({"batch_norm": True, "residual": True}, (28, 28, 1)),
    "layers": ({"layers": LAYERS}, (16, 16, 1)),
    "cifar_resnet": ({}, (32, 32, 3)),
    "mobilenet_v2": ({"alpha": 0.35, "dropout": 0.2}, (64, 64, 3)),
    "vgg16": ({}, (32, 32, 3)),
    "efficientnet_b0": ({"dropout": 0.2}, (32, 32, 3)),
}
QUICK = ("lenet",)


def test_no_network_is_left_out() -> None:
    # Those that find boxes are in tests/tasks/test_detection_ssd.py.
    # Those of Keras are in tests/models/test_applications.py; lists of layers are alike.
    own = [
        name
        for name in networks.networks_for("classification")
        if not name.startswith("keras/") and networks.NETWORKS[name].layers is None
    ]
    families = {name.partition("_b")[0] for name in own}
    assert {name.partition(",")[0].partition("_b")[0] for name in NETWORKS} == families


def network(name: str, *, dropout: bool) -> keras.Model:
    """A network; without dropout all random draws are left out."""
    options, shape = NETWORKS[name]
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(name=name.partition(",")[0], **options), shape, CLASSES)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout) and not dropout:
            layer.rate = 0.0
    return model


def train(model: keras.Model, *, jit_compile: bool, steps: int = 2) -> tuple[list[float], Any]:
    """Losses of the first steps, and the step."""
    # Small: a network of random weights has large gradients, and each step would multiply a rounding.
    config = TrainingConfig(optimizer="sgd", learning_rate=1e-6, jit_compile=jit_compile)
    optimizer = keras.optimizers.SGD(config.learning_rate, momentum=0.9)
    optimizer.build(model.trainable_variables)
    counter = tf.Variable(0, dtype=tf.int64)
    scale = 255.0 if model.name.startswith("efficientnet") else 1.0
    random = np.random.default_rng(0)
    batches = [
        (
            random.uniform(0, scale, (BATCH, *model.input_shape[1:])).astype(np.float32),
            random.integers(0, CLASSES, BATCH),
        )
        for _ in range(steps)
    ]
    examples, place = ArrayExamples("train", *batches[0]), Place(tf.distribute.get_strategy())
    step = build_step(model, Classification("abc"), examples, config, place, optimizer, counter)
    losses = [float(step(tuple(map(tf.constant, batch)))["loss"]) for batch in batches]
    assert int(counter) == steps
    assert int(optimizer.iterations) == steps
    return losses, step


def is_compiled(step: Any) -> bool:
    """Return whether a function in the traced graph has to be compiled by XLA."""
    (concrete,) = step._list_all_concrete_functions()
    library = concrete.graph.as_graph_def().library.function
    return any(function.attr["_XlaMustCompile"].b for function in library)


PARAMETERS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_train_step_compiles_and_gives_the_same_losses(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of the blocks: each kind once, and one of them repeated, which adds to its input.
    kinds = [{**kind, "repeats": 1 + (number == 1)} for number, kind in enumerate(DEFAULT_BLOCKS_ARGS)]
    monkeypatch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", kinds)
    # From one seed XLA draws other numbers than TensorFlow does, hence without dropout.
    plain, plain_step = train(network(name, dropout=False), jit_compile=False)
    compiled, step = train(network(name, dropout=False), jit_compile=True)
    assert not is_compiled(plain_step)
    assert is_compiled(step)
    # XLA refuses shapes that it cannot infer; a second trace would mean that they change.
    assert step.experimental_get_tracing_count() == 1
    assert np.isfinite(compiled).all()
    assert compiled[0] != compiled[1]
    np.testing.assert_allclose(compiled, plain, rtol=1e-3)


@pytest.mark.slow
def test_the_train_step_compiles_with_dropout() -> None:
    losses, step = train(network("lenet", dropout=True), jit_compile=True)
    assert is_compiled(step)
    assert step.experimental_get_tracing_count() == 1
    assert np.isfinite(losses).all()
    assert losses != train(network("lenet", dropout=False), jit_compile=False)[0]
    assert losses == train(network("lenet", dropout=True), jit_compile=True)[0]


@pytest.mark.slow
def test_the_train_step_compiles_where_whole_blocks_are_left_out() -> None:
    # As EfficientNet does it, whose own step takes XLA too long to compile it once more.
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    block = keras.layers.Conv2D(3, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Add()([inputs, keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(block)])
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(x)))
    losses, step = train(model, jit_compile=True)
    assert is_compiled(step)
    assert step.experimental_get_tracing_count() == 1
    assert np.isfinite(losses).all()
