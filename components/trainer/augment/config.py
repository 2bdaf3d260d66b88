"""Settings of augmentation: the part `training.augmentation` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.base.settings import Float, NotNegative, Number, Settings, Share

Scale = Annotated[Number, Field(gt=0.0, le=2.0)]


def _check_range(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not 0.0 < low <= high < float("inf"):
        raise ValueError(f"expected [least, largest], both above 0, got [{low}, {high}]")
    return bounds


AreaRange = Annotated[tuple[Share, Share], AfterValidator(_check_range)]
AspectRange = Annotated[tuple[Float, Float], AfterValidator(_check_range)]


class CropConfig(Settings):
    """A random part of the image, scaled to the image's size."""

    area: AreaRange = Field(
        (1.0, 1.0), description="least and largest share of the image's area; [1, 1] for no crop"
    )
    aspect: AspectRange = Field(
        (3 / 4, 4 / 3), description="least and largest aspect ratio, relative to the image's own"
    )


class ObjectCropConfig(Settings):
    """A random part of the image with an object in it, scaled to the image's size."""

    chance: Share = Field(0.0, description="share of the images that are cropped")
    area: AreaRange = Field((0.3, 1.0), description="least and largest share of the image's area")
    aspect: AspectRange = Field(
        (0.5, 2.0), description="least and largest aspect ratio, relative to the image's own"
    )
    min_overlap: tuple[Share, ...] = Field(
        (0.1, 0.3, 0.5, 0.7, 0.9), description="the crop overlaps a box by at least one of these, as IoU"
    )

    @model_validator(mode="after")
    def _overlaps_something(self) -> ObjectCropConfig:
        if not self.min_overlap:
            raise ValueError("min_overlap: at least one is needed, e.g. [0.5]; 0 takes any part")
        return self


class ZoomOutConfig(Settings):
    """The image made smaller, in a larger empty frame."""

    chance: Share = Field(0.0, description="share of the images that are made smaller")
    largest: Annotated[Number, Field(ge=1.0, le=8.0)] = Field(
        2.0, description="largest side of the frame, as a multiple of the image's side"
    )


class RandAugmentConfig(Settings):
    """Random changes out of a list of thirteen, all of one strength."""

    ops: NotNegative = Field(0, description="changes of each image; 0 for none")
    magnitude: Share = Field(0.3, description="strength of the changes; 1 is hard to recognise")


class AugmentationConfig(Settings):
    """Random changes of training images alone, in this order (docs/augmentation.md)."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = Field(
        "none", description="flip each direction with probability 0.5"
    )
    translation: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="largest shift, as a share of height and width; the uncovered part is mirrored"
    )
    crop: CropConfig = CropConfig()
    zoom: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="largest change of size, as a share; the uncovered part is mirrored"
    )
    rotation: Annotated[Number, Field(ge=0.0, le=0.5)] = Field(
        0.0,
        description="largest angle either way, as a share of a full circle (0.5 for any angle); the "
        "uncovered part is mirrored",
    )
    brightness: Share = Field(
        0.0, description="largest change of brightness either way, as a share of the range"
    )
    contrast: Share = Field(0.0, description="largest change of contrast either way, as a share")
    saturation: Share = Field(0.0, description="largest change of saturation either way, as a share")
    hue: Annotated[Number, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="largest change of hue either way, as a share of the colour circle"
    )
    rand_augment: RandAugmentConfig = RandAugmentConfig()
    trivial_augment: bool = Field(
        False,
        description="one of the thirteen changes of rand_augment, or none, for each image; each of its own "
        "random strength",
    )
    erasing: Share = Field(
        0.0, description="probability that a rectangle of 2 to 33 % of the image is filled with 0"
    )
    zoom_out: ZoomOutConfig = Field(
        ZoomOutConfig(), description="the image in a larger empty frame; for detection"
    )
    object_crop: ObjectCropConfig = Field(
        ObjectCropConfig(), description="a part of the image with an object in it; for detection"
    )
    mix_up: Annotated[Number, Field(ge=0.0, le=10.0)] = Field(
        0.0,
        description="alpha of MixUp: images and labels blended with another of the batch; 0.2 is usual, 0 "
        "for none",
    )
    cut_mix: Annotated[Number, Field(ge=0.0, le=10.0)] = Field(
        0.0,
        description="alpha of CutMix: a rectangle of another image of the batch pasted in, labels by "
        "area; 1 is usual, 0 for none",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> AugmentationConfig:
        if self.trivial_augment and self.rand_augment.ops:
            raise ValueError(
                f"trivial_augment: expected rand_augment.ops: 0 next to it, got {self.rand_augment.ops}; "
                "leave one of them out"
            )
        return self

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
