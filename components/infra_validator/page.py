"""The page of the InfraValidator: whether the model loads and answers in its own process, and how fast."""

import json
import os
from collections.abc import Mapping

from components.base import files
from components.base.outcome import Output
from components.pages.markup import make_table
from components.pages.page import Page
from components.pages.tables import find_output


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the result of the test, its problems, and its seconds."""
    blessing = find_output(outputs, "blessing")
    is_blessed = blessing.properties.get("blessed") == 1
    page.add_verdict(is_blessed, "infra blessed" if is_blessed else "not infra blessed")
    page.add_text(
        "The exported model was loaded in a new process, as by a server, and given images of the test split."
    )
    report = json.loads(files.read_text(os.path.join(blessing.uri, "report.json")))
    if report["problems"]:
        with page.part("Problems"):
            page.add_list(report["problems"])
    if "load_secs" in report:
        seconds = {"loading": report["load_secs"], **report.get("request_secs", {})}
        page.metrics.update({f"{name}_secs": value for name, value in seconds.items()})
        with page.part("Seconds"):
            page.add(make_table(["", "seconds"], [[name, value] for name, value in seconds.items()]))
            page.add_note(
                "For a signature: the median over requests with one image, on the task's processor."
            )
