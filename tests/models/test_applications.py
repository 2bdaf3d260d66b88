"""The networks of keras.applications: the rows against Keras, their pixels, their files, and a recipe."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError, UsageError
from components.models import BACKBONE, HEAD, build_model
from components.models.applications import APPLICATIONS, PREFIX
from components.models.config import ModelConfig
from components.models.published import cached_path, published_url
from components.models.weights_file import _UNCOUNTED, check_weights
from components.transform.config import TransformConfig
from components.transform.pixels import IMAGENET_MEAN, IMAGENET_STD, normalize
from pipeline.recipe.load import resolve
from tests.make.weights import write_weights_file

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3)).astype(np.float32)
# One small network of each family, whose graphs alone are made: no weight is.
BUILT = (
    "ConvNeXtTiny",
    "EfficientNetV2B0",
    "InceptionV3",
    "MobileNet",
    "MobileNetV3Small",
    "ResNet50",
    "ResNet50V2",
    "VGG19",
    "Xception",
)


def find_classifiers() -> list[str]:
    """Return the functions of keras.applications that build a classifier."""
    # Each takes what its last layer ends in.
    functions = {name: value for name, value in vars(keras.applications).items() if callable(value)}
    return sorted(
        name
        for name, value in functions.items()
        if "classifier_activation" in inspect.signature(value).parameters
    )


def recipe(**model: Any) -> dict[str, Any]:
    return {"name": "x", "model": model, "evaluation": {"thresholds": {"accuracy": 0.5}}}


def test_the_rows_are_the_classifiers_of_keras() -> None:
    assert sorted(APPLICATIONS) == find_classifiers()


@pytest.mark.parametrize("name", list(APPLICATIONS))
def test_pixels_are_those_of_keras_own_preprocessing(name: str) -> None:
    row = APPLICATIONS[name]
    theirs = getattr(keras.applications, row.module).preprocess_input(PIXELS.copy())
    ours = normalize(tf.constant(PIXELS), TransformConfig(normalization=row.normalization))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.parametrize("name", BUILT)
def test_a_row_is_what_keras_builds(name: str) -> None:
    row = APPLICATIONS[name]
    shape = (row.smallest_px, row.smallest_px, 3)
    build = getattr(keras.applications, name)
    with keras.StatelessScope():
        network = build(include_top=False, weights=None, input_shape=shape, pooling="avg")
    assert (network.count_params(), network.output_shape[-1]) == (row.parameters, row.features)
    scaling = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
    ]
    # It scales pixels itself, or Transform does: not both, and not neither.
    assert bool(scaling) == (row.normalization == "none")
    with pytest.raises(ValueError, match=f"at least {row.smallest_px}"):
        build(include_top=False, weights=None, input_shape=(row.smallest_px - 1, row.smallest_px, 3))


def test_no_two_networks_have_equally_many_parameters() -> None:
    counts = sorted(row.parameters for row in APPLICATIONS.values())
    assert min(b - a for a, b in itertools.pairwise(counts)) > 2 * _UNCOUNTED


@pytest.mark.slow
def test_a_network_learns_and_keeps_its_scaling_in_32_bits(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(ModelConfig(name="keras/MobileNetV3Small", dropout=0.1), (32, 32, 3), 3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.name == "keras_MobileNetV3Small"
    assert [layer.name for layer in model.layers[1:]] == [BACKBONE, HEAD]
    backbone = model.get_layer(BACKBONE)
    (scaling,) = (layer for layer in backbone.layers if isinstance(layer, keras.layers.Rescaling))
    assert scaling.compute_dtype == "float32"
    assert "bfloat16" in {layer.compute_dtype for layer in backbone.layers}
    logits = model(PIXELS[:, :32, :32], training=False)
    assert (logits.shape, logits.dtype) == ((1, 3), tf.float32)
    # Its own file is taken, in Keras' two layouts.
    for file in ("own.h5", "own.weights.h5"):
        (backbone.save_weights if "weights" in file else backbone.save)(tmp_path / file)
        check_weights(ModelConfig(name="keras/MobileNetV3Small", weights=str(tmp_path / file)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EfficientNetV2B0", (PIXELS / 255 - IMAGENET_MEAN) / IMAGENET_STD),
        ("ConvNeXtTiny", (PIXELS / 255 - IMAGENET_MEAN) / IMAGENET_STD),
        ("MobileNetV3Small", PIXELS / 127.5 - 1),
    ],
)
def test_pixels_are_scaled_once(name: str, expected: np.ndarray[Any, Any]) -> None:
    """Slow: it makes the weights of whole networks."""
    backbone = build_model(ModelConfig(name=f"{PREFIX}{name}"), (40, 40, 3), 2).get_layer(BACKBONE)
    kinds = keras.layers.Rescaling | keras.layers.Normalization
    *_, last = (layer for layer in backbone.layers if isinstance(layer, kinds))
    probe = keras.Model(backbone.inputs, last.output)
    np.testing.assert_allclose(probe(PIXELS), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            {"a": 374_544},
            "is of keras/MobileNetV3Large: set model.name to it, or give a file of keras/MobileNetV3Small",
        ),
        ({"a": 117_390, "predictions": 72_125}, "holds the top layers too: give the file without them"),
        (
            {"a": 7},
            "holds no keras/MobileNetV3Small without its top: expected 939,120 numbers, got 56; give a",
        ),
    ],
)
def test_the_weights_of_another_network_are_refused(
    tmp_path: Path, layers: dict[str, int], said: str
) -> None:
    file = write_weights_file(tmp_path / "weights.h5", layers)
    with pytest.raises(UsageError) as caught:
        check_weights(ModelConfig(name="keras/MobileNetV3Small", weights=file))
    assert str(caught.value).startswith(f"model.weights: {file} {said}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize(
    ("name", "px"),
    [
        ("MobileNet", 160),
        ("MobileNet", 100),
        ("MobileNetV3Small", 160),
        ("VGG19", 100),
        ("ConvNeXtTiny", 100),
    ],
)
def test_the_file_is_the_one_that_keras_asks_for(
    name: str, px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras.src.utils.file_utils as files

    asked: list[tuple[str, str]] = []

    def get_file(fname: str, origin: str, **_: object) -> str:
        asked.append((fname, origin))
        raise OSError("no network")

    monkeypatch.setattr(files, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    model = ModelConfig(name=f"{PREFIX}{name}", weights="imagenet")
    with keras.StatelessScope(), pytest.raises(MiranteError, match="no network"):
        build_model(model, (px, px, 3), 2)
    transform = TransformConfig(height_px=px, width_px=px)
    assert asked == [(cached_path(model, transform).name, published_url(model, transform))]


def test_a_recipe_gets_the_pixels_of_its_network() -> None:
    found = resolve(recipe(name="keras/InceptionV3"), "mine.yaml").transform
    assert (found.height_px, found.width_px, found.normalization) == (299, 299, "minus_one_one")
    asked = {**recipe(name="keras/ConvNeXtTiny"), "transform": {"height_px": 64, "width_px": 96}}
    found = resolve(asked, "mine.yaml").transform
    assert (found.height_px, found.width_px, found.normalization) == (64, 96, "none")
    # Only these networks: the recipes of the others stay what they were.
    assert resolve(recipe(name="vgg16"), "mine.yaml").transform == TransformConfig()


@pytest.mark.parametrize(
    ("model", "transform", "said"),
    [
        (
            {"name": "keras/Resnet50"},
            {},
            "mine.yaml: model.name: there is no 'keras/Resnet50': did you mean 'keras/ResNet50'? Known",
        ),
        ({"name": "keras/"}, {}, "mine.yaml: model.name: there is no 'keras/'"),
        (
            {"name": "keras/EfficientNetV2S"},
            {"normalization": "zero_one"},
            "mine.yaml: transform.normalization: keras/EfficientNetV2S takes pixels of 0 to 255 and scales",
        ),
        (
            {"name": "keras/Xception"},
            {"height_px": 70},
            "mine.yaml: transform.height_px: keras/Xception needs images of at least 71 x 71 px, got 70",
        ),
        (
            {"name": "keras/ResNet50", "weights": "imagenet"},
            {"normalization": "zero_one"},
            "mine.yaml: transform.normalization: the pretrained weights of keras/ResNet50 expect "
            "imagenet_caffe, got zero_one",
        ),
    ],
)
def test_what_a_network_cannot_take_is_refused_at_load(
    model: dict[str, Any], transform: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({**recipe(**model), "transform": transform}, "mine.yaml")
    assert str(caught.value).startswith(said)
    assert "ssd" not in str(caught.value)
