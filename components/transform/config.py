"""Settings of Transform: the part `transform` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.base.settings import Pixels, Settings

Normalization = Literal["none", "zero_one", "minus_one_one", "imagenet", "imagenet_caffe", "standardize"]


class TransformConfig(Settings):
    """The pixels that a model sees: float32 [height_px, width_px, channels]."""

    height_px: Pixels = Field(
        224,
        description="height that every image is scaled to, in pixels; by default the network's own with "
        "model.name: keras/<Name>",
    )
    width_px: Pixels = Field(224, description="width that every image is scaled to, in pixels; likewise")
    channels: Literal[1, 3] = Field(3, description="1 for gray images, 3 for RGB; images are converted")
    resize: Literal["bilinear", "pad"] = Field(
        "bilinear",
        description="bilinear stretches the image to the whole frame; pad keeps its aspect ratio and "
        "fills the rest with 0",
    )
    normalization: Normalization = Field(
        "zero_one",
        description="pixel values of 0 to 255 become: the same with none, 0 to 1 with zero_one, -1 to 1 "
        "with minus_one_one, those of Keras' ImageNet models with imagenet (torch mode) and "
        "imagenet_caffe, mean 0 and deviation 1 of each channel of the train split with "
        "standardize; by default the network's own with model.name: keras/<Name>",
    )

    @model_validator(mode="after")
    def _colour_modes_need_colour(self) -> TransformConfig:
        if self.channels != 3 and self.normalization.startswith("imagenet"):
            raise ValueError(
                f"normalization: {self.normalization} needs channels: 3, got channels: {self.channels}"
            )
        return self
