"""Pages of what brings the data in: Ingest, ImportExampleGen, ImportSchemaGen."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.base import files
from components.pages.charts import COLOURS
from components.pages.page import Cell, Html, Page, bar, escape, location, table
from components.pages.records import MOST_CLASSES, look, of_a_class, show_images
from schemas import features

if TYPE_CHECKING:
    from components.base.outcome import Output


def only(outputs: Mapping[str, Output], key: str) -> Output:
    """The output of that name, or the only one that there is.

    Raises:
        LookupError: There is none.
    """
    if key in outputs:
        return outputs[key]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    raise LookupError(f"the task has no output {key!r}; it has {', '.join(sorted(outputs)) or 'none'}")


def counts_by_class(counts: Mapping[str, Mapping[str, int]], class_names: Sequence[str]) -> Html:
    """A table of classes, with the count of each split and a bar for its share of the split.

    Args:
        counts: Examples by split and class name.
        class_names: In the order of the labels; beyond `MOST_CLASSES` the rarest of the first split and the
            most frequent are shown.
    """
    splits = list(counts)
    shown = list(class_names)
    if len(shown) > MOST_CLASSES:
        ordered = sorted(shown, key=lambda name: -counts[splits[0]].get(name, 0))
        kept = {*ordered[: MOST_CLASSES // 2], *ordered[-(MOST_CLASSES // 2) :]}
        shown = [name for name in ordered if name in kept]
    totals = {split: max(1, sum(counts[split].values())) for split in splits}
    largest = max(
        (counts[split].get(name, 0) / totals[split] for split in splits for name in shown), default=0.0
    )
    rows: list[list[Cell]] = []
    for name in shown:
        row: list[Cell] = [name]
        for split in splits:
            count = counts[split].get(name, 0)
            share = count / totals[split]
            row += [count, bar(share / largest if largest else 0.0, COLOURS.get(split, COLOURS["train"]))]
        rows.append(row)
    header = ["class", *itertools.chain.from_iterable((split, "") for split in splits)]
    whole = table(header, rows)
    words = f"A bar is the class's share of its split; the longest is {largest:.1%}."
    if len(class_names) > MOST_CLASSES:
        words += (
            f" Of {len(class_names):,} classes the {MOST_CLASSES // 2} most frequent and rarest are shown."
        )
    return Html(f'{whole}<p class="note">{escape(words)}</p>')


def ingest(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the data folder: what stands in its manifest, and the first images of train."""
    folder = only(outputs, "examples").uri
    if span := only(outputs, "examples").properties.get("span"):
        page.text(f"Of data that arrive a span at a time: {span}.")
    manifest_file = os.path.join(folder, features.MANIFEST)
    shards: dict[str, list[str]] = {}
    counts: dict[str, Mapping[str, int]] = {}
    if files.exists(manifest_file):
        manifest = json.loads(files.read_text(manifest_file))
        for split in sorted(manifest["splits"], key=place_of):
            shards[split] = [
                os.path.join(folder, shard["name"]) for shard in manifest["splits"][split]["shards"]
            ]
            counts[split] = manifest["splits"][split]["class_counts"]
        page.cards(
            [
                *((f"{split} images", manifest["splits"][split]["images"]) for split in shards),
                ("classes", len(manifest["class_names"])),
                ("rejected", manifest["rejected"]),
                *([("most boxes of an image", most)] if (most := manifest.get("max_boxes")) else []),
            ]
        )
        brought = manifest["input"] or "what it brings along"
        page.text(f"Read by the source {manifest['source']} from {brought}.")
        for warning in manifest["warnings"]:
            page.text(f"Warning: {warning}")
        if manifest["rejected"]:
            with page.part("Rejected"):
                _show_rejects(page, folder)
    else:
        from pipeline.data.shards import SPLIT_PREFIXES

        page.text("TFRecords that are read as they are, without a manifest; ImportExampleGen counts them.")
        found = [(path, os.path.basename(path)) for path in files.below(folder)]
        for split, prefixes in SPLIT_PREFIXES.items():
            shards[split] = [path for path, name in found if name.startswith(prefixes)]
    if counts:
        with page.part("Images by split and class"):
            page.add(counts_by_class(counts, class_names))
    with page.part(f"Images of {features.TRAIN}"):
        each = of_a_class(class_names)
        seen = look(shards.get(features.TRAIN, []), each, each * len(class_names))
        show_images(page, seen.images, class_names)


def place_of(split: str) -> int:
    """Where a split comes in a list of them."""
    return features.SPLITS.index(split) if split in features.SPLITS else len(features.SPLITS)


def _show_rejects(page: Page, folder: str) -> None:
    from components.ingest.manifest import REJECTS

    path = os.path.join(folder, REJECTS)
    rows = list(csv.reader(io.StringIO(files.read_text(path))))[1:]
    page.add(table(["input", "reason"], [[location(name), reason] for name, reason, *_ in rows[:20]]))
    page.note(f"{min(20, len(rows))} of {len(rows):,}; all of them: {path}")


def example_gen(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of ImportExampleGen: what is in its splits."""
    folder = only(outputs, "examples").uri
    shards: dict[str, list[str]] = {}
    for path in files.below(folder):
        split = os.path.basename(os.path.dirname(path))
        if split.startswith("Split-"):
            shards.setdefault(split.removeprefix("Split-"), []).append(path)
    if not shards:
        page.text(f"There are no splits in {folder}.")
        return
    splits = sorted(shards, key=place_of)
    seen = {split: look(shards[split], of_a_class(class_names)) for split in splits}
    partly = [split for split in splits if not seen[split].whole]
    page.cards([(_label(split, seen[split].whole), seen[split].examples) for split in splits])
    properties = only(outputs, "examples").properties
    # TFX says 0 of data without spans, too.
    if span := properties.get("span"):
        version = properties.get("version")
        page.text(f"Span {span}" + ("." if version is None else f", version {version}."))
    if partly:
        page.note(
            f"Of {' and '.join(partly)} only the beginning was read for this page, to save time; "
            "StatisticsGen counts all."
        )
    with page.part("Examples by split and class"):
        names = _with_others(class_names, (part.counts for part in seen.values()))
        page.add(counts_by_class({split: seen[split].counts for split in splits}, names))
        if any(part.has_boxes for part in seen.values()):
            page.note("An image counts for every class that is on it.")
    with page.part(f"Images of {splits[0]}"):
        show_images(page, seen[splits[0]].images, class_names)


def _label(split: str, whole: bool) -> str:
    return f"{split} examples" if whole else f"{split} examples read"


def _with_others(class_names: Sequence[str], counts: Iterable[Mapping[str, int]]) -> list[str]:
    """The classes, and what else stands in the records."""
    others = {name for part in counts for name in part} - set(class_names)
    return [*class_names, *sorted(others)]


def schema_gen(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of ImportSchemaGen: the features that every record must have, and the classes."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    path = os.path.join(only(outputs, "schema").uri, "schema.pbtxt")
    schema = text_format.Parse(files.read_text(path), schema_pb2.Schema())
    page.text("What every record is held against by ExampleValidator.")
    rows: list[list[Cell]] = []
    for feature in schema.feature:
        needed = "in every record" if feature.presence.min_fraction == 1.0 else "may be missing"
        kind = schema_pb2.FeatureType.Name(feature.type).lower()
        rows.append([feature.name, kind, needed, _domain(feature)])
    with page.part("Features"):
        page.add(table(["feature", "type", "presence", "values"], rows))
    with page.part("Classes"):
        page.text(f"{len(class_names):,}, in the order of their labels from {_first_label(schema)}:")
        page.text(", ".join(class_names[:500]) + (", ..." if len(class_names) > 500 else ""))


def _first_label(schema: Any) -> int:
    from schemas.curated import task_of

    return 1 if task_of(schema) == features.DETECTION else 0


def _domain(feature: Any) -> str:
    kind = feature.WhichOneof("domain_info")
    if kind == "int_domain":
        domain = feature.int_domain
        low = domain.min if domain.HasField("min") else "any"
        return f"{low} to {domain.max}" if domain.HasField("max") else f"{low} or more"
    if kind == "string_domain":
        values = list(feature.string_domain.value)
        return f"{len(values)} values" if len(values) > 5 else ", ".join(values)
    return ""
