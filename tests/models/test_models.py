"""The built-in networks: shapes, sizes, that they learn, and which weights files they take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError
from components.models import BACKBONE, HEAD, build_model, networks
from components.models.config import ModelConfig
from components.models.pretrained import pooled_backbone
from components.models.weights_file import ALPHA_BY_PROJECTION, alpha_of
from components.trainer.heat import make_heat_maps
from components.transform.pixels import IMAGENET_MEAN, IMAGENET_STD
from tests.make.weights import write_weights_file

# A small input for each; MobileNetV2 at its narrowest published width, to be quick.
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "lenet": ({}, (28, 28, 1)),
    "cifar_resnet": ({}, (32, 32, 3)),
    "mobilenet_v2": ({"alpha": 0.35}, (64, 64, 3)),
    "vgg16": ({}, (32, 32, 3)),
    "efficientnet_b0": ({}, (32, 32, 3)),
}

# The small ones in the fast tests.
QUICK_FIRST = [
    name if name in ("lenet", "cifar_resnet") else pytest.param(name, marks=pytest.mark.slow)
    for name in NETWORKS
]
PUBLISHED = sorted(
    name for name, network in networks.NETWORKS.items() if network.normalization and "/" not in name
)


def build(
    name: str,
    shape: tuple[int, int, int],
    num_classes: int = 10,
    seed: int = 0,
    policy: str = "float32",
    **options: Any,
) -> keras.Model:
    keras.backend.clear_session(free_memory=False)  # and with it the policy
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(policy)
    try:
        return build_model(ModelConfig(name=name, **options), shape, num_classes)
    finally:
        keras.config.set_dtype_policy("float32")


@functools.cache
def shared(name: str) -> keras.Model:
    """The network of `NETWORKS` for seven classes, which tests may train."""
    options, shape = NETWORKS[name]
    return build(name, shape, num_classes=7, **options)


def images(count: int, shape: tuple[int, int, int], low: float = -1, high: float = 1) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(low, high, (count, *shape)), tf.float32)


def images_for(name: str, count: int) -> tf.Tensor:
    """In the range that the network takes."""
    _, shape = NETWORKS[name]
    return images(count, shape, 0, 255) if name.startswith("efficientnet") else images(count, shape)


def published_layout(model: keras.Model, path: Path) -> str:
    """Writes weights as the files that Keras publishes have them: one group a layer at the top.

    The whole model is next to it, as NAME.whole.h5.
    """
    whole = path.with_suffix(".whole.h5")
    model.save(whole)
    with h5py.File(whole) as source, h5py.File(path, "w") as target:
        group = source["model_weights"]
        for name, value in group.attrs.items():
            target.attrs[name] = value
        for name in group:
            group.copy(name, target)
    return str(path)


def refusal(shape: tuple[int, int, int] = (32, 32, 3), **config: Any) -> str:
    with pytest.raises(MiranteError) as caught:
        build_model(ModelConfig(**config), shape, 2)
    return str(caught.value)


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_every_model_gives_logits_and_learns(name: str) -> None:
    _, shape = NETWORKS[name]
    model = shared(name)
    assert model.name == name
    assert [layer.name for layer in model.layers[1:]] == [BACKBONE, HEAD]
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 7)
    assert model.get_layer(BACKBONE).output_shape[1:] == model.get_layer(HEAD).input_shape[1:]
    batch, labels = images_for(name, 8), tf.range(8) % 7
    logits = model(batch, training=False).numpy()
    assert logits.shape == (8, 7)
    assert logits.dtype == np.float32
    assert (logits < 0).any()
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3  # not probabilities

    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    before = [variable.numpy() for variable in model.trainable_variables]
    for layer in model.get_layer(BACKBONE).layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # EfficientNet leaves blocks out by chance, which would change every loss
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


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_every_network_has_heat_maps(name: str) -> None:
    model = shared(name)

    @tf.function
    def explain(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return make_heat_maps(pixels, model(pixels, training=False), labels)

    heat = explain(images_for(name, 2), tf.constant([0, 6], tf.int64)).numpy()
    # VGG16 and EfficientNet end in a map of one pixel here: the one before counts, padded in EfficientNet.
    size_px = {"lenet": 5, "cifar_resnet": 4, "efficientnet_b0": 5}.get(name, 2)
    assert heat.shape == (2, size_px, size_px)
    assert np.isin(heat.max(axis=(1, 2)), [0.0, 1.0]).all()


def test_lenet_has_as_many_parameters_as_the_paper_counts() -> None:
    model = build("lenet", (28, 28, 1))
    # 28 -> 28 -> pool 14 -> 5 x 5 valid 10 -> pool 5; 5 * 5 * 32 = 800 features.
    convolutions = (5 * 5 * 1 + 1) * 16 + (5 * 5 * 16 + 1) * 32
    dense = (800 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
    assert model.get_layer(BACKBONE).count_params() == convolutions == 13_248
    assert model.get_layer(HEAD).count_params() == dense == 107_134


def test_lenet_with_batch_norm_and_residual_blocks() -> None:
    shape, plain = (28, 28, 1), 13_248
    # A batch norm has four parameters a filter, and takes the place of the bias.
    normed = build("lenet", shape, batch_norm=True)
    assert normed.get_layer(BACKBONE).count_params() == plain + 3 * (16 + 32)
    # Two 3 x 3 convolutions that keep the filters.
    blocks = sum(2 * (9 * filters * filters + filters) for filters in (16, 32))
    residual = build("lenet", shape, residual=True)
    assert residual.get_layer(BACKBONE).count_params() == plain + blocks == 36_384
    both = build("lenet", shape, batch_norm=True, residual=True)
    assert both.get_layer(BACKBONE).count_params() == plain + blocks + 3 * (16 + 32) * 3
    for model in (normed, residual, both):
        assert model.get_layer(HEAD).count_params() == 107_134
        kinds = [type(layer).__name__ for layer in model.get_layer(BACKBONE).layers]
        # Each batch norm stands right before what makes it non-linear, or before a sum.
        after = {kinds[i + 1] for i, kind in enumerate(kinds) if kind == "BatchNormalization"}
        assert after <= {"Activation", "Add"}


def test_a_residual_block_adds_what_went_into_it() -> None:
    backbone = build("lenet", (28, 28, 1), residual=True).get_layer(BACKBONE)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3):
            layer.set_weights([np.zeros_like(value) for value in layer.get_weights()])
    plain = build("lenet", (28, 28, 1)).get_layer(BACKBONE)
    fives = [layer for layer in backbone.layers if getattr(layer, "kernel_size", None) == (5, 5)]
    for source, target in zip(fives, plain.layers[1:4:2], strict=True):
        target.set_weights(source.get_weights())
    batch = images(4, (28, 28, 1))
    np.testing.assert_allclose(backbone(batch), plain(batch), rtol=1e-5, atol=1e-6)


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
        pytest.param("mobilenet_v2", {}, 1280, 3_538_984 - 1_281_000, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", {"alpha": 0.35}, 1280, 1_691_208 - 1_281_000, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", {"alpha": 1.4}, 1792, 6_156_712 - 1_793_000, marks=pytest.mark.slow),
        ("vgg16", {}, 512, 14_714_688),
        pytest.param("efficientnet_b0", {}, 1280, 5_330_571 - 1_281_000, marks=pytest.mark.slow),
        pytest.param("efficientnet_b1", {}, 1280, 7_856_239 - 1_281_000, marks=pytest.mark.slow),
        pytest.param("efficientnet_b3", {}, 1536, 12_320_535 - 1_537_000, marks=pytest.mark.slow),
    ],
)
def test_applications_have_their_published_size(
    name: str, options: dict[str, Any], features: int, backbone: int
) -> None:
    if name in NETWORKS and options == NETWORKS[name][0]:
        model = shared(name)
    else:
        model = build(name, (64, 64, 3), num_classes=7, **options)
    assert model.get_layer(BACKBONE).output_shape == (None, features)
    assert model.get_layer(BACKBONE).count_params() == backbone
    assert model.get_layer(HEAD).count_params() == (features + 1) * 7


# mobilenet_v2 and others have the same head as cifar_resnet, and are slow to build.
@pytest.mark.parametrize("name", ["lenet", pytest.param("cifar_resnet", marks=pytest.mark.slow)])
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


@pytest.mark.parametrize(
    "name", [name if name == "lenet" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_the_least_size_is_known(name: str) -> None:
    options, shape = NETWORKS[name]
    least = networks.NETWORKS[name].smallest_px
    # Networks of hundreds of layers take seconds to build.
    if shape == (least, least, 3):
        assert shared(name).output_shape == (None, 7)
    else:
        for channels in (1,) if name.startswith("mobilenet") else (1, 3):
            assert build(name, (least, least, channels), **options).output_shape == (None, 10)
    said = refusal((least + 1, least - 1, 3), name=name)
    assert said == (
        f"transform.width_px: {name} needs images of at least {least} x {least} px, got {least + 1} x "
        f"{least - 1}; raise transform.height_px and transform.width_px, or take another model.name"
    )


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("lenet", "mixed_float16"),
        pytest.param("lenet", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("cifar_resnet", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("vgg16", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", "mixed_bfloat16", marks=pytest.mark.slow),
    ],
)
def test_logits_are_float32_in_mixed_precision(name: str, policy: str) -> None:
    options, shape = NETWORKS[name]
    model = build(name, shape, num_classes=7, policy=policy, **options)
    kinds = {layer.compute_dtype for layer in model.get_layer(BACKBONE).layers if layer.weights}
    assert policy.removeprefix("mixed_") in kinds
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model.get_layer(HEAD).get_layer("logits").compute_dtype == "float32"
    logits = model(images_for(name, 2), training=True)
    assert logits.dtype == tf.float32
    # More digits than 16 bits hold.
    rounded = tf.cast(tf.cast(logits, policy.removeprefix("mixed_")), tf.float32)
    assert np.abs(logits - rounded).max() > 0


# --- weights


Weights = Callable[[float | None], tuple[str, list[np.ndarray]]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Gives a weights file and what is in it: MobileNetV2 of a width, or LeNet for none."""
    folder = tmp_path_factory.mktemp("weights")

    @functools.cache
    def write(alpha: float | None) -> tuple[str, list[np.ndarray]]:
        network = (
            keras.applications.MobileNetV2((32, 32, 3), alpha, include_top=False, weights=None)
            if alpha
            else build("lenet", (16, 16, 3))
        )
        return published_layout(network, folder / f"{alpha}.h5"), network.get_weights()

    return write


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.35, 0.5, 1.0])
def test_mobilenet_reads_its_width_from_the_weights_file(weights: Weights, alpha: float) -> None:
    file, values = weights(alpha)
    assert alpha_of(file) == alpha
    model = build("mobilenet_v2", (32, 32, 3), weights=file)
    found = model.get_layer(BACKBONE).get_weights()
    assert len(found) == len(values) == 260
    assert all(np.array_equal(a, b) for a, b in zip(found, values, strict=True))


@pytest.mark.slow
def test_the_width_is_read_from_a_whole_model_too(weights: Weights) -> None:
    file, _ = weights(0.35)
    assert alpha_of(str(Path(file).with_suffix(".whole.h5"))) == 0.35


def test_every_published_width_is_told_apart() -> None:
    for filters, alpha in ALPHA_BY_PROJECTION.items():
        # Filters are 320 x alpha rounded to a multiple of 8 (paper's code: and never below 90 %).
        assert abs(filters - 320 * alpha) <= 4
        assert filters % 8 == 0


@pytest.mark.slow
def test_weights_of_another_width_are_refused(weights: Weights) -> None:
    file, _ = weights(0.35)
    said = refusal(name="mobilenet_v2", weights=file, alpha=1.0)
    assert said.startswith(f"model.weights: {file} is of alpha 0.35, and model.alpha is 1.0")


def test_weights_of_another_network_are_refused(weights: Weights) -> None:
    file, _ = weights(None)
    for options in ({}, {"alpha": 0.35}):
        said = refusal(name="mobilenet_v2", weights=file, **options)
        assert said.startswith(
            f"model.weights: {file} holds no mobilenet_v2: it has no layer block_16_project"
        )
    file, _ = weights(0.35)
    said = refusal(name="vgg16", weights=file)
    assert said.startswith(f"model.weights: {file} holds no vgg16: it has no layer block5_conv3")


def test_weights_of_vgg19_are_no_vgg16(tmp_path: Path) -> None:
    file = write_weights_file(tmp_path / "vgg19.h5", {"block5_conv3": 512, "block5_conv4": 512})
    assert f"{file} holds no vgg16: it has a layer block5_conv4" in refusal(name="vgg16", weights=file)


@pytest.mark.parametrize(
    ("name", "own", "top"),
    [("vgg16", "block5_conv3", "fc1"), ("mobilenet_v2", "block_16_project", "predictions")],
)
def test_weights_with_the_top_layers_are_refused(tmp_path: Path, name: str, own: str, top: str) -> None:
    file = write_weights_file(tmp_path / "with_top.h5", {own: 320, top: 1000})
    said = refusal(name=name, weights=file)
    assert said.startswith(f"model.weights: {file} holds the top layers too ({top})")


@pytest.mark.slow
def test_weights_of_the_right_layers_and_wrong_shapes_are_refused(tmp_path: Path) -> None:
    file = write_weights_file(tmp_path / "cut.h5", {"block_16_project": 320})
    said = refusal(name="mobilenet_v2", weights=file)
    assert said.startswith(
        f"model.weights: {file} does not fit mobilenet_v2 {{'alpha': 1.0}} at 32 x 32 x 3: "
    )


@pytest.mark.slow
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


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "weights.h5"
    file.write_bytes(b"<html>404 not found</html>")
    said = refusal((64, 64, 3), name=name, weights=str(file))
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


# --- EfficientNet, which scales its input itself


def seen_by_the_stem(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Return the input of EfficientNet's first convolution."""
    backbone = model.get_layer(BACKBONE)
    probe = keras.Model(backbone.inputs, backbone.get_layer("stem_conv_pad").input)
    return keras.ops.convert_to_numpy(probe(pixels))


@pytest.fixture(scope="module")
def efficientnet_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """B0 in the layout of the published file, deviations for variances as in it."""
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    normalization = next(x for x in network.layers if isinstance(x, keras.layers.Normalization))
    normalization.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_STD), np.array(0)])
    return published_layout(network, tmp_path_factory.mktemp("efficientnet") / "b0_notop.h5")


PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


@pytest.mark.slow
def test_efficientnet_with_random_weights_divides_by_255() -> None:
    np.testing.assert_allclose(seen_by_the_stem(shared("efficientnet_b0"), PIXELS), PIXELS / 255, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_efficientnet_from_a_file_sees_imagenets_mean_and_deviation(
    efficientnet_file: str, policy: str
) -> None:
    model = build("efficientnet_b0", (32, 32, 3), weights=efficientnet_file, policy=policy)
    assert model.get_layer(BACKBONE).get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")
    expected = (PIXELS / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(seen_by_the_stem(model, PIXELS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_what_efficientnet_sees_is_kept_in_the_saved_model(efficientnet_file: str, tmp_path: Path) -> None:
    model = build("efficientnet_b0", (32, 32, 3), weights=efficientnet_file)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(seen_by_the_stem(again, PIXELS), seen_by_the_stem(model, PIXELS))
    np.testing.assert_allclose(again(PIXELS), model(PIXELS), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_weights_of_another_efficientnet_are_refused(efficientnet_file: str) -> None:
    for name in ("efficientnet_b1", "efficientnet_b4"):
        said = refusal(name=name, weights=efficientnet_file)
        assert said.startswith(
            f"model.weights: {efficientnet_file} is of efficientnet_b0, and model.name is {name}: set model"
        )
    assert f"{efficientnet_file} holds no vgg16" in refusal(name="vgg16", weights=efficientnet_file)


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ({"top_conv": 1280, "block1b_dwconv": 16}, "efficientnet_b1"),
        ({"top_conv": 1536}, "efficientnet_b3"),
        ({"top_conv": 2560}, "efficientnet_b7"),
        ({"top_conv": 999}, "an unknown EfficientNet (its top_conv has 999 filters)"),
    ],
)
def test_efficientnets_are_told_apart(tmp_path: Path, layers: dict[str, int], found: str) -> None:
    file = write_weights_file(tmp_path / "weights.h5", {"block2a_dwconv": 96, **layers})
    assert refusal(name="efficientnet_b0", weights=file).startswith(
        f"model.weights: {file} is of {found}, and "
    )


def test_efficientnet_v2_is_no_efficientnet(tmp_path: Path) -> None:
    file = write_weights_file(tmp_path / "v2.h5", {"block2a_project_conv": 32, "top_conv": 1280})
    assert "holds no efficientnet_b0: it has no layer block2a_dwconv" in refusal(
        name="efficientnet_b0", weights=file
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    file = str(tmp_path / "missing.h5")
    said = refusal((64, 64, 3), name=name, weights=file)
    assert said.startswith(
        f"model.weights: no such file: {file}; give a Keras .h5 file without the top layers"
    )
