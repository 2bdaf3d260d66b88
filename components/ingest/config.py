"""Settings of ingest: the part `data` of a recipe."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.base.settings import IsPath, NotNegative, Settings, Share
from components.ingest import spans

SpanNumber = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


def _span_number(value: Any) -> Any:
    """The span of a date, which YAML reads as one and JSON as a text; anything else as it is."""
    if isinstance(value, str):
        try:
            value = datetime.date.fromisoformat(value)
        except ValueError:
            return value
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return spans.number_of_day(value) if is_date else value


def _is_name_of_data(section: Mapping[str, Any], path: str) -> bool:
    """Return whether a path is a name that the source knows, such as one of tensorflow_datasets."""
    from components.ingest.sources import SOURCES

    source = section.get("source")
    return isinstance(source, str) and source in SOURCES and SOURCES[source].is_name(path)


class DataConfig(Settings):
    """Where the examples come from, and when they are refused."""

    source: str = Field(
        "folder", description="cifar, coco, csv, digits, folder, idx, tfds, tfrecord, voc or yolo"
    )
    path: Annotated[str | None, IsPath(is_name=_is_name_of_data)] = Field(
        None,
        description="raw input, or a name for tfds; `--data` sets it; with {SPAN}, or {YYYY}, {MM} and {DD}, "
        "the newest of several folders (components.ingest.spans)",
    )
    span: Annotated[SpanNumber, BeforeValidator(_span_number)] | None = Field(
        None, description="the span of such a path by its number, or by its date; the newest when null"
    )
    retired_classes: tuple[str, ...] = Field(
        (),
        description="what the served model knows and the next one need not; * for all, and for another task",
    )
    splits: dict[Literal["train", "eval", "test"], Share] = {"train": 0.8, "eval": 0.1, "test": 0.1}
    split_names: dict[str, Literal["train", "eval", "test", "none"]] = {}
    shards: Annotated[int, Field(ge=1, le=99999, strict=True)] | None = None
    workers: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    resize_px: Annotated[int, Field(ge=1, le=65535, strict=True)] | None = None
    max_pixels: Annotated[int, Field(ge=1, le=PILLOW_MAX_PIXELS, strict=True)] = Field(
        DEFAULT_MAX_PIXELS, description="images with more are rejected, before they are decoded"
    )
    max_reject_share: Share = 0.01
    min_test_images: NotNegative = Field(
        1,
        description="test images that each class must have (of boxes: be on); 0 lets pass what is not judged",
    )
    max_label_drift: Share = Field(
        0.1, description="largest difference of a class's share between train and eval"
    )
    label_map: Annotated[str | None, IsPath()] = Field(
        None,
        description="a .pbtxt or .txt file that numbers the classes of boxes; null to sort them by name",
    )
    box_units: Literal["pixels", "shares"] | None = Field(
        None,
        description="what boxes count in, pixels or shares of the image's sides; null for what their "
        "format asks for",
    )
    check_images: bool = Field(True, description="whether DataGate decodes every image")

    @model_validator(mode="before")
    @classmethod
    def _path_is_no_mapping(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(path := values.get("path"), dict):
            raise ValueError(
                f"path: expected a path, got a mapping, {path}: YAML reads a value that begins with a brace "
                "as one; put ./ before it, as in ./{SPAN}"
            )
        return values

    @model_validator(mode="after")
    def _placeholders_fit_together(self) -> DataConfig:
        if self.path is None:  # a parameter of the compiled pipeline may give it
            return self
        if not spans.is_pattern(self.path):
            if self.span is not None:
                raise ValueError(
                    f"span: {self.span}, and the path has no {{SPAN}} and no {{YYYY}}, {{MM}} and {{DD}}: "
                    f"{self.path}; leave one out, or write where in the path the span stands"
                )
            return self
        try:
            spans.check_pattern(self.path)
        except ValueError as e:
            raise ValueError(f"path: {e}") from e
        return self
