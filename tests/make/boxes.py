"""Tiny detection data for tests: records and annotation files of images of a few pixels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.example import parse_example, serialize_example
from components.base.table import read_table
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest, read_manifest
from schemas import features
from tests.make.images import encode_image, make_noise

CLASSES = ("cat", "dog")


Box = tuple[float, float, float, float, str]


def make_image(seed: int = 0, width: int = 40, height: int = 20, image_format: str = "PNG") -> bytes:
    """Return a noisy image, another one for each seed."""
    return encode_image(make_noise(seed, height, width), image_format)


def make_record(*boxes: Box, seed: int = 0, classes: Sequence[str] = CLASSES, **changes: Any) -> bytes:
    """A serialized example with the boxes (xmin, ymin, xmax, ymax as shares, class); None drops a feature."""
    encoded = make_image(seed)
    values: dict[str, Any] = {
        features.ENCODED: encoded,
        features.FORMAT: b"png",
        features.HEIGHT: 20,
        features.WIDTH: 40,
        features.FILENAME: f"{seed}.png".encode(),
        features.SHA256: hashlib.sha256(encoded).hexdigest().encode(),
        **{side: [box[at] for box in boxes] for at, side in enumerate(features.BOX_SIDES)},
        features.BOX_LABEL: [1 + classes.index(box[4]) for box in boxes],
        features.BOX_TEXT: [box[4].encode() for box in boxes],
        **{flag: [0] * len(boxes) for flag in features.BOX_FLAGS},
        **changes,
    }
    return serialize_example({name: value for name, value in values.items() if value is not None})


def make_xml(*boxes: Box, size: tuple[int, int] | None = (40, 20), filename: str = "", more: str = "") -> str:
    """A VOC annotation of the boxes (xmin, ymin, xmax, ymax in pixels, class)."""
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    named = f"<filename>{filename}</filename>" if filename else ""
    objects = "".join(
        f"<object><name>{name}</name>{more}<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
        for xmin, ymin, xmax, ymax, name in boxes
    )
    return f"<annotation>{named}{told}{objects}</annotation>"


def write_files(root: Path, files: Mapping[str, bytes | str]) -> Path:
    """Writes files by their paths below root."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@dataclasses.dataclass(frozen=True)
class Found:
    """A record: its split, and its boxes as (class, xmin, ymin, xmax, ymax), rounded; difficult by box."""

    split: str
    boxes: list[tuple[Any, ...]]
    difficult: list[int]
    values: dict[str, list[Any]]


def ingest_boxes(source: str, path: Path, output: Path, **options: Any) -> dict[str, Found]:
    """Return what an ingest with lenient options makes, by file name."""
    lenient = {"max_reject_share": 1.0, "workers": 1, "splits": {"train": 1}}
    ingest(source, path, output, IngestConfig(**{**lenient, **options}))
    return read_boxes(output)


def read_boxes(output: Path) -> dict[str, Found]:
    """The records of a data folder, by file name."""
    read = {}
    for shard in sorted(output.glob("*-of-*")):
        for values in map(parse_example, read_records(shard)):
            sides = zip(*(values[name] for name in features.BOX_SIDES), strict=True)
            texts = [text.decode() for text in values[features.BOX_TEXT]]
            boxes = [
                (text, *(round(side, 4) for side in box)) for text, box in zip(texts, sides, strict=True)
            ]
            name = values[features.FILENAME][0].decode()
            read[name] = Found(shard.name.split("-")[0], boxes, values[features.BOX_DIFFICULT], values)
    return read


def read_warnings(output: Path) -> list[str]:
    """Return what the manifest warns about."""
    manifest = read_manifest(output)
    assert manifest is not None
    return manifest.warnings


def read_rejects(output: Path) -> list[tuple[str, str]]:
    """(path, reason) of rejects.csv."""
    rows = read_table((output / "rejects.csv").read_text(encoding="utf-8"))
    return [(row["path"], row["reason"]) for row in rows]
