"""Settings of the network: the part `model` of a recipe, and which networks there are."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Literal, get_args

from pydantic import Field, JsonValue, model_validator

from components.base.settings import IsPath, Number, PositiveFloat, Settings
from components.tasks.detection.config import DetectionConfig
from components.transform.config import Normalization

EfficientNet = Literal[
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]
Detector = Literal["ssd_mobilenet_v2"]
BuiltInModel = Literal["lenet", "cifar_resnet", "mobilenet_v2", "vgg16", EfficientNet, Detector]
EFFICIENTNETS: tuple[EfficientNet, ...] = get_args(EfficientNet)
DETECTORS: tuple[Detector, ...] = get_args(Detector)
BUILT_IN_MODELS: tuple[BuiltInModel, ...] = get_args(BuiltInModel)
# Networks that have a width.
_WITH_ALPHA = ("mobilenet_v2", "ssd_mobilenet_v2")
# The least height and width that each network takes, in pixels.
SMALLEST_PX: dict[str, int] = {
    "lenet": 16,
    "cifar_resnet": 2,
    "mobilenet_v2": 32,
    "ssd_mobilenet_v2": 64,
    "vgg16": 32,
    **dict.fromkeys(EFFICIENTNETS, 32),
}
# What the published ImageNet weights of each model were trained on. Feeding them anything else trains
# without an error and never gets good, so a recipe that does is refused.
PRETRAINED_NORMALIZATION: dict[str, Normalization] = {
    "mobilenet_v2": "minus_one_one",
    "ssd_mobilenet_v2": "minus_one_one",
    "vgg16": "imagenet_caffe",
    **dict.fromkeys(EFFICIENTNETS, "none"),
}
_BUILDER = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")


class ModelConfig(Settings):
    """The network and its initial weights (docs/models.md)."""

    name: str = Field(
        "mobilenet_v2",
        description="built-in network (docs/models.md), or your own function as package.module:function",
    )
    weights: Annotated[str | None, IsPath(words=("imagenet",), makes_model=True)] = Field(
        None, description="weights file, or `imagenet` for Keras' download; null for random weights"
    )
    alpha: PositiveFloat | None = Field(
        None,
        description="width of mobilenet_v2 and ssd_mobilenet_v2, as a factor; null for that of the "
        "weights file, or 1",
    )
    dropout: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="share of the features that training drops before the last layers"
    )
    batch_norm: bool = Field(False, description="batch normalisation after each convolution of lenet")
    residual: bool = Field(False, description="a residual block after each pooling of lenet")
    options: dict[str, JsonValue] = Field({}, description="any options of your own network")
    detection: DetectionConfig = Field(DetectionConfig(), description="settings of ssd_mobilenet_v2")

    @property
    def task(self) -> Literal["classification", "detection"]:
        """What the network is for."""
        return "detection" if self.name in DETECTORS else "classification"

    @property
    def builder(self) -> tuple[str, str] | None:
        """Module and function of a network of the user's own; None for a built-in one."""
        match = _BUILDER.fullmatch(self.name)
        return (match["module"], match["function"]) if match else None

    @model_validator(mode="after")
    def _name_is_known(self) -> ModelConfig:
        if self.name not in BUILT_IN_MODELS and self.builder is None:
            near = difflib.get_close_matches(self.name, BUILT_IN_MODELS, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise ValueError(
                f"name: there is no {self.name!r}{hint} Known here: {', '.join(BUILT_IN_MODELS)}; a network "
                "of your own is named by its function, as package.module:function"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_model(self) -> ModelConfig:
        if self.weights is not None and self.name not in PRETRAINED_NORMALIZATION and not self.builder:
            raise ValueError(
                f"weights: {self.name} starts from random weights; weights are for "
                f"{', '.join(sorted(PRETRAINED_NORMALIZATION))}"
            )
        if self.alpha is not None and self.name not in _WITH_ALPHA:
            raise ValueError(f"alpha: only {' and '.join(_WITH_ALPHA)} have a width, got name: {self.name}")
        if self.detection != DetectionConfig() and self.task != "detection":
            raise ValueError(
                f"detection: only {', '.join(DETECTORS)} finds boxes, got name: {self.name}; leave it out"
            )
        for key in ("batch_norm", "residual"):
            if getattr(self, key) and self.name != "lenet":
                raise ValueError(
                    f"{key}: only lenet can be built with and without, got name: {self.name}; leave it out"
                )
        if self.options and not self.builder:
            raise ValueError(
                f"options: these are for a network of your own (name: package.module:function), {self.name} "
                f"knows none; got {', '.join(sorted(self.options))}"
            )
        return self


def check_input(model: ModelConfig, height_px: int, width_px: int, channels: int) -> None:
    """Refuse images that a built-in network cannot take.

    Raises:
        ValueError: It names the key of `transform`.
    """
    least = SMALLEST_PX.get(model.name, 1)
    if min(height_px, width_px) < least:
        key = "height_px" if height_px < least else "width_px"
        raise ValueError(
            f"transform.{key}: {model.name} needs images of at least {least} x {least} px, got {height_px} x "
            f"{width_px}; raise transform.height_px and transform.width_px, or take another model.name"
        )
    if model.weights is not None and channels != 3 and model.builder is None:
        raise ValueError(
            f"transform.channels: the pretrained weights of {model.name} are for 3, got {channels}; gray "
            "images become images of 3 channels too"
        )
