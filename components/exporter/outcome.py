"""Outcome of the Exporter: where the exports are, and what was measured."""

import os
from collections.abc import Mapping

from components.base.outcome import Outcome, Output, RunResult, Serving
from components.exporter.facts import read_exports


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the folder of each export and its figures into the result."""
    folder = outputs["exports"].uri
    found = read_exports(folder)
    if not found:
        return Outcome()
    result.exports = [{"folder": os.path.join(folder, each["format"]), **each} for each in found]
    return Outcome(note=f"exported as {', '.join(each['format'] for each in found)}: {folder}")
