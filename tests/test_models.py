"""The networks: shapes, sizes, that they learn, and which weights files they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from components.config import PRETRAINED_NORMALIZATION, ModelConfig
from components.errors import MiranteError
from components.models import BACKBONE, HEAD, build_model
from components.models.pretrained import pooled_backbone
from components.models.weights_file import ALPHA_BY_PROJECTION, alpha_of
from tests.failures import weights_file

# A small input for each; MobileNetV2 at its narrowest published width, to be quick.
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "lenet": ({}, (28, 28, 1)),
    "cifar_resnet": ({}, (32, 32, 3)),
    "mobilenet_v2": ({"alpha": 0.35}, (64, 64, 3)),
    "vgg16": ({}, (32, 32, 3)),
}


def build(
    name: str, shape: tuple[int, int, int], num_classes: int = 10, seed: int = 0, **options: Any
) -> keras.Model:
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return build_model(ModelConfig(name=name, **options), shape, num_classes)


def images(count: int, shape: tuple[int, int, int]) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (count, *shape)), tf.float32)


def published_layout(model: keras.Model, path: Path) -> str:
    """Writes weights as the files that Keras publishes have them: one group a layer at the top."""
    whole = path.with_suffix(".whole.h5")
    model.save(whole)
    with h5py.File(whole) as source, h5py.File(path, "w") as target:
        group = source["model_weights"]
        for name, value in group.attrs.items():
            target.attrs[name] = value
        for name in group:
            group.copy(name, target)
    whole.unlink()
    return str(path)


def refusal(shape: tuple[int, int, int] = (32, 32, 3), **config: Any) -> str:
    with pytest.raises(MiranteError) as caught:
        build_model(ModelConfig(**config), shape, 2)
    return str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_model_gives_logits_and_learns(name: str) -> None:
    options, shape = NETWORKS[name]
    model = build(name, shape, num_classes=7, **options)
    assert model.name == name
    assert [layer.name for layer in model.layers[1:]] == [BACKBONE, HEAD]
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 7)
    assert model.get_layer(BACKBONE).output_shape[1:] == model.get_layer(HEAD).input_shape[1:]
    batch, labels = images(16, shape), tf.range(16) % 7
    logits = model(batch, training=False).numpy()
    assert logits.shape == (16, 7)
    assert logits.dtype == np.float32
    assert (logits < 0).any()
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3  # not probabilities

    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    before = [variable.numpy() for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = loss_of(labels, model(batch, training=True))
    # Small enough for a network of batch norms at random weights, whose gradients are large.
    keras.optimizers.SGD(1e-4).apply_gradients(
        zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
    )
    unchanged = [
        variable.path
        for old, variable in zip(before, model.trainable_variables, strict=True)
        if np.array_equal(old, variable.numpy()) and variable.name == "kernel"
    ]
    assert unchanged == []
    assert loss_of(labels, model(batch, training=True)) < loss


def test_lenet_has_as_many_parameters_as_the_paper_counts() -> None:
    model = build("lenet", (28, 28, 1))
    # 28 -> 28 -> pool 14 -> 5 x 5 valid 10 -> pool 5; 5 * 5 * 32 = 800 features.
    convolutions = (5 * 5 * 1 + 1) * 16 + (5 * 5 * 16 + 1) * 32
    dense = (800 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
    assert model.get_layer(BACKBONE).count_params() == convolutions == 13_248
    assert model.get_layer(HEAD).count_params() == dense == 107_134


def test_cifar_resnet_has_0_31_million_parameters() -> None:
    model = build("cifar_resnet", (32, 32, 3))

    def block(before: int, filters: int) -> int:
        shortcut = before * filters if before != filters else 0
        return 4 * before + 9 * before * filters + 4 * filters + 9 * filters * filters + shortcut

    stages = sum(block(before, filters) for before, filters in ((32, 32), (32, 64), (64, 128)))
    assert model.count_params() == 9 * 3 * 32 + stages + 4 * 128 + (128 + 1) * 10 == 309_226
    # Three blocks of two convolutions, and the first: 7, plus two shortcuts.
    convolutions = [x for x in model.get_layer(BACKBONE).layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == 7 + 2


# Counts of https://keras.io/api/applications/ less the 1000-class top, (features + 1) * 1000.
@pytest.mark.parametrize(
    ("name", "options", "features", "backbone"),
    [
        ("mobilenet_v2", {}, 1280, 3_538_984 - 1_281_000),
        ("mobilenet_v2", {"alpha": 0.35}, 1280, 1_691_208 - 1_281_000),
        ("mobilenet_v2", {"alpha": 1.4}, 1792, 6_156_712 - 1_793_000),
        ("vgg16", {}, 512, 14_714_688),
    ],
)
def test_applications_have_their_published_size(
    name: str, options: dict[str, Any], features: int, backbone: int
) -> None:
    model = build(name, (64, 64, 3), num_classes=5, **options)
    assert model.get_layer(BACKBONE).output_shape == (None, features)
    assert model.get_layer(BACKBONE).count_params() == backbone
    assert model.get_layer(HEAD).count_params() == (features + 1) * 5


# vgg16 has the same head as mobilenet_v2, and is slow to build.
@pytest.mark.parametrize("name", ["lenet", "mobilenet_v2"])
def test_dropout_is_in_the_head_and_only_where_asked_for(name: str) -> None:
    options, shape = NETWORKS[name]
    model = build(name, shape, dropout=0.9, **options)
    features = tf.ones((1, *model.get_layer(HEAD).input_shape[1:]))
    head = model.get_layer(HEAD)
    assert np.abs(head(features, training=True) - head(features, training=False)).max() > 0
    head = build(name, shape, **options).get_layer(HEAD)
    np.testing.assert_array_equal(head(features, training=True), head(features, training=False))


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (build("lenet", (16, 16, 1), seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_lenet_says_that_the_image_is_too_small() -> None:
    said = refusal((15, 28, 1), name="lenet")
    assert said.startswith("model.name: lenet needs images of at least 16 px, got 15 x 28: raise transform.")
    assert build("lenet", (16, 16, 1)).output_shape == (None, 10)


def test_vgg16_says_that_the_image_is_too_small() -> None:
    said = refusal((31, 32, 3), name="vgg16")
    assert said.startswith("model.name: vgg16 cannot be built at (31, 32, 3): ")
    assert "at least 32x32" in said


# --- weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[np.ndarray]]]:
    """Weights files, and what is in them, by name."""
    folder = tmp_path_factory.mktemp("weights")
    networks = {
        f"mobilenet_v2_{alpha}": keras.applications.MobileNetV2(
            (32, 32, 3), alpha, include_top=False, weights=None
        )
        for alpha in (0.35, 0.5, 1.0)
    }
    networks["other"] = build("lenet", (16, 16, 3))
    return {
        name: (published_layout(network, folder / f"{name}.h5"), network.get_weights())
        for name, network in networks.items()
    }


@pytest.mark.parametrize("alpha", [0.35, 0.5, 1.0])
def test_mobilenet_reads_its_width_from_the_weights_file(
    weights: dict[str, tuple[str, list[np.ndarray]]], alpha: float
) -> None:
    file, values = weights[f"mobilenet_v2_{alpha}"]
    assert alpha_of(file) == alpha
    model = build("mobilenet_v2", (32, 32, 3), weights=file)
    found = model.get_layer(BACKBONE).get_weights()
    assert len(found) == len(values) == 260
    assert all(np.array_equal(a, b) for a, b in zip(found, values, strict=True))


def test_the_width_is_read_from_a_whole_model_too(tmp_path: Path) -> None:
    network = keras.applications.MobileNetV2((32, 32, 3), 0.75, include_top=False, weights=None)
    network.save(tmp_path / "whole.h5")
    assert alpha_of(str(tmp_path / "whole.h5")) == 0.75


def test_every_published_width_is_told_apart() -> None:
    for filters, alpha in ALPHA_BY_PROJECTION.items():
        # Filters are 320 x alpha rounded to a multiple of 8 (paper's code: and never below 90 %).
        assert abs(filters - 320 * alpha) <= 4
        assert filters % 8 == 0


def test_weights_of_another_width_are_refused(weights: dict[str, tuple[str, list[np.ndarray]]]) -> None:
    file, _ = weights["mobilenet_v2_0.5"]
    said = refusal(name="mobilenet_v2", weights=file, alpha=1.0)
    assert said.startswith(f"model.weights: {file} is of alpha 0.5, and model.alpha is 1.0")


def test_weights_of_another_network_are_refused(weights: dict[str, tuple[str, list[np.ndarray]]]) -> None:
    file, _ = weights["other"]
    for options in ({}, {"alpha": 0.35}):
        said = refusal(name="mobilenet_v2", weights=file, **options)
        assert said.startswith(
            f"model.weights: {file} holds no mobilenet_v2: it has no layer block_16_project"
        )
    file, _ = weights["mobilenet_v2_0.35"]
    said = refusal(name="vgg16", weights=file)
    assert said.startswith(f"model.weights: {file} holds no vgg16: it has no layer block5_conv3")


def test_weights_of_vgg19_are_no_vgg16(tmp_path: Path) -> None:
    file = weights_file(tmp_path / "vgg19.h5", {"block5_conv3": 512, "block5_conv4": 512})
    assert f"{file} holds no vgg16: it has a layer block5_conv4" in refusal(name="vgg16", weights=file)


@pytest.mark.parametrize(
    ("name", "own", "top"),
    [("vgg16", "block5_conv3", "fc1"), ("mobilenet_v2", "block_16_project", "predictions")],
)
def test_weights_with_the_top_layers_are_refused(tmp_path: Path, name: str, own: str, top: str) -> None:
    file = weights_file(tmp_path / "with_top.h5", {own: 320, top: 1000})
    said = refusal(name=name, weights=file)
    assert said.startswith(f"model.weights: {file} holds the top layers too ({top})")


def test_weights_of_the_right_layers_and_wrong_shapes_are_refused(tmp_path: Path) -> None:
    file = weights_file(tmp_path / "cut.h5", {"block_16_project": 320})
    said = refusal(name="mobilenet_v2", weights=file)
    assert said.startswith(
        f"model.weights: {file} does not fit mobilenet_v2 {{'alpha': 1.0}} at 32 x 32 x 3: "
    )


def test_weights_in_the_layout_of_keras_3_name_no_layers(tmp_path: Path) -> None:
    network = keras.applications.MobileNetV2(
        (32, 32, 3), 0.35, include_top=False, weights=None, pooling="avg"
    )
    file = str(tmp_path / "own.weights.h5")
    network.save_weights(file)
    model = build("mobilenet_v2", (32, 32, 3), weights=file, alpha=0.35)
    found = model.get_layer(BACKBONE).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(found, network.get_weights(), strict=True))
    said = refusal(name="mobilenet_v2", weights=file)
    assert said.startswith(f"model.weights: {file} holds no")


@pytest.mark.parametrize("name", sorted(PRETRAINED_NORMALIZATION))
def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "weights.h5"
    file.write_bytes(b"<html>404 not found</html>")
    said = refusal(name=name, weights=str(file))
    assert said.startswith(f"model.weights: {file} cannot be read as an HDF5 file: ")


def test_a_download_that_fails_says_what_to_do() -> None:
    def download(**_: Any) -> None:
        raise OSError("URL fetch failure")

    with pytest.raises(MiranteError) as caught:
        pooled_backbone(download, ModelConfig(name="vgg16", weights="imagenet"), (32, 32, 3))
    said = str(caught.value)
    assert said.startswith(
        "model.weights: imagenet: Keras could not download the weights of vgg16 (URL fetch"
    )
    assert said.endswith("on a machine without network, give the path of a weights file")


@pytest.mark.parametrize("name", sorted(PRETRAINED_NORMALIZATION))
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    file = str(tmp_path / "missing.h5")
    said = refusal(name=name, weights=file)
    assert said.startswith(
        f"model.weights: no such file: {file}; give a Keras .h5 file without the top layers"
    )
