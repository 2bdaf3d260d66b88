"""Settings of Transform: the part `transform` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.base.settings import Pixels, Settings

Normalization = Literal["none", "zero_one", "minus_one_one", "imagenet", "imagenet_caffe", "standardize"]


class TransformConfig(Settings):
    """What every image becomes: float32 [height_px, width_px, channels]."""

    height_px: Pixels = 224
    width_px: Pixels = 224
    channels: Literal[1, 3] = 3
    resize: Literal["bilinear", "pad"] = Field(
        "bilinear", description="bilinear fills the frame; pad keeps the aspect ratio and adds black"
    )
    normalization: Normalization = "zero_one"

    @model_validator(mode="after")
    def _colour_modes_need_colour(self) -> TransformConfig:
        if self.channels != 3 and self.normalization.startswith("imagenet"):
            raise ValueError(
                f"normalization: {self.normalization} needs channels: 3, got channels: {self.channels}"
            )
        return self
