"""Options of an ingest, which are also the part `data` of a recipe: declared and checked once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.base.errors import UsageError
from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.base.settings import IsPath, NotNegative, Settings, Share
from components.ingest import spans
from components.ingest.bit_depth import UPPER
from components.ingest.files import decode_name
from components.ingest.groups import check_group_by
from components.ingest.option_values import (
    check_aliases,
    check_source,
    check_sum,
    is_name_of_data,
    make_split_check,
    number_as_text,
    path_as_text,
    read_span,
)
from components.ingest.sources import SOURCES
from components.ingest.splits import NO_SPLIT
from schemas import features

SpanNumber = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


Column = Annotated[str, BeforeValidator(number_as_text), Field(min_length=1)]
# A code as browsers have it: pt, pt-BR.
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
# A value of IngestConfig.small_classes.
REFUSE = "refuse"
Split = Annotated[str, AfterValidator(make_split_check(*features.SPLITS))]
SplitOrNone = Annotated[str, AfterValidator(make_split_check(*features.SPLITS, NO_SPLIT))]
# The fields that `mirante ingest` has options for, in the order of its help.
OPTIONS = (
    "splits", "split_names", "group_by", "small_classes", "near_copies", "image_column", "label_column",
    "split_column", "multilabel", "label_separator", "no_class", "no_header", "images", "shards", "workers",
    "max_reject_share", "label_map", "box_units", "max_pixels", "resize_px", "bit_depth", "transpose",
)  # fmt: skip


class IngestConfig(Settings):
    """The raw data, how they are ingested, and when they are refused (docs/ingest.md).

    `mirante ingest` makes its options from these fields. It takes `source` and `path` as arguments.
    """

    source: Annotated[str, AfterValidator(check_source)] = Field(
        "folder", description=f"format of the raw data (docs/ingest.md): {', '.join(SOURCES)}"
    )
    path: Annotated[str | None, IsPath(is_name=is_name_of_data)] = Field(
        None,
        description="raw data, or a name for tfds; `--data` sets it. With {SPAN}, or {YYYY}, {MM} and "
        "{DD}, the newest of several folders (docs/spans.md)",
    )
    span: Annotated[SpanNumber, BeforeValidator(read_span)] | None = Field(
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
    class_names: Annotated[
        dict[str, dict[Language, Annotated[str, Field(min_length=1)]]], AfterValidator(check_aliases)
    ] = Field(
        {},
        description="names of classes in further languages, e.g. {cat: {pt: gato}}, for the model card, "
        "reports and `mirante predict --language pt`; they change no result",
    )
    splits: Annotated[dict[Split, Share], AfterValidator(check_sum)] = Field(
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
    multilabel: bool = Field(
        False,
        description="whether an image may have several classes, or none; boxes are then read as the classes "
        "of their image (docs/multilabel.md); task: multilabel sets it",
    )
    label_separator: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="with multilabel what separates the classes of an image, in a list or in the name of a "
        "folder; null for |",
    )
    no_class: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="with multilabel the class name that stands for no class, such as No Finding"
    )
    no_header: bool = Field(
        False,
        description="the first line of a list is already an image; columns are then named by their numbers, "
        "from 1",
    )
    images: Annotated[str | None, BeforeValidator(path_as_text), IsPath()] = Field(
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
        Literal["8", "10", "12", "14", "16", "auto", "percentile"], BeforeValidator(number_as_text)
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
    label_map: Annotated[str | None, BeforeValidator(path_as_text), IsPath()] = Field(
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
    def _several_classes_are_asked_for(self) -> IngestConfig:
        for name in ("label_separator", "no_class"):
            if getattr(self, name) is not None and not self.multilabel:
                raise ValueError(
                    f"{name}: it is for images with several classes: set multilabel too (in a recipe by "
                    "task: multilabel), or leave it out"
                )
        return self

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
        for name in (
            "box_units", "image_column", "label_column", "split_column", "transpose", "label_separator",
            "no_class",
        ):  # fmt: skip
            if (value := getattr(self, name)) is not None:
                settings[name] = value
        if (folder := self.images_folder()) is not None:
            settings["images"] = decode_name(os.fsencode(folder))
        for name in ("no_header", "multilabel"):
            if getattr(self, name):
                settings[name] = True
        # Not in manifests that are older than this option.
        if self.bit_depth != UPPER:
            settings["bit_depth"] = self.bit_depth
        return settings
