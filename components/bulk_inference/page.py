"""The page of BulkInference: how many images were answered, and the first answers."""

import itertools
import os
from collections.abc import Mapping

from components.base import files
from components.base.outcome import Output
from components.bulk_inference.facts import read_facts
from components.pages.markup import Cell, Measure, format_path, make_table
from components.pages.page import Page
from components.pages.tables import find_output

_SHOWN = 20


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the folder and numbers of the answers, and the best prediction of the first images."""
    from components.prediction.batch_files import read_answers

    output = find_output(outputs, "inference_result")
    facts = read_facts(output.properties)
    page.add_verdict(facts is not None, "not asked" if facts is None else "answered")
    if facts is None:
        page.add_text("The model is not blessed, so it was not asked.")
        return
    page.metrics.update(images=facts.images, errors=facts.errors)
    numbers: list[list[Cell]] = [
        ["answers", format_path(output.uri)],
        ["files", facts.files],
        ["images", facts.images],
        ["with an error", facts.errors],
    ]
    page.add(make_table(["", ""], numbers))
    with page.part("First answers"):
        parts = [path for path in files.list_below(output.uri) if os.path.basename(path).startswith("part-")]
        rows: list[list[Cell]] = []
        for answer in itertools.islice(read_answers(parts[0], facts.format), _SHOWN):
            best = next(iter(answer["predictions"]), None)
            rows.append(
                [
                    answer["image"],
                    best["label"] if best else None,
                    Measure(best["score"]) if best else None,
                    answer.get("error") or answer.get("warning"),
                ]
            )
        page.add(make_table(["image", "label", "score", "note"], rows))
        page.add_note("The best prediction of each image; the files have all of them.")
