"""Pages of what hands the model over: InfraValidator, Pusher."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from components.base import files
from components.base.serving_folder import TAKEN_BACK
from components.pages.page import Page, location, table
from pipeline.views.data import only

if TYPE_CHECKING:
    from components.base.outcome import Output


def infra_validator(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the InfraValidator: whether the model loads and answers in a process of its own, and how fast."""
    blessing = only(outputs, "blessing")
    good = blessing.properties.get("blessed") == 1
    page.verdict(good, "infra blessed" if good else "not infra blessed")
    page.text(
        "The exported model was loaded in a fresh process, as a server does, and asked with images of the "
        "test split."
    )
    report = json.loads(files.read_text(os.path.join(blessing.uri, "report.json")))
    if report["problems"]:
        with page.part("Problems"):
            page.sentences(report["problems"])
    if "load_secs" in report:
        seconds = {"loading": report["load_secs"], **report.get("request_secs", {})}
        page.metrics.update({f"{name}_secs": value for name, value in seconds.items()})
        with page.part("Seconds"):
            page.add(table(["", "seconds"], [[name, value] for name, value in seconds.items()]))
            page.note("Of a signature, the median of requests with one image, on the task's processor.")


def pusher(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the Pusher: where the model is, or why it is nowhere."""
    properties = only(outputs, "pushed_model").properties
    pushed = properties.get("pushed") == 1
    page.verdict(pushed, "pushed" if pushed else "not pushed")
    if pushed:
        page.add(
            table(
                ["", ""],
                [
                    ["model", location(properties.get("pushed_destination", "not recorded"))],
                    ["version", str(properties.get("pushed_version", "not recorded"))],
                ],
            )
        )
        page.note("TF Serving serves the highest version in that folder.")
    elif TAKEN_BACK in properties:
        page.text(
            f"This very model was pushed before, as version {properties[TAKEN_BACK]}, and that version was "
            "removed since. The model stays back until that version's record in the folder pushes is removed."
        )
    else:
        page.text(
            "The model was not blessed by the Evaluator, or not by the InfraValidator; their pages give the "
            "reasons. What was served before is served still."
        )
