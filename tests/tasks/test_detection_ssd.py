"""The network of the detector: shapes, first answers, weights, and its step under XLA and in 16 bits."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError
from components.models import BACKBONE, HEAD, build_model, has_shared_head, is_of_classes
from components.models.anchors import find_misfit
from components.models.config import DetectionConfig, ModelConfig
from components.models.ssd import anchors_of, map_shapes
from components.models.ssd_keras import find_maps
from components.models.ssd_mobilenet_v2 import MAPS
from components.tasks.detection.trainer import Detection
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import ArrayExamples
from components.trainer.step import build_step
from components.trainer.strategy import Place


def network(shape: tuple[int, int, int] = (96, 96, 3), classes: int = 3, **options: Any) -> keras.Model:
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    return build_model(config(**options), shape, classes)


@functools.cache
def shared() -> keras.Model:
    """The network as it comes, for tests that leave it as it is."""
    return network()


def config(**options: Any) -> ModelConfig:
    own = {} if "name" in options else {"name": "ssd_mobilenet_v2", "alpha": 0.35}
    return ModelConfig.model_validate({**own, **options})


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "extra_layers"), [((96, 96, 3), 4), ((100, 161, 3), 0)])
def test_one_answer_for_each_anchor(shape: tuple[int, int, int], extra_layers: int) -> None:
    options = {"detection": {"extra_layers": extra_layers}}
    model = network(shape, **options) if extra_layers == 0 else shared()
    assert model.output_shape == (None, len(anchors_of(config(**options), shape)), 4 + 3)
    maps = map_shapes(config(**options), shape)
    assert [output.shape[1:3] for output in model.get_layer(BACKBONE).outputs] == maps[:2]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(96, 96, 3), (100, 161, 3)])
def test_a_pyramid_has_a_finer_map_and_each_knows_the_coarser_ones(shape: tuple[int, int, int]) -> None:
    options = {"detection": {"neck": "fpn", "extra_layers": 1}}
    model = network(shape, **options)
    anchors = anchors_of(config(**options), shape)
    assert model.output_shape == (None, len(anchors), 4 + 3)
    maps = map_shapes(config(**options), shape)
    assert [output.shape[1:3] for output in model.get_layer(BACKBONE).outputs] == maps[:3]
    head = model.get_layer(HEAD)
    # What is only on the coarsest map of the backbone reaches the anchors of the finest one.
    zeros = [np.zeros((1, *given.shape[1:]), np.float32) for given in head.inputs]
    seen = [*zeros[:2], np.ones_like(zeros[2])]
    first = maps[0][0] * maps[0][1] * 6
    changed = np.abs(head(seen, training=False) - head(zeros, training=False))[0].max(axis=1) > 0
    assert changed[:first].all()
    plain = network(shape, detection={"extra_layers": 1}).get_layer(HEAD)
    zeros = zeros[1:]
    changed = (
        np.abs(plain([zeros[0], seen[2]], training=False) - plain(zeros, training=False))[0].max(axis=1) > 0
    )
    assert not changed[: maps[1][0] * maps[1][1] * 6].any()


def test_maps_of_a_pyramid_at_300_px() -> None:
    expected = [(38, 38), (19, 19), (10, 10), (5, 5)]
    assert map_shapes(config(detection={"neck": "fpn", "extra_layers": 1}), (300, 300, 3)) == expected
    with pytest.raises(
        ValueError, match=r"expected one for each of 4 feature maps \(three and extra_layers\)"
    ):
        DetectionConfig(neck="fpn", extra_layers=1, scales=(0.1, 0.2, 0.3))


def test_maps_at_300_px() -> None:
    expected = [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    assert map_shapes(config(), (300, 300, 3)) == expected


@pytest.mark.parametrize(
    ("scale", "px", "said"),
    [
        (
            0.2,
            320,
            "expected 0.05 to 0.15 for .* every 8 of 320 px, got 0.2, anchors of 64 px; set it to 0.1,",
        ),
        (0.01, 640, "expected 0.025 to 0.075 .* got 0.01, anchors of 6 px; set it to 0.05"),
        (0.1, 320, None),
        (0.2, 128, None),
    ],
)
def test_anchors_that_do_not_suit_a_pyramid(scale: float, px: int, said: str | None) -> None:
    found = find_misfit(DetectionConfig(neck="fpn", min_scale=scale), px, 2 * px)
    assert (found is None) == (said is None)
    assert said is None or re.search(said, found or "")
    assert find_misfit(DetectionConfig(min_scale=scale), px, px) is None
    listed = DetectionConfig(neck="fpn", extra_layers=0, scales=(scale, 0.5, 0.9))
    found = find_misfit(listed, px, px)
    assert (found is None) == (said is None)
    assert said is None or "set the first one to" in (found or "")


def test_maps_are_the_last_ones_that_everything_goes_through() -> None:
    layers = keras.layers
    inputs = keras.Input((32, 48, 3))

    def halve(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.Conv2D(4, 3, strides=2, padding="valid", name=name)(layers.ZeroPadding2D(1)(x))

    fine = halve(inputs, "fine")
    # What a branch alone computes is no map, nor is what is only padded.
    joined = layers.Add(name="joined")([fine, layers.Conv2D(4, 1, name="branch")(fine)])
    middle = halve(joined, "middle")
    skipped = layers.MaxPooling2D(1, strides=2)(middle)
    late = layers.Conv2D(4, 1, name="late")(middle)
    coarse = layers.Concatenate(name="coarse")([halve(late, "halved"), skipped])
    model = keras.Model(inputs, layers.ReLU(name="last")(coarse))
    found = find_maps(model)
    assert [tensor._keras_history.operation.name for tensor in found] == ["joined", "middle", "last"]
    assert [tensor.shape[1:3] for tensor in found] == [(16, 24), (8, 12), (4, 6)]


@pytest.mark.slow
def test_maps_of_mobilenet_are_those_of_its_own_detector() -> None:
    whole = keras.applications.MobileNetV2((96, 96, 3), 0.35, include_top=False, weights=None)
    names = [tensor._keras_history.operation.name for tensor in find_maps(whole)]
    assert names == ["block_6_expand_relu", *MAPS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "neck"),
    [
        ("MobileNetV3Small", (96, 100, 3), "fpn"),
        ("MobileNet", (64, 64, 3), "none"),
        # Its maps leave out edges: 9 and 4 rows of 75 px are pooled to 4 and 2.
        ("VGG16", (75, 64, 3), "fpn"),
    ],
)
def test_any_classifier_of_keras_becomes_a_detector(
    name: str, shape: tuple[int, int, int], neck: str
) -> None:
    options = {"name": f"ssd_keras/{name}", "detection": {"neck": neck, "extra_layers": 1}}
    model = network(shape, **options)
    assert model.output_shape == (None, len(anchors_of(config(**options), shape)), 4 + 3)
    maps = [output.shape[1:3] for output in model.get_layer(BACKBONE).outputs]
    assert maps == map_shapes(config(**options), shape)[:-1]
    assert len(maps) == (3 if neck == "fpn" else 2)
    assert np.isfinite(model(np.zeros((1, *shape), np.float32), training=False)).all()


@pytest.mark.parametrize("loss", ["focal", "hard_negative"])
def test_at_first_there_is_nothing_anywhere(loss: str) -> None:
    options = {"detection": {"classification_loss": loss}}
    model = network(**options) if loss == "hard_negative" else shared()
    task = Detection(("a", "b", "c"), config(**options), (96, 96, 3))
    outputs = model(np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32))
    scores = task.predict(outputs)["scores"].numpy()
    assert (scores[scores > 0] < 0.02).all()
    assert np.abs(outputs[..., :4]).max() < 1.0  # boxes are near their anchors


@pytest.mark.slow
def test_the_backbone_is_the_classifiers() -> None:
    classifier = build_model(ModelConfig(name="mobilenet_v2", alpha=0.35), (96, 96, 3), 2)
    backbone = shared().get_layer(BACKBONE)
    assert [layer for layer in MAPS if layer not in [each.name for each in backbone.layers]] == []
    theirs = {v.path: v.shape for v in classifier.get_layer(BACKBONE).variables}
    assert {v.path: v.shape for v in backbone.variables} == theirs


@pytest.mark.slow
def test_what_is_of_classes_and_which_head_is_shared() -> None:
    two, three = (
        {v.path: tuple(v.shape) for v in model.get_layer(HEAD).variables}
        for model in (network(classes=2), shared())
    )
    differing = {path for path in two if two[path] != three[path]}
    assert differing == {path for path in two if is_of_classes(path)}
    assert len(differing) == 2 * 6
    assert has_shared_head(shared())
    assert not has_shared_head(build_model(ModelConfig(name="lenet"), (16, 16, 1), 2))


def test_statistics_follow_weights_that_begin_at_random() -> None:
    norms = [
        layer for layer in shared()._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) > 52
    assert {layer.momentum for layer in norms} == {0.9}


def test_an_image_that_is_too_small() -> None:
    with pytest.raises(MiranteError, match="needs images of at least 64 x 64 px, got 63 x 96"):
        network((63, 96, 3))


@pytest.mark.real_data
def test_weights_of_the_classifier_give_its_features(real_data_dir: Path) -> None:
    weights = str(
        real_data_dir / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    )
    model = network(weights=weights, alpha=None)
    plain = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=weights)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    _, last = model.get_layer(BACKBONE)(image, training=False)
    np.testing.assert_allclose(last, plain(image, training=False), atol=1e-4)


def step_losses(precision: str = "float32", *, jit_compile: bool = False, **options: Any) -> list[float]:
    options["detection"] = {"extra_layers": 1}
    keras.config.set_dtype_policy(precision)
    try:
        model = network(**options)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    task = Detection(("a", "b", "c"), config(**options), (96, 96, 3))
    training = TrainingConfig(jit_compile=jit_compile, precision=precision)
    optimizer = keras.optimizers.SGD(1e-3)
    optimizer.build(model.trainable_variables)
    place = Place(tf.distribute.get_strategy())
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, (2, 96, 96, 3)), tf.float32)
    targets = np.zeros((2, 4, 5), np.float32)
    targets[0, :2] = [[0.1, 0.1, 0.5, 0.6, 1], [0.5, 0.2, 0.9, 0.9, 3]]
    examples, counter = ArrayExamples("train", images.numpy(), targets), tf.Variable(0, dtype=tf.int64)
    step = build_step(model, task, examples, training, place, optimizer, counter)
    losses = []
    for _ in range(2):
        result = step((images, tf.constant(targets)))
        losses.append(float(result["loss"]))
        both = (float(result["class_loss"]) + float(result["box_loss"])) / 2
        assert both == pytest.approx(losses[-1], rel=1e-3)
    return losses


@pytest.mark.slow
def test_the_step_in_16_bits_is_near_that_in_32() -> None:
    assert step_losses("mixed_bfloat16") == pytest.approx(step_losses(), rel=0.1)


@pytest.mark.slow
def test_a_detector_on_a_classifier_of_keras_learns() -> None:
    before, after = step_losses(name="ssd_keras/MobileNetV3Small")
    assert after < before


@pytest.mark.slow
def test_the_step_compiles_under_xla() -> None:
    assert step_losses(jit_compile=True) == pytest.approx(step_losses(), rel=1e-3)
