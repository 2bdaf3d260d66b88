"""The page of DataGate: what it checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from components.base import files
from components.base.outcome import Output
from components.pages.markup import make_table
from components.pages.page import Page
from components.pages.protocol import task_page
from components.pages.tables import find_output, sort_splits


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the checks. Where DataGate refuses the data, its task fails and has no outputs."""
    if not outputs:
        page.add_verdict(False, "refused")
        page.add_text("The data was refused; the task's log says why.")
        return
    folder = find_output(outputs, "blessing").uri
    report = json.loads(files.read_text(os.path.join(folder, "report.json")))
    counts = report["images"]
    page.add_verdict(True, "passed")
    page.add_list(
        [
            "ExampleValidator found no anomaly in any split.",
            "DistributionValidator found similar shares of classes in train and eval.",
            "Every image was decoded in the same way as in training and serving."
            if counts
            else "Images were not decoded: data.check_images is off.",
        ]
    )
    if counts:
        with page.part("Images decoded"):
            rows = [[split, counts[split], 0] for split in sort_splits(counts)]
            page.add(make_table(["split", "images", "refused"], [*rows, ["all", sum(counts.values()), 0]]))
    task_page(page).show_gate(page, folder, report)
