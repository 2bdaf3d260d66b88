"""Options of an ingest, which are also the part `data` of a recipe: declared and checked once."""

from __future__ import annotations

import datetime
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.base.errors import UsageError
from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.base.settings import IsPath, NotNegative, Settings, Share
from components.base.words import find_nearest, suggest
from components.ingest import spans
from components.ingest.bit_depth import UPPER
from components.ingest.files import decode_name
from components.ingest.groups import check_group_by
from components.ingest.sources import SOURCES
from components.ingest.splits import NO_SPLIT
from schemas import features

SpanNumber = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


def _span_number(value: Any) -> Any:
    """Return the span of a date, which YAML reads as one and JSON as a text; anything else as it is."""
    if isinstance(value, str):
        try:
            value = datetime.date.fromisoformat(value)
        except ValueError:
            return value
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return spans.number_of_day(value) if is_date else value


def _is_name_of_data(section: Mapping[str, Any], path: str) -> bool:
    """Return whether a path is a name that the source knows, such as one of tensorflow_datasets."""
    source = section.get("source")
    return isinstance(source, str) and source in SOURCES and SOURCES[source].is_name(path)


def _check_source(name: str) -> str:
    if name not in SOURCES:
        raise ValueError(f"expected one of {', '.join(SOURCES)}, got {name!r}{suggest(name, SOURCES)}")
    return name


def _split_of(*known: str) -> Callable[[str], str]:
    """Return a function that refuses what is not the name of a split, with the nearest name."""

    def check(name: str) -> str:
        if name in known:
            return name
        near = find_nearest(name, [*features.SPLITS, *features.EVAL_SYNONYMS])
        meant = features.EVAL if near in features.EVAL_SYNONYMS else near
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}{hint}")

    return check


def _check_sum(splits: Mapping[str, float]) -> Mapping[str, float]:
    total = math.fsum(splits.values())
    if abs(total - 1) > 1e-6:
        shown = ", ".join(f"{split}={share}" for split, share in splits.items())
        raise ValueError(
            f"expected shares that add up to 1, got {shown or 'none'}, which add up to {total:g}"
        )
    return splits


def _path_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, Path) else value


def _number_text(value: Any) -> Any:
    """Return a number as its text; YAML reads 1 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Column = Annotated[str, BeforeValidator(_number_text), Field(min_length=1)]
# A value of IngestConfig.small_classes.
REFUSE = "refuse"
Split = Annotated[str, AfterValidator(_split_of(*features.SPLITS))]
SplitOrNone = Annotated[str, AfterValidator(_split_of(*features.SPLITS, NO_SPLIT))]
# The fields that `mirante ingest` has options for, in the order of its help.
OPTIONS = (
    "splits", "split_names", "group_by", "small_classes", "near_copies", "image_column", "label_column",
    "split_column", "no_header", "images", "shards", "workers", "max_reject_share", "label_map", "box_units",
    "max_pixels", "resize_px", "bit_depth", "transpose",
)  # fmt: skip


class IngestConfig(Settings):
    """The raw data, how they are ingested, and when they are refused (docs/ingest.md).

    `mirante ingest` makes its options from these fields. It takes `source` and `path` as arguments.
    """

    source: Annotated[str, AfterValidator(_check_source)] = Field(
        "folder", description=f"format of the raw data (docs/ingest.md): {', '.join(SOURCES)}"
    )
    path: Annotated[str | None, IsPath(is_name=_is_name_of_data)] = Field(
        None,
        description="raw data, or a name for tfds; `--data` sets it. With {SPAN}, or {YYYY}, {MM} and "
        "{DD}, the newest of several folders (docs/spans.md)",
    )
    span: Annotated[SpanNumber, BeforeValidator(_span_number)] | None = Field(
        None, description="span of such a path, by its number or date; null for the newest"
    )
    window_spans: Annotated[int, Field(ge=1, le=9999, strict=True)] = Field(
        1, description="number of spans that one training sees: that span and those before it"
    )
    retired_classes: tuple[str, ...] = Field(
        (),
        description="classes that the served model has and the data may lack; * for all, and for another "
        "task",
    )
    splits: Annotated[dict[Split, Share], AfterValidator(_check_sum)] = Field(
        {"train": 0.8, "eval": 0.1, "test": 0.1},
        description="share of each split, for data without splits of their own",
    )
    split_names: dict[str, SplitOrNone] = Field(
        {},
        description="the split that a name in the data stands for, e.g. validation=test; none to ignore "
        "the name",
    )
    group_by: Annotated[str | None, Field(min_length=1), AfterValidator(check_group_by)] = Field(
        None,
        description=r"what must not be in two splits (a patient, a video): a column of the CSV, or a regular "
        r"expression on the path with one group, e.g. (patient\d+)_",
    )
    small_classes: Literal["train", "refuse"] = Field(
        "train",
        description="what becomes of a class with fewer images than there are splits: all are in train, or "
        "the data are refused",
    )
    near_copies: bool = Field(
        True,
        description="whether to find copies with other bytes (encoded again, scaled, mirrored) and keep them "
        "in one split",
    )
    image_column: Column | None = Field(
        None,
        description="column of a list (CSV, JSON Lines, Parquet) that names the images; by default one with "
        "a usual name (docs/ingest.md)",
    )
    label_column: Column | None = Field(
        None, description="column of a list with the classes; by default one with a usual name"
    )
    split_column: Column | None = Field(
        None, description="column of a list with the splits; by default one with a usual name, if any"
    )
    no_header: bool = Field(
        False,
        description="the first line of a list is already an image; columns are then named by their numbers, "
        "from 1",
    )
    images: Annotated[str | None, BeforeValidator(_path_text), IsPath()] = Field(
        None, description="folder with the images that a list names; by default the folder of the list"
    )
    shards: Annotated[int, Field(ge=1, le=99999, strict=True)] | None = Field(
        None, description="TFRecord shards of each split; one per 128 MiB of images by default"
    )
    workers: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = Field(
        None, description="processes; one per core by default"
    )
    resize_px: Annotated[int, Field(ge=1, le=65535, strict=True)] | None = Field(
        None, description="longest side in pixels; larger images are scaled down to it; no limit by default"
    )
    bit_depth: Annotated[
        Literal["8", "10", "12", "14", "16", "auto", "percentile"], BeforeValidator(_number_text)
    ] = Field(
        UPPER,
        description="how many bits images with 16 bits per channel use, of which the upper 8 are kept; "
        "auto is the least number that holds the largest value of all images; percentile stretches each "
        "image from its 0.5 to its 99.5 percentile instead",
    )
    transpose: bool | None = Field(
        None,
        description="whether to exchange rows and columns, which sets EMNIST's images upright; by default "
        "only if a name contains emnist",
    )
    # The limit is there because of decompression bombs: a few hundred kilobytes of PNG can unpack to
    # gigabytes, which would end the worker, or the machine, instead of one image.
    max_pixels: Annotated[int, Field(ge=1, le=PILLOW_MAX_PIXELS, strict=True)] = Field(
        DEFAULT_MAX_PIXELS,
        description="images with more pixels are rejected before they are decoded; a JPEG that resize_px "
        "scales down is decoded at a smaller size instead",
    )
    max_reject_share: Share = Field(
        0.01,
        description="with a larger share of rejected images, nothing is published and the exit code is 3",
    )
    min_test_images: NotNegative = Field(
        1, description="least number of test images of each class; 0 for no limit"
    )
    max_label_drift: Share = Field(
        0.1, description="largest difference of a class's share between train and eval"
    )
    label_map: Annotated[str | None, BeforeValidator(_path_text), IsPath()] = Field(
        None,
        description="a .pbtxt or .txt file that numbers the classes of boxes; by default the .pbtxt in "
        "the input, or the order of their names",
    )
    box_units: Literal["pixels", "shares"] | None = Field(
        None,
        description="unit of the boxes, pixels or shares of the image's width and height; by default that "
        "of the format",
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
    def _placeholders_fit_together(self) -> IngestConfig:
        if self.path is None:  # a parameter of the compiled pipeline may give it
            return self
        if not spans.is_pattern(self.path):
            for name, value in (("span", self.span), ("window_spans", self.window_spans)):
                if value != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name}: {value}, and the path has no {{SPAN}} and no {{YYYY}}, {{MM}} and {{DD}}: "
                        f"{self.path}; leave one out, or write where in the path the span stands"
                    )
            return self
        try:
            spans.check_pattern(self.path)
        except ValueError as e:
            raise ValueError(f"path: {e}") from e
        return self

    def label_map_file(self) -> Path | None:
        """Return the file that numbers the classes of boxes; None where none is given.

        Raises:
            UsageError: There is no such file.
        """
        if self.label_map is None:
            return None
        if not (file := Path(self.label_map)).is_file():
            raise UsageError(f"label_map {file}: no such file; give a .pbtxt or .txt with classes")
        return file

    def images_folder(self) -> Path | None:
        """Return the absolute path of the folder with the images of a list; None where none is given.

        Raises:
            UsageError: There is no such folder.
        """
        if self.images is None:
            return None
        if not (folder := Path(self.images)).is_dir():
            raise UsageError(f"images {folder}: no such folder; give the folder with the images of the list")
        return folder.absolute()

    def content_settings(self) -> dict[str, object]:
        """Return the options that decide what is published, as the manifest keeps them."""
        settings: dict[str, object] = {
            "splits": {split: float(self.splits.get(split, 0.0)) for split in features.SPLITS},
            "split_names": dict(sorted(self.split_names.items())),
            "shards": self.shards,
            "resize_px": self.resize_px,
            "max_reject_share": float(self.max_reject_share),
            "max_pixels": self.max_pixels,
            "near_copies": self.near_copies,
            "small_classes": self.small_classes,
        }
        if self.group_by is not None:
            settings["group_by"] = self.group_by
        if (file := self.label_map_file()) is not None:
            settings["label_map_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        for name in ("box_units", "image_column", "label_column", "split_column", "transpose"):
            if (value := getattr(self, name)) is not None:
                settings[name] = value
        if (folder := self.images_folder()) is not None:
            settings["images"] = decode_name(os.fsencode(folder))
        if self.no_header:
            settings["no_header"] = True
        # Not in manifests that are older than this option.
        if self.bit_depth != UPPER:
            settings["bit_depth"] = self.bit_depth
        return settings
