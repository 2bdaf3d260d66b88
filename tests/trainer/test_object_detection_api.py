"""Backbones out of checkpoints of the Object Detection API, written here under the names that it gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError
from components.models import BACKBONE, HEAD, build_model, is_of_classes
from components.models.config import DetectionConfig, ModelConfig
from components.trainer.checkpoints import by_path
from components.trainer.warm_start.coco_classes import COCO, take_classes
from components.trainer.warm_start.coco_head import head_names, reorder_codes
from components.trainer.warm_start.config import WarmStartConfig
from components.trainer.warm_start.object_detection_api import keras_names, layers
from components.trainer.warm_start.source import Source, open_source
from components.trainer.warm_start.start import _warn_of_levels, warm_start
from components.transform.levels import Levels


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


def head_name(path: str) -> str:
    """A variable of the head as the API's SSDLite has it."""
    layer, _, variable = path.rpartition("/")
    is_norm = layer.endswith("_norm")
    layer, _, part = layer.removesuffix("_norm").partition("_depthwise")
    depthwise = "_depthwise" if layer + "_depthwise" in path else ""
    name = {"kernel": "depthwise_weights" if depthwise else "weights", "bias": "biases"}.get(
        variable, variable
    )
    end = f"{depthwise}/{'BatchNorm/' if is_norm else ''}{name}"
    if layer.startswith("extra"):
        _, number, part = (*layer.split("_"), "expand")[:3]
        kind = (
            f"1_Conv2d_{int(number) + 1}_1x1_8"
            if part == "reduce"
            else f"2_Conv2d_{int(number) + 1}_3x3_s2_16"
        )
        return f"FeatureExtractor/MobilenetV2/layer_19_{kind}{end}"
    kind = "BoxEncoding" if layer.startswith("box") else "Class"
    return f"BoxPredictor_{int(layer.rpartition('_')[2]) - 1}/{kind}Predictor{end}"


def write_coco(model: keras.Model, prefix: str, slots: int = 91) -> dict[str, Any]:
    """A checkpoint of a COCO detector, three anchors per place on the first map; values by our paths."""
    rng = np.random.default_rng(3)
    values = {}
    for path, variable in by_path(model.variables).items():
        shape = list(variable.shape)
        if path.startswith("class_predictor_") and "depthwise" not in path:
            shape[-1] = (3 if "_1/" in path else 6) * slots
        elif path.startswith("box_predictor_1/"):
            shape[-1] = 12
        values[path] = rng.normal(size=shape).astype(np.float32)
    of_backbone = {variable.path for variable in model.get_layer(BACKBONE).variables}
    named = {
        f"FeatureExtractor/{slim_name(path)}" if path in of_backbone else head_name(path): value
        for path, value in values.items()
    }
    assert len(named) == len(values)
    write({**named, "global_step": np.zeros(1, np.float32)}, prefix)
    return values


def coco_detector(**detection: Any) -> keras.Model:
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    options = {"name": "ssd_mobilenet_v2", "alpha": 0.35, "detection": {"extra_layers": 1, **detection}}
    return build_model(ModelConfig.model_validate(options), (64, 64, 3), 3)


CLASSES = ("Traffic-Light", "größe", "zebra")


def test_names_of_a_head_by_hand() -> None:
    theirs = {
        "BoxPredictor_0/BoxEncodingPredictor_depthwise/depthwise_weights": "box_predictor_1_depthwise/kernel",
        "BoxPredictor_0/BoxEncodingPredictor_depthwise/BatchNorm/beta": "box_predictor_1_depthwise_norm/beta",
        "BoxPredictor_0/BoxEncodingPredictor/weights": "box_predictor_1/kernel",
        "BoxPredictor_5/ClassPredictor_depthwise/depthwise_weights": "class_predictor_6_depthwise/kernel",
        "BoxPredictor_5/ClassPredictor/biases": "class_predictor_6/bias",
        "FeatureExtractor/MobilenetV2/layer_19_1_Conv2d_2_1x1_256/weights": "extra_1_reduce/kernel",
        "FeatureExtractor/MobilenetV2/layer_19_2_Conv2d_5_3x3_s2_128_depthwise/depthwise_weights": (
            "extra_4_depthwise/kernel"
        ),
        "FeatureExtractor/MobilenetV2/layer_19_2_Conv2d_5_3x3_s2_128/BatchNorm/gamma": (
            "extra_4_expand_norm/gamma"
        ),
    }
    # Not SSDLite's: a predictor without a depthwise convolution.
    others = ["BoxPredictor_1/ClassPredictor/weights", "BoxPredictor_0/ClassPredictor/weights", "global_step"]
    assert head_names([*theirs, *others]) == {ours: name for name, ours in theirs.items()}
    assert len(COCO) == 80
    assert (COCO["person"], COCO["zebra"], COCO["toothbrush"]) == (1, 24, 90)
    codes = np.array([[10, 20, 30, 40, 11, 21, 31, 41]])
    assert reorder_codes("box_predictor_2/bias", codes).tolist() == [[20, 10, 40, 30, 21, 11, 41, 31]]
    assert reorder_codes("box_predictor_2_depthwise/kernel", codes) is codes


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["focal", "hard_negative"])
def test_the_head_of_a_coco_detector_is_taken_where_it_fits(loss: str, tmp_path: Path) -> None:
    model = coco_detector(classification_loss=loss)
    theirs = write_coco(model, str(tmp_path / "model.ckpt"))
    before = {path: variable.numpy() for path, variable in by_path(model.variables).items()}
    source = open_source(str(tmp_path / "model.ckpt"), model)
    assert source.is_of_api
    assert source.input_range == (-1, 1)
    source, said = take_classes(source, by_path(model.variables), CLASSES, DetectionConfig())
    assert said == (
        "the head of a COCO detector: 2 class predictors taken, with the rows of Traffic-Light, zebra by "
        "name; from scratch: größe, class_predictor_1 (3 anchors per place there, 6 here)"
    )
    config = WarmStartConfig.model_validate({"from": "it", "fine_tune_checkpoint_type": "detection"})
    comparison = warm_start(model, source, config, CLASSES)
    assert sorted(comparison.missing) == ["class_predictor_1/bias", "class_predictor_1/kernel"]
    assert sorted(comparison.misfits) == ["box_predictor_1/bias", "box_predictor_1/kernel"]
    of_first_map = [*comparison.missing, *comparison.misfits]
    after = {path: variable.numpy() for path, variable in by_path(model.variables).items()}
    rows = 3 if loss == "focal" else 4
    for path, value in after.items():
        if path in of_first_map:
            np.testing.assert_array_equal(value, before[path])
        elif path.startswith("class_predictor") and "depthwise" not in path:
            ours, first = value.reshape(-1, 6, rows), before[path].reshape(-1, 6, rows)
            coco = theirs[path].reshape(-1, 6, 91)
            np.testing.assert_array_equal(ours[..., rows - 3], coco[..., 10])
            np.testing.assert_array_equal(ours[..., rows - 2], first[..., rows - 2])
            np.testing.assert_array_equal(ours[..., rows - 1], coco[..., 24])
            assert loss == "focal" or (ours[..., 0] == coco[..., 0]).all()
        else:
            np.testing.assert_array_equal(value, reorder_codes(path, theirs[path]), err_msg=path)


class Shaped:
    """A variable of which only the shape counts."""

    def __init__(self, *shape: int):
        self.shape = shape

    def numpy(self) -> Any:
        return np.zeros(self.shape, np.float32)


def take_shapes(slots: int, rows: int, **detection: Any) -> tuple[set[str], str]:
    """Return what is left of a source with predictors of six anchors per place, and the sentence."""

    def shapes(logits: int) -> dict[str, tuple[int, ...]]:
        return {
            "class_predictor_1_depthwise/kernel": (3, 3, 8, 1),
            "class_predictor_1/kernel": (1, 1, 8, 6 * logits),
            "class_predictor_1/bias": (6 * logits,),
            "box_predictor_1/kernel": (1, 1, 8, 24),
            "extra_1_reduce/kernel": (1, 1, 8, 8),
            "block_3_expand/kernel": (1, 1, 8, 8),
        }

    def read(name: str) -> Any:
        return np.ones(shapes(slots)[name], np.float32)

    variables = {name: Shaped(*shape) for name, shape in shapes(rows).items()}
    source = Source("made", shapes(slots), read, is_of_api=True)
    taken, said = take_classes(source, variables, CLASSES, DetectionConfig(**detection))
    return set(taken.shapes), said


@pytest.mark.parametrize(("slots", "rows"), [(4, 4), (3, 3), (21, 3)])
def test_rows_of_other_classes_are_not_taken_for_their_shape(slots: int, rows: int) -> None:
    kept, said = take_shapes(slots, rows)
    assert not kept & {"class_predictor_1/kernel", "class_predictor_1/bias"}
    assert {"class_predictor_1_depthwise/kernel", "box_predictor_1/kernel"} <= kept
    assert f"class_predictor_1 (the checkpoint's is for {slots - 1} classes that are not COCO's)" in said


def test_a_head_for_other_maps_or_anchors_is_not_taken() -> None:
    kept, said = take_shapes(91, 3, neck="fpn")
    assert kept == {"block_3_expand/kernel"}
    assert "nothing of it taken, since neck: fpn puts another map before its maps" in said
    # As many anchors in another order, and others.
    for ratios in ((1, 0.5, 2, 3, 1 / 3), (1, 2, 0.5, 4, 0.25), (1,)):
        kept, said = take_shapes(91, 3, aspect_ratios=ratios)
        assert kept == {"block_3_expand/kernel", "extra_1_reduce/kernel"}
        assert "no predictors taken, since they are for aspect_ratios 1, 2, 0.5, 3, 0.333, and" in said
    kept, said = take_shapes(91, 3, aspect_ratios=(1, 2, 0.5, 3, 0.3333))
    assert len(kept) == 6
    assert "1 class predictor taken" in said


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "slots"), [("hard_negative", 4), ("focal", 3)])
def test_classes_that_are_not_cocos_keep_their_values(loss: str, slots: int, tmp_path: Path) -> None:
    model = coco_detector(classification_loss=loss)
    write_coco(model, str(tmp_path / "other"), slots=slots)
    before = {path: variable.numpy() for path, variable in by_path(model.variables).items()}
    source = open_source(str(tmp_path / "other"), model)
    source, _ = take_classes(source, by_path(model.variables), CLASSES, DetectionConfig())
    config = WarmStartConfig.model_validate({"from": "it", "fine_tune_checkpoint_type": "detection"})
    comparison = warm_start(model, source, config, CLASSES)
    rows = [path for path in before if is_of_classes(path)]
    assert sorted(comparison.missing) == sorted(rows)
    for path in rows:
        np.testing.assert_array_equal(by_path(model.variables)[path], before[path])


def test_pixels_of_another_range_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    source = Source("made", {}, lambda _: np.zeros(0), input_range=(-1.0, 1.0))
    for low, is_warned in ((0.0, True), (-1.0, False)):
        caplog.clear()
        run: Any = SimpleNamespace(levels=Levels((low,) * 3, (1.0,) * 3))
        _warn_of_levels(source, run)
        assert ("set transform.normalization to minus_one_one" in caplog.text) == is_warned
