"""Outcome of BulkInference: where the answers are, and how many."""

import dataclasses
from collections.abc import Mapping

from components.base.outcome import Outcome, Output, RunResult, Serving
from components.bulk_inference.facts import read_facts


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the folder of the answers and their numbers into the result."""
    output = outputs["inference_result"]
    facts = read_facts(output.properties)
    if facts is not None:
        result.answers = {"folder": output.uri, **dataclasses.asdict(facts)}
    return Outcome()
