"""The page of Ingest: the data folder's manifest, and the first images of train."""

import json
import os
from collections.abc import Mapping
from typing import Any

from components.base import files
from components.base.outcome import Output
from components.base.paths import is_remote
from components.base.table import read_table
from components.ingest.manifest import REJECTS
from components.pages.markup import Cell, Html, format_path, make_table
from components.pages.page import Page
from components.pages.records import make_thumbnail, most_per_class, read_split, show_images
from components.pages.tables import count_by_class, find_output, sort_splits
from schemas import features

# Reasons, and inputs of each that are named.
_MOST_REASONS, _FEW = 30, 3
_MOST_INPUT_BYTES = 20_000_000


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show a data folder, with a manifest or without."""
    data = find_output(outputs, "examples")
    show_source(page, data)
    with page.part("Rejected"):
        show_rejects(page, data.uri)
    with page.part("Images by split and class"):
        show_counts(page, data.uri)
    with page.part(f"Images of {features.TRAIN}"):
        show_samples(page, data.uri)


def read_manifest(folder: str) -> dict[str, Any] | None:
    """Return the manifest of a data folder as JSON; None for TFRecords without a manifest."""
    path = os.path.join(folder, features.MANIFEST)
    return json.loads(files.read_text(path)) if files.exists(path) else None


def show_source(page: Page, data: Output) -> None:
    """Add where the data came from, how many images there are, and the warnings of ingest."""
    if span := data.properties.get("span"):
        page.add_text(f"Span {span} of data that arrives in spans.")
    manifest = read_manifest(data.uri)
    if manifest is None:
        page.add_text(
            "TFRecords without a manifest, which are read as they are; ImportExampleGen counts them."
        )
        return
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


def show_counts(page: Page, folder: str) -> None:
    """Add the images of each class in each split."""
    manifest = read_manifest(folder)
    if manifest is None or not manifest["splits"]:
        page.add_note("There is no manifest that counts them.")
        return
    splits = sort_splits(manifest["splits"])
    counts = {split: manifest["splits"][split]["class_counts"] for split in splits}
    page.add(count_by_class(page, counts, page.class_names))


def show_samples(page: Page, folder: str) -> None:
    """Add images of each class of the training split."""
    manifest = read_manifest(folder)
    if manifest is not None:
        named = manifest["splits"].get(features.TRAIN, {}).get("shards", [])
        shards = [os.path.join(folder, shard["name"]) for shard in named]
    else:
        prefixes = features.SPLIT_PREFIXES[features.TRAIN]
        shards = [path for path in files.list_below(folder) if os.path.basename(path).startswith(prefixes)]
    enough = most_per_class(page) * len(page.class_names)
    show_images(page, read_split(page, shards, enough).images)


def show_rejects(page: Page, folder: str, source: str = "") -> None:
    """Add the inputs that were rejected by reason, with images of them where they can be shown.

    Args:
        page: The page.
        folder: The data folder, which has no manifest if the data were refused.
        source: Where the inputs are, if no manifest says so.
    """
    path = os.path.join(folder, REJECTS)
    rows = read_table(files.read_text(path)) if files.exists(path) else []
    if not rows:
        page.add_note("Nothing was rejected.")
        return
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row["reason"], []).append(row["path"])
    inputs = (read_manifest(folder) or {}).get("input") or source
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))[:_MOST_REASONS]
    cells: list[list[Cell]] = []
    shown: list[Html] = []
    for reason, names in ordered:
        images = [_show_input(page, inputs, name) for name in names[:_FEW]]
        shown += images
        which = Html("").join(images) + Html(" ").join(format_path(name) for name in names[:_FEW])
        more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
        cells.append([reason, len(names), which + more])
    page.add(make_table(["reason", "inputs", "which"], cells, style="thumbs"))
    if not all(shown):
        page.add_note(
            "Inputs without an image here cannot be decoded at all, are above "
            f"{_MOST_INPUT_BYTES // 1_000_000} MB, or are not in a folder on this machine."
        )
    page.add_note(f"{len(rows):,} rejected; the full list is {path}")


def _show_input(page: Page, folder: str, name: str) -> Html:
    """Return a small image of an input, as far as it can be decoded; nothing if it cannot, or is gone."""
    from PIL import Image

    path = os.path.join(folder, name)
    try:
        if is_remote(path) or not os.path.isfile(path) or os.path.getsize(path) > _MOST_INPUT_BYTES:
            return Html("")
        return make_thumbnail(page, files.read_bytes(path), name, may_be_cut=True)
    except (OSError, RuntimeError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Html("")
