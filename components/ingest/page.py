"""The page of Ingest: the data folder's manifest, and the first images of train."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping

from components.base import files
from components.base.outcome import Output
from components.ingest.manifest import REJECTS
from components.pages.markup import format_path, make_table
from components.pages.page import Page
from components.pages.records import most_per_class, read_split, show_images
from components.pages.tables import count_by_class, find_output, sort_splits
from schemas import features

_MOST_REJECTS = 20


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show a data folder, with a manifest or without."""
    data = find_output(outputs, "examples")
    folder = data.uri
    if span := data.properties.get("span"):
        page.add_text(f"Span {span} of data that arrives in spans.")
    if files.exists(os.path.join(folder, features.MANIFEST)):
        shards = _show_manifest(page, folder)
    else:
        page.add_text(
            "TFRecords without a manifest, which are read as they are; ImportExampleGen counts them."
        )
        found = [(path, os.path.basename(path)) for path in files.list_below(folder)]
        shards = {
            split: [path for path, name in found if name.startswith(prefixes)]
            for split, prefixes in features.SPLIT_PREFIXES.items()
        }
    with page.part(f"Images of {features.TRAIN}"):
        enough = most_per_class(page) * len(page.class_names)
        show_images(page, read_split(page, shards.get(features.TRAIN, []), enough).images)


def _show_manifest(page: Page, folder: str) -> dict[str, list[str]]:
    """Show a data folder's manifest; return the paths of the shards by split."""
    manifest = json.loads(files.read_text(os.path.join(folder, features.MANIFEST)))
    splits = {split: manifest["splits"][split] for split in sort_splits(manifest["splits"])}
    page.add_cards(
        [
            *((f"{split} images", content["images"]) for split, content in splits.items()),
            ("classes", len(manifest["class_names"])),
            ("rejected", manifest["rejected"]),
            *([("most boxes per image", most)] if (most := manifest.get("max_boxes")) else []),
        ]
    )
    where = f" from {manifest['input']}" if manifest["input"] else ", which has its own data"
    page.add_text(f"Read by the source {manifest['source']}{where}.")
    for warning in manifest["warnings"]:
        page.add_text(f"Warning: {warning}")
    if manifest["rejected"]:
        with page.part("Rejected"):
            _show_rejects(page, os.path.join(folder, REJECTS))
    if splits:
        with page.part("Images by split and class"):
            counts = {split: content["class_counts"] for split, content in splits.items()}
            page.add(count_by_class(counts, page.class_names))
    return {
        split: [os.path.join(folder, shard["name"]) for shard in content["shards"]]
        for split, content in splits.items()
    }


def _show_rejects(page: Page, path: str) -> None:
    rows = list(csv.reader(io.StringIO(files.read_text(path))))[1:]
    shown = [[format_path(name), reason] for name, reason, *_ in rows[:_MOST_REJECTS]]
    page.add(make_table(["input", "reason"], shown))
    page.add_note(f"{len(shown)} of {len(rows):,}; the full list is {path}")
