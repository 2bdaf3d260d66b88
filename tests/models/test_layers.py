"""Networks as lists of layers: shapes, refusals, and that Keras builds what the arithmetic says."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from components.base.errors import UsageError
from components.models import BACKBONE, HEAD, build_model
from components.models.config import ModelConfig, check_input, layers_of
from components.models.layers.shapes import find_shapes
from components.models.networks import NETWORKS
from pipeline.recipe.load import resolve

CONV: dict[str, Any] = {"type": "conv", "filters": 8}
ALL: list[Any] = [
    {**CONV, "size": 5, "padding": "valid", "activation": "tanh"},
    "batch_norm",
    {"type": "activation", "activation": "gelu"},
    {"type": "max_pool", "size": 3, "stride": 2},
    {"type": "residual", "layers": [CONV, {**CONV, "activation": "linear", "bias": False}]},
    {"type": "residual", "layers": ["batch_norm", {**CONV, "filters": 12, "stride": 2}]},
    {"type": "average_pool"},
    "flatten",
    {"type": "dense", "units": 10},
    {"type": "residual", "layers": [{"type": "dense", "units": 10}]},
    {"type": "dropout", "rate": 0.3},
]


def build(layers: list[Any], shape: tuple[int, int, int] = (29, 30, 3), **options: Any) -> keras.Model:
    keras.backend.clear_session(free_memory=False)
    return build_model(ModelConfig(layers=layers, **options), shape, 4)


def test_keras_builds_the_shapes_of_the_arithmetic() -> None:
    shapes = find_shapes(layers_of(ModelConfig(layers=ALL)), (29, 30, 3))
    by_hand = [(25, 26, 8)] * 3 + [(12, 12, 8)] * 2 + [(6, 6, 12), (3, 3, 12), (108,)] + [(10,)] * 3
    assert shapes == by_hand
    model = build(ALL, dropout=0.2)
    assert model.name == "layers"
    backbone, head = model.get_layer(BACKBONE), model.get_layer(HEAD)
    assert (backbone.output_shape, head.output_shape) == ((None, 108), (None, 4))
    maps = [layer.output.shape[1:] for layer in backbone.layers]
    assert [shape for shape in by_hand[:8] if shape not in maps] == []
    rates = [layer.rate for layer in head.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.3, 0.2]
    assert head.get_layer("logits").dtype == "float32"


def test_a_residual_adds_what_went_into_it() -> None:
    model = build([{"type": "residual", "layers": [CONV]}, "flatten"], (4, 4, 8))
    backbone = model.get_layer(BACKBONE)
    (convolution,) = (layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D))
    convolution.set_weights([np.zeros_like(value) for value in convolution.get_weights()])
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype(np.float32)
    np.testing.assert_array_equal(backbone(images), images.reshape(2, -1))


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        # 832 + 51,264 in the convolutions, 3136 x 1024 + 1024 in the dense layer, and 10 classes.
        ("mnist_cnn", (28, 28, 1), 832 + 51_264 + 3_212_288 + 10_250),
        # As the tutorial's summary counts.
        ("cifar_cnn", (32, 32, 3), 122_570),
    ],
)
def test_the_built_in_lists_have_the_parameters_of_their_source(
    name: str, shape: tuple[int, int, int], parameters: int
) -> None:
    model = build_model(ModelConfig(name=name), shape, 10)
    assert model.count_params() == parameters
    least = NETWORKS[name].smallest_px
    find_shapes(layers_of(ModelConfig(name=name)), (least, least, 1))
    with pytest.raises(ValueError, match="needs a map of at least"):
        find_shapes(layers_of(ModelConfig(name=name)), (least - 1, least, 1))


def recipe(model: Any) -> dict[str, Any]:
    size = {"height_px": 28, "width_px": 28}
    return {"name": "x", "transform": size, "model": model, "evaluation": {"thresholds": {"accuracy": 0.5}}}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"layers": []}, "model.layers: expected one layer or more, got []"),
        ({"name": "layers"}, "model.layers: required for name: layers, but not set"),
        ({"name": "lenet", "layers": ["flatten"]}, "model.layers: it is for layers alone, got name: lenet"),
        ({"layers": ["flaten"]}, "model.layers.0.type: expected 'conv', 'max_pool'"),
        ({"layers": [{"type": "conv"}]}, "model.layers.0.filters: required for type: conv, but not set"),
        (
            {"layers": [{"type": "flatten", "size": 3}]},
            "model.layers.0.size: it is for conv, max_pool, average_pool, got type: flatten, which has no "
            "options; leave it out",
        ),
        (
            {"layers": [{**CONV, "filtres": 3}]},
            "unknown key 'model.layers.0.filtres': did you mean 'filters'?",
        ),
        (
            {"layers": ["flatten", {"type": "dense", "units": 3}, CONV]},
            "model.layers.2: conv needs a map, got 3 features; put it before the layer that makes features",
        ),
        (
            {"layers": [CONV, {"type": "dense", "units": 3}]},
            "model.layers.1: dense needs features, got a map of 28 x 28 x 8; put flatten or",
        ),
        (
            {"layers": [*["max_pool"] * 5, "flatten"]},
            "model.layers.4: max_pool of size 2 needs a map of at least 2 x 2, got 1 x 1 x 3; take a smaller "
            "size, fewer poolings, or larger images (transform.height_px)",
        ),
        (
            {"layers": [{"type": "residual", "layers": [{**CONV, "padding": "valid"}]}, "flatten"]},
            "model.layers.0: what a residual takes, 28 x 28 x 3, cannot be added to what its layers give, "
            "26 x 26 x 8; give convolutions in it padding: same",
        ),
        ({"layers": [CONV]}, "model.layers: expected features at the end, got a map of 28 x 28 x 8; end the"),
        ({"layers": ["flatten"], "weights": "imagenet"}, "model.weights: layers starts from random weights"),
    ],
)
def test_a_list_that_cannot_be_is_refused_at_load(model: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(recipe(model), "mine.yaml")
    assert str(caught.value).startswith(f"mine.yaml: {said}")


@pytest.mark.parametrize(
    ("model", "px", "said"),
    [
        ({"name": "cifar_resnet"}, 28, "expected less than transform.height_px (28), got 28; leave it out"),
        ({"name": "lenet"}, 20, "lenet has other weights for images of another size: take a network"),
        ({"layers": [CONV, "flatten"]}, 20, "layers has other weights for images of another size"),
        (
            {"layers": [*["max_pool"] * 4, "global_average_pool"]},
            14,
            "14 is too small: model.layers.3: max_pool of size 2 needs a map of at least 2 x 2, got 1 x 1",
        ),
    ],
)
def test_a_size_to_train_at_that_does_not_fit_is_refused(model: dict[str, Any], px: int, said: str) -> None:
    given = {**recipe(model), "training": {"train_px": px}}
    with pytest.raises(UsageError) as caught:
        resolve(given, "mine.yaml")
    assert str(caught.value).startswith(f"mine.yaml: training.train_px: {said}")
    resolve({**recipe({"layers": [CONV, "global_average_pool"]}), "training": {"train_px": 20}}, "mine.yaml")


def test_a_list_survives_its_recipe() -> None:
    resolved = resolve(recipe({"layers": ALL}), "mine.yaml")
    again = ModelConfig.model_validate(resolved.model_dump()["model"])
    assert again == resolved.model == ModelConfig(layers=ALL)
    check_input(again, 28, 28, 3)
