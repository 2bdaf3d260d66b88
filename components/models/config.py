"""Settings of the network: the part `model` of a recipe."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from components.base.settings import IsPath, NotSearched, Number, Positive, PositiveFloat, Settings, Share
from components.base.words import suggest_and_list
from components.models.layers.config import Layer, LayerConfig
from components.models.layers.shapes import find_cut, find_features
from components.models.networks import NETWORKS, SPECIAL_KEYS, Network, names_like, shorten_names
from components.trainer.augment.config import Scale
from components.transform.config import Normalization

_BUILDER = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")


class DetectionConfig(Settings):
    """The part `model.detection`: anchors, losses and output of a detector (docs/detection.md)."""

    max_boxes: Positive | None = Field(
        None,
        description="most boxes of an image in training; null for the most that an image of the data has",
    )
    min_scale: Scale = Field(
        0.2, description="size of the anchors of the finest feature map, as a share of the image's side"
    )
    max_scale: Scale = Field(
        0.95,
        description="size of the anchors of the coarsest feature map, as a share of the image's side; "
        "sizes in between grow evenly",
    )
    scales: tuple[Scale, ...] | None = Field(
        None,
        description="sizes of the anchors of each feature map, the finest first, as shares of the image's "
        "side; null for min_scale and max_scale",
    )
    aspect_ratios: tuple[PositiveFloat, ...] = Field(
        (1.0, 2.0, 0.5, 3.0, 1 / 3),
        description="width to height of the anchors; each map has one more square anchor, between its own "
        "size and the next map's",
    )
    neck: Literal["none", "fpn"] = Field(
        "none",
        description="fpn: a feature pyramid: one more map of the backbone, twice as fine, and each map has "
        "what the coarser ones know; helps with small objects if the anchors are small too (`min_scale`)",
    )
    extra_layers: Annotated[int, Field(ge=0, le=4, strict=True)] = Field(
        4, description="feature maps after those of the backbone, each half as large as the one before"
    )
    matched_iou: Share = Field(
        0.5, description="an anchor must find a box that it overlaps at least this much, as IoU"
    )
    unmatched_iou: Share = Field(
        0.4,
        description="an anchor that overlaps every box less than this, as IoU, is background; anchors in "
        "between do not count",
    )
    train_on_difficult: bool = Field(
        False,
        description="whether boxes that are marked as difficult must be found; otherwise anchors on them "
        "do not count",
    )
    classification_loss: Literal["focal", "hard_negative"] = Field(
        "focal",
        description="focal: focal loss of each class; hard_negative: softmax over boxes and the worst of "
        "the background",
    )
    focal_alpha: Share = Field(
        0.25, description="weight of boxes in the focal loss; background has 1 minus this"
    )
    focal_gamma: Annotated[Number, Field(ge=0.0, le=5.0)] = Field(
        2.0, description="how much less easy anchors count in the focal loss; 0 for all alike"
    )
    negatives_per_positive: PositiveFloat = Field(
        3.0, description="background anchors for each anchor with a box, for hard_negative"
    )
    box_loss: Literal["smooth_l1", "giou"] = Field(
        "smooth_l1", description="smooth L1 of the offsets, or generalised IoU of the boxes"
    )
    box_weight: PositiveFloat = Field(1.0, description="weight of the loss of boxes; that of classes has 1")
    min_score: Share = Field(0.01, description="least score of a box that is served")
    nms_iou: Share = Field(
        0.6,
        description="if two boxes of a class overlap more than this, as IoU, only the better one is served",
    )
    candidates: Positive = Field(
        400, description="boxes of all classes, the best ones, that are compared with each other"
    )
    max_detections: Positive = Field(100, description="most boxes that are served for an image")

    @model_validator(mode="after")
    def _bounds_fit_together(self) -> DetectionConfig:
        if self.unmatched_iou > self.matched_iou:
            raise ValueError(
                f"unmatched_iou: expected at most matched_iou ({self.matched_iou}), got {self.unmatched_iou}"
            )
        if self.min_scale > self.max_scale:
            raise ValueError(
                f"min_scale: expected at most max_scale ({self.max_scale}), got {self.min_scale}"
            )
        own = 2 if self.neck == "none" else 3
        if self.scales is not None and len(self.scales) != own + self.extra_layers:
            raise ValueError(
                f"scales: expected one for each of {own + self.extra_layers} feature maps "
                f"({'two' if own == 2 else 'three'} and extra_layers), got {len(self.scales)}"
            )
        if not self.aspect_ratios:
            raise ValueError("aspect_ratios: at least one is needed, e.g. [1.0]")
        return self

    def num_logits(self, num_classes: int) -> int:
        """Return the logits per anchor: focal loss has one per class, softmax one more for background."""
        return num_classes if self.classification_loss == "focal" else num_classes + 1


class ModelConfig(Settings):
    """The network and its initial weights (docs/models.md)."""

    name: str = Field(
        "mobilenet_v2",
        description="built-in network, keras/<Name> for one of keras.applications (docs/models.md), "
        "ssd_keras/<Name> for a detector on one, or your own function as package.module:function",
    )
    weights: Annotated[
        str | None,
        IsPath(words=("imagenet",), makes_model=True),
        NotSearched("each file needs its own model.name and normalization"),
    ] = Field(None, description="weights file, or `imagenet` for Keras' download; null for random weights")
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
    layers: Annotated[
        tuple[Layer, ...] | None,
        NotSearched("a list of layers is no range of values"),
    ] = Field(None, description="the network's layers, without the last one; by itself it is name: layers")
    options: dict[str, JsonValue] = Field({}, description="any options of your own network")
    detection: DetectionConfig = Field(DetectionConfig(), description="settings of a detector")

    @property
    def network(self) -> Network | None:
        """The row of the built-in network; None for a custom one."""
        return NETWORKS.get(self.name)

    @property
    def builder(self) -> tuple[str, str] | None:
        """Module and function of a custom network; None for a built-in one."""
        match = _BUILDER.fullmatch(self.name)
        return (match["module"], match["function"]) if match else None

    @model_validator(mode="before")
    @classmethod
    def _a_list_of_layers_is_a_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("layers") is not None and "name" not in values:
            return {**values, "name": "layers"}
        return values

    @model_validator(mode="after")
    def _name_is_known(self) -> ModelConfig:
        if self.network is None and self.builder is None:
            known = suggest_and_list(self.name, names_like(self.name))
            raise ValueError(
                f"name: there is no {self.name!r}{known}; a network of your own is named by its function, as "
                "package.module:function"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_network(self) -> ModelConfig:
        if self.network is not None and self.weights is not None and self.network.normalization is None:
            with_weights = (name for name, network in NETWORKS.items() if network.normalization)
            published = sorted(shorten_names(with_weights))
            raise ValueError(
                f"weights: {self.name} starts from random weights; weights are for {', '.join(published)}"
            )
        if self.layers == ():
            raise ValueError("layers: expected one layer or more, got []")
        if self.name == "layers" and self.layers is None:
            raise ValueError("layers: required for name: layers, but not set (docs/models.md)")
        for key in SPECIAL_KEYS:
            if getattr(self, key) == type(self).model_fields[key].default:
                continue
            having = [name for name, network in NETWORKS.items() if key in network.keys]
            if self.name not in having:
                those = " and ".join(shorten_names(having))
                raise ValueError(f"{key}: it is for {those} alone, got name: {self.name}; leave it out")
        if self.options and not self.builder:
            raise ValueError(
                f"options: these are for a network of your own (name: package.module:function), {self.name} "
                f"knows none; got {', '.join(sorted(self.options))}"
            )
        return self


def layers_of(model: ModelConfig) -> tuple[LayerConfig, ...]:
    """Return the layers of a network that is a list of them; nothing for another network."""
    return model.layers or (model.network.layers if model.network else None) or ()


def has_any_size(model: ModelConfig) -> bool:
    """Return whether the weights are the same for images of any size, as far as a recipe tells."""
    if layers := layers_of(model):
        return layers[find_cut(layers) - 1].type == "global_average_pool"
    return model.network is None or model.network.has_any_size


def check_input(model: ModelConfig, height_px: int, width_px: int, channels: int) -> None:
    """Refuse images that a built-in network cannot take.

    Raises:
        ValueError: The message names the key of `transform`, or the layer.
    """
    least = model.network.smallest_px if model.network else 1
    if min(height_px, width_px) < least:
        key = "height_px" if height_px < least else "width_px"
        raise ValueError(
            f"transform.{key}: {model.name} needs images of at least {least} x {least} px, got {height_px} x "
            f"{width_px}; raise transform.height_px and transform.width_px, or take another model.name"
        )
    if layers := layers_of(model):
        find_features(layers, (height_px, width_px, channels))
    if model.weights is not None and channels != 3 and model.builder is None:
        raise ValueError(
            f"transform.channels: the pretrained weights of {model.name} are for 3, got {channels}; gray "
            "images become images of 3 channels too"
        )


def check_normalization(model: ModelConfig, normalization: Normalization) -> None:
    """Refuse pixels in another range than a built-in network was trained on.

    Raises:
        ValueError: The message names the key of `transform`.
    """
    wanted = model.network.normalization if model.network else None
    if wanted == "none" and normalization != "none":
        raise ValueError(
            f"transform.normalization: {model.name} takes pixels of 0 to 255 and scales them itself: "
            f"expected none, got {normalization}; scaled twice, they would all be near 0"
        )
    if model.weights is not None and wanted not in (None, normalization):
        raise ValueError(
            f"transform.normalization: the pretrained weights of {model.name} expect {wanted}, got "
            f"{normalization}; with anything else training does not converge"
        )
