"""Makes a page of data that were looked at before any training: what `mirante inspect` found out."""

import re
from collections.abc import Sequence
from pathlib import Path

from components.base.outcome import Output
from components.base.paths import write_atomically
from components.base.redact import redact
from components.base.task import task_named
from components.base.words import format_count, format_some
from components.pages.markup import Cell, Html, escape, format_path, make_table
from components.pages.page import Page
from components.pages.tables import count_by_class, sort_splits
from pipeline.inspection.facts import Facts, Group, Spread
from pipeline.inspection.text import format_facts
from pipeline.report.make import IMAGES_BYTES
from pipeline.report.sections import show_data_folder

_MOST_DRAWN, _MOST_NAMES = 30, 3


def make_data_page(facts: Facts, drawn: Sequence[str] = ()) -> str:
    """Return what was found out about data as HTML.

    Args:
        facts: What was found out.
        drawn: Images to show, unless the data are ingested: then the page shows images of their shards.
    """
    names = [one.name for one in facts.classes]
    title = f"Data: {Path(facts.data).name or facts.data}"
    page = Page(title, task_named(facts.task), names, images_bytes=IMAGES_BYTES, is_report=True)
    with page.part():
        _show_verdict(page, facts)
    with page.section("Images"):
        if facts.ingested:
            show_data_folder(page, Output(facts.data, {}))
        else:
            _show_drawn(page, drawn[:_MOST_DRAWN])
            _show_classes(page, facts)
    if facts.labels is not None:
        with page.section("Labels per image"):
            rows: list[list[Cell]] = [[number, count] for number, count in facts.labels.images.items()]
            page.add(make_table(["labels", "images"], rows))
            page.add_note(
                f"{facts.labels.labels:,} labels, {facts.labels.cardinality:.2f} per image on average."
            )
    if facts.sizes is not None:
        with page.section("Sizes"):
            _show_sizes(page, facts)
    for heading, groups in (
        ("Rejected", () if facts.ingested else facts.rejects),
        ("Left out", facts.left_out),
        ("Suspicious", facts.suspicious),
    ):
        if groups:
            with page.section(heading):
                _show_groups(page, groups)
    with page.section("In words"):
        words = '<div class="wide" tabindex="0" role="group" aria-label="In words"><pre>{}</pre></div>'
        page.add(Html(words).format(escape(format_facts(facts))))
    return redact(page.render().html)


def write_data_page(facts: Facts, drawn: Sequence[str], path: Path) -> None:
    """Write what `make_data_page` makes.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(path, make_data_page(facts, drawn).encode("utf-8", "replace"))


def _show_verdict(page: Page, facts: Facts) -> None:
    page.add_verdict(not facts.refused, "a run would refuse the data" if facts.refused else "ready for a run")
    for reason in facts.refused:
        page.add_text(reason)
    page.add_cards(
        [("images", facts.images), ("classes", len(facts.classes))]
        + [(f"{split} images", facts.splits[split]) for split in sort_splits(facts.splits)]
    )
    how = "Ingested data" if facts.ingested else f"Read by the source {facts.source.source}"
    page.add_text(f"{how}: {facts.source.why}.")
    for warning in () if facts.ingested else facts.warnings:  # those of ingest are with its images
        page.add_text(f"Warning: {warning}")
    page.add(Html("<p>Next: {}</p>").format(format_path(facts.command)))


def _show_drawn(page: Page, drawn: Sequence[str]) -> None:
    for path in drawn:
        page.add_image(Path(path).read_bytes(), re.sub(r"^class-\d+-", "", Path(path).stem))


def _show_classes(page: Page, facts: Facts) -> None:
    with page.part("Classes by split"):
        splits = sort_splits(facts.splits) or ["images"]
        counts = {
            split: {one.name: one.by_split.get(split, one.images) for one in facts.classes}
            for split in splits
        }
        page.add(count_by_class(page, counts, page.class_names))


def _show_sizes(page: Page, facts: Facts) -> None:
    sizes = facts.sizes
    assert sizes is not None

    def row(name: str, spread: Spread) -> list[Cell]:
        return [name, spread.min, spread.median, spread.max]

    rows = [
        row("width, px", sizes.width),
        row("height, px", sizes.height),
        row("width by height", sizes.aspect),
    ]
    page.add(make_table(["", "smallest", "median", "largest"], rows))
    counted = [f"{name} {count:,}" for name, count in sizes.formats.items()]
    page.add_note(f"Of {format_count(sizes.images, 'image')}: {', '.join(counted)}.")


def _show_groups(page: Page, groups: Sequence[Group]) -> None:
    rows: list[list[Cell]] = [
        [group.what, group.count, format_some(group.examples, _MOST_NAMES)] for group in groups
    ]
    page.add(make_table(["what", "images", "which"], rows))
