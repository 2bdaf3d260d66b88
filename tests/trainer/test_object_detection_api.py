"""Backbones out of checkpoints of the Object Detection API, written here under the names that it gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError
from components.models import BACKBONE, HEAD, build_model
from components.models.config import ModelConfig
from components.trainer.checkpoints import by_path
from components.trainer.warm_start.config import WarmStartConfig
from components.trainer.warm_start.object_detection_api import keras_names, layers
from components.trainer.warm_start.source import open_source
from components.trainer.warm_start.start import warm_start


def detector(classes: int = 2) -> keras.Model:
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    config = ModelConfig.model_validate(
        {"name": "ssd_mobilenet_v2", "alpha": 0.35, "detection": {"extra_layers": 0}}
    )
    return build_model(config, (64, 64, 3), classes)


@functools.cache
def shared() -> keras.Model:
    """A detector whose weights tests may change."""
    return detector()


def slim_name(path: str) -> str:
    """`block_3_expand_BN/gamma` as TF-Slim has it."""
    layer, _, variable = path.rpartition("/")
    norm = "BatchNorm/" if layer.endswith("_BN") or layer in ("bn_Conv1", "Conv_1_bn") else ""
    if layer in ("Conv1", "bn_Conv1"):
        place = "Conv/"
    elif layer in ("Conv_1", "Conv_1_bn"):
        place = "Conv_1/"
    else:
        block, _, part = layer.removesuffix("_BN").rpartition("_")
        place = f"{block.replace('block_', 'expanded_conv_')}/{part}/"
    kernel = "depthwise_weights" if place.endswith("depthwise/") else "weights"
    return f"MobilenetV2/{place}{norm}{kernel if variable == 'kernel' else variable}"


def object_name(path: str) -> str:
    """The same as TF 2's Object Detection API has it."""
    layer, _, variable = path.rpartition("/")
    number = layers().index(layer)
    name = "depthwise_kernel" if layer.endswith("depthwise") else variable
    return f"model/_feature_extractor/mobilenet_v2/layer_with_weights-{number}/{name}"


def write(values: dict[str, Any], prefix: str) -> None:
    """A checkpoint with exactly these keys."""
    names = sorted(values)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(values[name]) for name in names],
    )


def test_names_by_hand() -> None:
    assert layers()[:8] == [
        "Conv1",
        "bn_Conv1",
        "expanded_conv_depthwise",
        "expanded_conv_depthwise_BN",
        "expanded_conv_project",
        "expanded_conv_project_BN",
        "block_1_expand",
        "block_1_expand_BN",
    ]
    attribute = ".ATTRIBUTES/VARIABLE_VALUE"
    theirs = {
        "FeatureExtractor/MobilenetV2/Conv/weights": "Conv1/kernel",
        "MobilenetV2/Conv_1/BatchNorm/moving_mean": "Conv_1_bn/moving_mean",
        "FeatureExtractor/MobilenetV2/expanded_conv/project/weights": "expanded_conv_project/kernel",
        "MobilenetV2/expanded_conv_16/depthwise/depthwise_weights": "block_16_depthwise/kernel",
        "MobilenetV2/expanded_conv_3/expand/BatchNorm/gamma": "block_3_expand_BN/gamma",
        f"model/_feature_extractor/mobilenet_v2/layer_with_weights-2/depthwise_kernel/{attribute}": (
            "expanded_conv_depthwise/kernel"
        ),
        f"_feature_extractor/classification_backbone/layer_with_weights-7/beta/{attribute}": (
            "block_1_expand_BN/beta"
        ),
    }
    others = [
        "FeatureExtractor/MobilenetV2/Conv/weights/Momentum",
        "FeatureExtractor/MobilenetV2/layer_19_1_Conv2d_2_1x1_256/weights",
        "BoxPredictor_0/BoxEncodingPredictor/weights",
        f"model/_feature_extractor/mobilenet_v2/layer_with_weights-104/kernel/{attribute}",
        "model/_box_predictor/layer/kernel",
        "global_step",
    ]
    assert keras_names([*theirs, *others]) == {ours: name for name, ours in theirs.items()}


@pytest.mark.slow
def test_the_layers_are_those_of_keras() -> None:
    backbone = shared().get_layer(BACKBONE)
    assert layers() == [layer.name for layer in backbone.layers if layer.weights]


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.parametrize(
    ("their_name", "head_name"),
    [
        (lambda path: f"FeatureExtractor/{slim_name(path)}", "BoxPredictor_0/ClassPredictor/weights"),
        (slim_name, "MobilenetV2/Logits/Conv2d_1c_1x1/weights"),
        (
            lambda path: f"{object_name(path)}/.ATTRIBUTES/VARIABLE_VALUE",
            "model/_box_predictor/kernel/.ATTRIBUTES/VARIABLE_VALUE",
        ),
    ],
    ids=["TF 1 detector", "TF-Slim classifier", "TF 2 detector"],
)
def test_the_backbone_is_taken_out_of_a_checkpoint(
    their_name: Callable[[str], str], head_name: str, tmp_path: Path
) -> None:
    model = shared()
    # Other values in each case.
    rng = np.random.default_rng(len(head_name))
    values = {
        variable.path: rng.normal(size=variable.shape).astype(np.float32)
        for variable in model.get_layer(BACKBONE).variables
    }
    theirs = {their_name(path): value for path, value in values.items()}
    assert len(theirs) == len(values) == 260
    write({**theirs, head_name: np.zeros(3, np.float32)}, str(tmp_path / "model.ckpt"))
    head = [weight.numpy() for weight in model.get_layer(HEAD).weights]

    source = open_source(str(tmp_path / "model.ckpt.index"), model)
    config = WarmStartConfig.model_validate({"from": "it", "fine_tune_checkpoint_type": "classification"})
    comparison = warm_start(model, source, config)

    variables = by_path(model.variables)
    for path, value in values.items():
        np.testing.assert_array_equal(variables[path], value)
    for weight, before in zip(model.get_layer(HEAD).weights, head, strict=True):
        np.testing.assert_array_equal(weight, before)
    assert not comparison.missing
    assert not comparison.misfits
    assert comparison.unused == {head_name: "the network has no such variable"}


@pytest.mark.slow
def test_a_detector_takes_all_of_another_but_its_classes(tmp_path: Path) -> None:
    def given(model: keras.Model, kind: str, source: Any, names: tuple[str, ...]) -> Any:
        config = WarmStartConfig.model_validate({"from": "it", "fine_tune_checkpoint_type": kind})
        return warm_start(model, source, config, names)

    trained = detector(classes=2)
    for variable in trained.trainable_variables:
        variable.assign(variable + 1.0)
    trained.save(tmp_path / "model.keras")
    # Other classes, three of them: what is of them starts anew.
    other = detector(classes=3)
    comparison = given(other, "detection", open_source(str(tmp_path / "model.keras"), other), tuple("abc"))
    assert sorted(comparison.misfits) == sorted(
        f"class_predictor_{n}/{name}" for n in (1, 2) for name in ("kernel", "bias")
    )
    theirs = by_path(trained.variables)
    for path, variable in by_path(other.variables).items():
        if path not in comparison.misfits:
            np.testing.assert_array_equal(variable, theirs[path], err_msg=path)
    # As many, but others: where the source says which they were.
    other = detector(classes=2)
    source = open_source(str(tmp_path / "model.keras"), other)
    named = type(source)(source.path, source.shapes, source.read, ("car", "bus"))
    comparison = given(other, "detection", named, ("cat", "dog"))
    assert {path for path in comparison.unused if comparison.unused[path] == "of other classes"} == {
        f"class_predictor_{n}/{name}" for n in (1, 2) for name in ("kernel", "bias")
    }
    comparison = given(other, "detection", named, ("car", "bus"))
    assert not comparison.unused
    # All or nothing.
    other = detector(classes=2)
    given(other, "full", open_source(str(tmp_path / "model.keras"), other), ())
    for path, variable in by_path(other.variables).items():
        np.testing.assert_array_equal(variable, theirs[path], err_msg=path)
    other = detector(classes=3)
    with pytest.raises(MiranteError, match="not everything fits; for other classes take detection"):
        given(other, "full", open_source(str(tmp_path / "model.keras"), other), ())
