"""Settings of detectors: the part `model.detection` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import Number, Positive, PositiveFloat, Settings, Share
from components.trainer.augment.config import Scale


class DetectionConfig(Settings):
    """Anchors, losses and output of a detector (docs/detection.md)."""

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
    extra_layers: Annotated[int, Field(ge=0, le=4, strict=True)] = Field(
        4, description="feature maps after the two of the backbone, each half as large as the one before"
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
        if self.scales is not None and len(self.scales) != 2 + self.extra_layers:
            raise ValueError(
                f"scales: expected one for each of {2 + self.extra_layers} feature maps (two and "
                f"extra_layers), got {len(self.scales)}"
            )
        if not self.aspect_ratios:
            raise ValueError("aspect_ratios: at least one is needed, e.g. [1.0]")
        return self
