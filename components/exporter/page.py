"""The page of the Exporter: each export next to the model that it was made of."""

from collections.abc import Mapping

from components.base.outcome import Output
from components.base.words import format_count
from components.exporter.facts import EXPORTED, read_exports
from components.pages.markup import Cell, Measure, format_path, make_table
from components.pages.page import Page
from components.pages.tables import find_output

_MIB = 1 << 20


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the metric, size and time of each export, and of the model."""
    output = find_output(outputs, "exports")
    found = read_exports(output.uri)
    was_exported = bool(found) or output.properties.get(EXPORTED) == 1
    page.add_verdict(was_exported, "exported" if was_exported else "not exported")
    if not found:
        page.add_text(
            "The exports were removed since, as `mirante clean` does."
            if was_exported
            else "The model is not blessed, so it was not exported."
        )
        return
    first = found[0]
    metric = first.get("metric")
    rows: list[list[Cell]] = [
        [
            each["format"],
            Measure(each["value"]) if metric else None,
            Measure(each["value"] - each["original_value"]) if metric else None,
            round(each["size_bytes"] / _MIB, 2),
            round(each["milliseconds"], 3),
        ]
        for each in found
    ]
    original: list[Cell] = [
        "the model",
        Measure(first["original_value"]) if metric else None,
        None,
        round(first["original_size_bytes"] / _MIB, 2),
        round(first["original_milliseconds"], 3),
    ]
    page.add(make_table(["", metric or "metric", "change", "MiB", "ms per image"], [original, *rows]))
    judged = (
        f"{metric} on {format_count(first['test_images'], 'test image')}"
        if metric
        else "No metric: the test split has nothing to find"
    )
    page.add_note(f"{judged}; ms per image from decoded pixels on, each by its own runtime, on this machine.")
    page.add(make_table(["", ""], [["exports", format_path(output.uri)]]))
