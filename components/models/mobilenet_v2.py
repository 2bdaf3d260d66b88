"""MobileNetV2 of any width, from `keras.applications`.

Source: Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, 2018.
"""

from __future__ import annotations

import keras

from components.config import ModelConfig
from components.errors import MiranteError
from components.models import linear_head
from components.models.pretrained import check_weights_file, pooled_backbone

# Filters of the last projection, `block_16_project`: 320 x alpha rounded to a multiple of 8, which tells the
# published widths apart.
ALPHA_BY_PROJECTION = {112: 0.35, 160: 0.5, 240: 0.75, 320: 1.0, 416: 1.3, 448: 1.4}


def alpha_of(weights_file: str) -> float:
    """The width multiplier of a MobileNetV2 weights file (.h5), read from its tensors' shapes.

    Raises:
        MiranteError: The file is no HDF5 file, or holds no MobileNetV2 of a known width.
    """
    import h5py

    filters: list[int] = []

    def visit(name: str, item: object) -> None:
        if "block_16_project/" in name and isinstance(item, h5py.Dataset) and item.ndim == 4:
            filters.append(item.shape[-1])

    try:
        with h5py.File(weights_file) as file:
            file.visititems(visit)
    except OSError as e:
        raise MiranteError(f"model.weights: {weights_file} cannot be read as an HDF5 file: {e}") from e
    if not filters or filters[0] not in ALPHA_BY_PROJECTION:
        raise MiranteError(
            f"model.weights: {weights_file} holds no MobileNetV2 of a known width (its block_16_project has "
            f"{filters[0] if filters else 'no'} filters); is it another network's? Else set model.alpha"
        )
    return ALPHA_BY_PROJECTION[filters[0]]


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Backbone `[N, H, W, 3]` in [-1, 1] to `[N, 1280]` (less below alpha 1), head to logits."""
    alpha = config.alpha
    if alpha is None:
        check_weights_file(config.weights)
        alpha = alpha_of(config.weights) if config.weights not in (None, "imagenet") else 1.0
    backbone = pooled_backbone(keras.applications.MobileNetV2, config, input_shape, alpha=alpha)
    return backbone, linear_head(backbone.output_shape[-1], num_classes, config.dropout)
