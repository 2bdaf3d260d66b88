"""The page of Transform: the shape of every image after it, and the values of black and white."""

from __future__ import annotations

import os
from collections.abc import Mapping

from components.base import files
from components.base.outcome import Output
from components.pages.markup import make_table
from components.pages.page import Page
from components.pages.tables import find_output


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show what the Transform graph makes of an image."""
    folder = find_output(outputs, "transform_graph").uri
    page.add_text(
        "Every image goes through one graph, in training, in evaluation and in the served model. The graph "
        "decodes, resizes and normalises it."
    )
    height, width, channels = show_shape(page, folder)
    with page.part("Levels"):
        rows = [
            [name, black, white] for name, black, white in _measure_levels(folder, height, width, channels)
        ]
        page.add(make_table(["channel", "black becomes", "white becomes"], rows))
        page.add_note(
            "Measured by sending a black and a white image through the graph; values in between are in "
            "proportion."
        )
        if channels == 3:
            page.add_note(
                "The channels are red, green, blue; with normalization imagenet_caffe blue, green, red."
            )


def show_shape(page: Page, folder: str) -> tuple[int, int, int]:
    """Add the height, width and channels of transformed images, and return them."""
    height, width, channels = _read_shape(folder)
    page.add_cards(
        [("height, px", height), ("width, px", width), ("channels", channels), ("type", "float32")]
    )
    return height, width, channels


def _read_shape(folder: str) -> tuple[int, int, int]:
    """Return the height, width and channels of transformed images."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    text = files.read_text(os.path.join(folder, "transformed_metadata", "schema.pbtxt"))
    schema = text_format.Parse(text, schema_pb2.Schema())
    (image,) = (feature for feature in schema.feature if feature.name == "image")
    height, width, channels = (dim.size for dim in image.shape.dim)
    return height, width, channels


def _measure_levels(folder: str, height: int, width: int, channels: int) -> list[tuple[int, float, float]]:
    """Return the number of each channel, from 1, with its values of black and white."""
    import tensorflow_transform as tft

    from components.transform.config import TransformConfig
    from components.transform.levels import measured_levels

    config = TransformConfig(height_px=height, width_px=width, channels=1 if channels == 1 else 3)
    levels = measured_levels(tft.TFTransformOutput(folder), config)
    return [(number, *pair) for number, pair in enumerate(zip(levels.black, levels.white, strict=True), 1)]
