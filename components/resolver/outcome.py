"""Outcome of the Resolver: the baseline, or why there is none."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.base.outcome import Outcome, Output, RunResult, Serving
from components.resolver.baseline import describe_baseline


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the baseline into the result."""
    model = outputs.get("model")
    found = describe_baseline(
        serving.push_destination, outputs["candidate"].uri, model.uri if model else None, serving.class_names
    )
    result.baseline = {**dataclasses.asdict(found), "metrics": {}, "common_classes": None}
    return Outcome(note=f"baseline {format_baseline(result.baseline)}")


def format_baseline(baseline: Mapping[str, Any]) -> str:
    """Return one line about `RunResult.baseline`: which version, or why there is none."""
    if baseline["model"] is None:
        return str(baseline["note"])
    version = "a former model" if baseline["version"] is None else f"version {baseline['version']}"
    return f"{version} ({baseline['note'] or baseline['model']})"
