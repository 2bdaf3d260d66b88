"""Settings of detectors: the part `model.detection` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import Number, Positive, PositiveFloat, Settings, Share
from components.trainer.augment.config import Scale


class DetectionConfig(Settings):
    """How a detector finds boxes, and how it is taught to; docs/detection.md."""

    max_boxes: Positive | None = Field(
        None, description="boxes an image is taught with at most; measured from the data when unset"
    )
    min_scale: Scale = Field(0.2, description="anchors of the finest map, as a share of the image's side")
    max_scale: Scale = Field(0.95, description="anchors of the coarsest map; those between grow evenly")
    scales: tuple[Scale, ...] | None = Field(
        None, description="of each feature map, the finest first, instead of min_scale and max_scale"
    )
    aspect_ratios: tuple[PositiveFloat, ...] = Field(
        (1.0, 2.0, 0.5, 3.0, 1 / 3),
        description="width to height of the anchors; one more square lies between two maps' scales",
    )
    extra_layers: Annotated[int, Field(ge=0, le=4, strict=True)] = Field(
        4, description="feature maps after the backbone's two, each half as large as the one before"
    )
    matched_iou: Share = Field(0.5, description="an anchor that overlaps a box so much is to give it")
    unmatched_iou: Share = Field(
        0.4, description="one that overlaps none so much is background; those between do not count"
    )
    train_on_difficult: bool = Field(
        False, description="whether difficult objects are to be found; else what is on them does not count"
    )
    classification_loss: Literal["focal", "hard_negative"] = Field(
        "focal", description="hard_negative: softmax over boxes and the worst of the background"
    )
    focal_alpha: Share = 0.25
    focal_gamma: Annotated[Number, Field(ge=0.0, le=5.0)] = 2.0
    negatives_per_positive: PositiveFloat = Field(3.0, description="for hard_negative")
    box_loss: Literal["smooth_l1", "giou"] = "smooth_l1"
    box_weight: PositiveFloat = Field(
        1.0, description="how much the loss of boxes counts against that of classes"
    )
    min_score: Share = Field(0.01, description="what is served has this score at least")
    nms_iou: Share = Field(
        0.6, description="of two boxes of a class that overlap more, the better one is served"
    )
    candidates: Positive = Field(400, description="boxes of all classes that are compared with each other")
    max_detections: Positive = Field(100, description="boxes that are served for an image at most")

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
