"""Outcome of the InfraValidator: whether a server can answer with the model."""

import json
from collections.abc import Mapping
from pathlib import Path

from components.base.outcome import Outcome, Output, RunResult, Serving


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the blessing into the result."""
    blessing = outputs["blessing"]
    result.infra_blessed = blessing.properties.get("blessed") == 1
    if result.infra_blessed:
        return Outcome()
    from components.infra_validator.component import REPORT  # brings TFX along

    report = json.loads((Path(blessing.uri) / REPORT).read_text(encoding="utf-8"))
    return Outcome(refusal="the model is not infra blessed: " + "; ".join(report["problems"]))


def explain_outdated(outputs: Mapping[str, Output]) -> str | None:
    """Return why a cached blessing is not valid any more; None if it is.

    A model that did not answer in time may do so now that the machine is less busy.
    """
    if outputs["blessing"].properties.get("blessed") == 1:
        return None
    return "the model was refused before, and is asked again"
