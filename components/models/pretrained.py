"""Backbones of keras.applications with ImageNet weights from a file, from Keras' own download, or none."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from components.base.errors import MiranteError
from components.models import BACKBONE
from components.models.batch_norm import fuse_batch_norms
from components.models.config import ModelConfig
from components.models.weights_file import check_weights
from components.transform.pixels import IMAGENET_STD

# How near a file's variances must be to ImageNet's deviations to be taken for them.
_TOLERANCE = 1e-3


def pooled_backbone(
    network: Callable[..., Any], config: ModelConfig, input_shape: tuple[int, int, int], **options: Any
) -> keras.Model:
    """Build `network` without its top, averaged over the image: `[N, H, W, 3]` to `[N, D]`."""
    backbone = application(network, config, input_shape, pooling="avg", **options)
    # Not by the argument `name`: EfficientNet's download would take it for the name of the published file.
    backbone.name = BACKBONE
    return backbone


def application(
    network: Callable[..., Any], config: ModelConfig, input_shape: tuple[int, int, int], **options: Any
) -> keras.Model:
    """Build a network of keras.applications without its top, with the weights of `model.weights`.

    Raises:
        UsageError: `model.weights` is no file, or not one of this network's.
        MiranteError: It does not fit all the same, or could not be downloaded.
    """
    weights = config.weights
    check_weights(config)
    try:
        backbone = network(input_shape=input_shape, include_top=False, weights=weights, **options)
    except Exception as e:
        if weights == "imagenet":
            raise MiranteError(
                f"model.weights: imagenet: Keras could not download the weights of {config.name} ({e}); "
                "on a machine without network, give the path of a weights file"
            ) from e
        if weights is not None:
            widths = {key: value for key, value in options.items() if key != "pooling"}
            raise MiranteError(
                f"model.weights: {weights} does not fit {config.name}{f' {widths}' if widths else ''} at "
                f"{input_shape[0]} x {input_shape[1]} x {input_shape[2]}: {e}"
            ) from e
        raise MiranteError(f"model.name: {config.name} cannot be built at {input_shape}: {e}") from e
    if weights is not None and not all(np.isfinite(value).all() for value in backbone.get_weights()):
        raise MiranteError(
            f"model.weights: {weights} holds values that are no numbers (NaN or infinite), so it is damaged: "
            "download it again"
        )
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in backbone.layers):
        backbone = fuse_batch_norms(backbone)
    return backbone


def keep_scaling_in_float32(backbone: keras.Model, *, is_from_file: bool) -> None:
    """Keep layers that scale pixels in 32 bits: bfloat16 would round the mean that they subtract.

    Args:
        backbone: Its weights are loaded.
        is_from_file: Whether they are those of a file, in which EfficientNet's variances can be wrong.
    """
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            layer.dtype_policy = keras.DTypePolicy("float32")
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            if is_from_file:
                _correct_variance(layer)
            layer.finalize_state()


def _correct_variance(layer: keras.layers.Normalization) -> None:
    """Replace deviations, which EfficientNet's published file has by mistake, with variances.

    Keras corrects that with another layer, but only where it downloads the
    file itself; loaded by its path, the same file would see pixels half as large as it was trained on.
    """
    variance = layer.adapt_variance.numpy()
    if variance.shape == (3,) and np.allclose(variance, IMAGENET_STD, atol=_TOLERANCE):
        layer.adapt_variance.assign(np.square(IMAGENET_STD))
