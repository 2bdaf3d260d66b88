"""Settings of augmentation: the part `training.augmentation` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import Float, NotNegative, Number, Settings, Share

Scale = Annotated[Number, Field(gt=0.0, le=2.0)]


class CropConfig(Settings):
    """The part of an image that is cut out and brought back to the image's size."""

    area: tuple[Share, Share] = Field(
        (1.0, 1.0), description="least and largest share of the image's area; [1, 1] cuts nothing"
    )
    aspect: tuple[Float, Float] = Field(
        (3 / 4, 4 / 3), description="least and largest width to height, as a share of the image's own"
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> CropConfig:
        for name, (low, high) in (("area", self.area), ("aspect", self.aspect)):
            if not 0.0 < low <= high < float("inf"):
                raise ValueError(f"{name}: expected [least, largest], both above 0, got [{low}, {high}]")
        return self


class ObjectCropConfig(Settings):
    """A part of an image that is cut out so that something is left to be found, and enlarged to its size."""

    chance: Share = Field(0.0, description="of each image; the others stay whole")
    area: tuple[Share, Share] = Field((0.3, 1.0), description="least and largest share of the image's area")
    aspect: tuple[Float, Float] = Field(
        (0.5, 2.0), description="least and largest width to height, as a share of the image's own"
    )
    min_overlap: tuple[Share, ...] = Field(
        (0.1, 0.3, 0.5, 0.7, 0.9), description="the part overlaps a box by one of these at least, as IoU"
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> ObjectCropConfig:
        for name, (low, high) in (("area", self.area), ("aspect", self.aspect)):
            if not 0.0 < low <= high < float("inf"):
                raise ValueError(f"{name}: expected [least, largest], both above 0, got [{low}, {high}]")
        if not self.min_overlap:
            raise ValueError("min_overlap: at least one is needed, e.g. [0.5]; 0 takes any part")
        return self


class ZoomOutConfig(Settings):
    """The image made smaller, in a larger empty frame."""

    chance: Share = Field(0.0, description="of each image; the others stay as large")
    largest: Annotated[Number, Field(ge=1.0, le=8.0)] = Field(
        2.0, description="side of the frame, at most, by that of the image"
    )


class RandAugmentConfig(Settings):
    """Changes by chance out of a list of thirteen, all of one strength."""

    ops: NotNegative = Field(0, description="how many changes each image gets; 0: none")
    magnitude: Share = Field(0.3, description="how strong they are; 1 is hard to recognise")


class AugmentationConfig(Settings):
    """How training images are varied, in this order; evaluation and serving never are."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = Field(
        "none", description="mirrored or not, by an even throw for each direction"
    )
    translation: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="shifted by up to this share of height and width; what is uncovered is mirrored"
    )
    crop: CropConfig = CropConfig()
    zoom: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="shown larger or smaller by up to this share; what is uncovered is mirrored"
    )
    rotation: Annotated[Number, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="turned by up to this share of a full circle, either way (0.5: any angle); mirrored"
    )
    brightness: Share = Field(0.0, description="lighter or darker by up to this share of the range")
    contrast: Share = Field(0.0, description="stronger or weaker by up to this share")
    saturation: Share = Field(0.0, description="colours stronger or weaker by up to this share")
    hue: Annotated[Number, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="colours turned by up to this share of the colour circle, either way"
    )
    rand_augment: RandAugmentConfig = RandAugmentConfig()
    erasing: Share = Field(
        0.0, description="chance that a rectangle of 2 to 33 % of the image is filled with 0"
    )
    zoom_out: ZoomOutConfig = Field(ZoomOutConfig(), description="for detection")
    object_crop: ObjectCropConfig = Field(ObjectCropConfig(), description="for detection")
    mix_up: Annotated[Number, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="alpha: images and labels blended with another of the batch; 0.2 is usual"
    )
    cut_mix: Annotated[Number, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="alpha: a rectangle of another of the batch pasted in, labels by area; 1 is usual"
    )

    @model_validator(mode="after")
    def _alphas_can_be_drawn_by(self) -> AugmentationConfig:
        for name, alpha in (("mix_up", self.mix_up), ("cut_mix", self.cut_mix)):
            # Both gammas that a share is drawn by are then the least number of 32 bits, and the share is 0.5.
            if 0.0 < alpha < 0.05:
                raise ValueError(
                    f"{name}: expected 0 (off) or an alpha of 0.05 to 10, got {alpha}: by a smaller one, "
                    "shares cannot be drawn in 32 bits"
                )
        return self
