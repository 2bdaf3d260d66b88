"""Anchors: the boxes that the network starts from, some at each place of each feature map.

Source: Liu et al., SSD: Single shot multibox detector, 2016 (https://arxiv.org/abs/1512.02325), section 2.2.
Scales grow evenly from the finest map to the coarsest. At each place there is one anchor for each aspect
ratio, and one more square between this map's scale and the next one's.
"""

import math
from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.models.config import DetectionConfig

# Pixels between the places of the finest map of a feature pyramid, and what suits it, in such strides.
PYRAMID_STRIDE = 8
_FITTING_STRIDES = (2, 6)


def scales(config: DetectionConfig, num_maps: int) -> list[float]:
    """Return the anchors' scale on each map, as a share of the image's side."""
    if config.scales is not None:
        return list(config.scales)
    low, high = config.min_scale, config.max_scale
    return [low + (high - low) * k / max(num_maps - 1, 1) for k in range(num_maps)]


def find_misfit(config: DetectionConfig, height_px: int, width_px: int) -> str | None:
    """Return why the smallest anchors do not suit the finest map of a feature pyramid; None if they do.

    Anchors of four strides, as in the pyramid's paper, overlap objects in between. Far larger ones leave the
    finest map without objects.
    """
    if config.neck != "fpn":
        return None
    side_px = min(height_px, width_px)
    scale = config.scales[0] if config.scales else config.min_scale
    key, what = ("scales", "the first one") if config.scales else ("min_scale", "it")
    strides = scale * side_px / PYRAMID_STRIDE
    if _FITTING_STRIDES[0] <= strides <= _FITTING_STRIDES[1]:
        return None
    low, best, high = (
        f"{count * PYRAMID_STRIDE / side_px:.2g}" for count in (_FITTING_STRIDES[0], 4, _FITTING_STRIDES[1])
    )
    return (
        f"model.detection.{key}: expected {low} to {high} for the finest map of neck: fpn, which has a place "
        f"every {PYRAMID_STRIDE} of {side_px} px, got {scale:g}, anchors of {scale * side_px:.0f} px; set "
        f"{what} to {best}, or leave neck out"
    )


def shapes(config: DetectionConfig, num_maps: int) -> list[list[tuple[float, float]]]:
    """Return width and height of the anchors at each place, for each map; shares of the image's sides."""
    of_maps = scales(config, num_maps)
    nexts = [*of_maps[1:], 1.0]
    found = []
    for scale, following in zip(of_maps, nexts, strict=True):
        sides = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in config.aspect_ratios]
        between = math.sqrt(scale * following)
        found.append([*sides, (between, between)])
    return found


def make_anchors(config: DetectionConfig, map_shapes: Sequence[tuple[int, int]]) -> Array:
    """Return all anchors, float32 [A, 4]: map by map, row by row, column by column, shape by shape.

    Args:
        config: The recipe's `model.detection`.
        map_shapes: Rows and columns of each feature map, the finest first.

    They may reach out of the image: cut off, those at its edges would be of other shapes.
    """
    anchors = []
    for (rows, columns), sides in zip(map_shapes, shapes(config, len(map_shapes)), strict=True):
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"
        )
        centres = np.stack([x, y], axis=-1)[:, :, np.newaxis, :]
        half = np.array(sides) / 2
        corners = np.concatenate([centres - half, centres + half], axis=-1)
        anchors.append(corners.reshape(-1, 4))
    return np.concatenate(anchors).astype(np.float32)
