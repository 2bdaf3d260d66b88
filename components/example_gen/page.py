"""The page of ImportExampleGen: the examples of its splits."""

import os
from collections.abc import Mapping

from components.base import files
from components.base.outcome import Output
from components.pages.page import Page
from components.pages.protocol import task_page
from components.pages.records import read_split, show_images
from components.pages.tables import count_by_class, find_output, sort_splits


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show how many examples each split has, by class, and images of the first split."""
    examples = find_output(outputs, "examples")
    shards: dict[str, list[str]] = {}
    for path in files.list_below(examples.uri):
        split = os.path.basename(os.path.dirname(path))
        if split.startswith("Split-"):
            shards.setdefault(split.removeprefix("Split-"), []).append(path)
    if not shards:
        page.add_text(f"There are no splits in {examples.uri}.")
        return
    seen = {split: read_split(page, shards[split]) for split in sort_splits(shards)}
    partly = [split for split, part in seen.items() if not part.whole]
    page.add_cards(
        [
            (f"{split} examples" if part.whole else f"{split} examples read", part.examples)
            for split, part in seen.items()
        ]
    )
    # TFX records span 0 for data without spans, too.
    if span := examples.properties.get("span"):
        version = examples.properties.get("version")
        page.add_text(f"Span {span}" + ("." if version is None else f", version {version}."))
    if partly:
        page.add_note(
            f"Only the beginning of {' and '.join(partly)} was read for this page, to save time; "
            "StatisticsGen counts all examples."
        )
    with page.part("Examples by split and class"):
        counts = {split: part.counts for split, part in seen.items()}
        others = {name for counted in counts.values() for name in counted} - set(page.class_names)
        page.add(count_by_class(page, counts, [*page.class_names, *sorted(others)]))
        if note := task_page(page).EXAMPLES_NOTE:
            page.add_note(note)
    first = next(iter(seen))
    with page.part(f"Images of {first}"):
        show_images(page, seen[first].images)
