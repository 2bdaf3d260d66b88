"""What a task hands to Kubeflow of its nodes' artifacts: for each a small text that says where it is.

KFP's launcher copies the files of an artifact's URI to its own bucket, and from there into every task that
reads it, and it fails on a URI of a volume or of another bucket. So KFP has the text, and the artifact itself
stays below the pipeline root, where the tasks find it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.base.outcome import Output
from components.base.redact import redact
from pipeline.steps import Step

# KFP keeps properties in a database of short texts.
_MOST_CHARACTERS = 500
# Properties that TFX gives every artifact.
_TFX_OWN = ("name", "tfx_version", "pipeline_name", "producer_component", "is_external")


def write_artifacts(
    step: Step,
    outputs: Mapping[str, Output],
    artifacts: Mapping[str, Any],
    shown: Callable[[str], str],
    **facts: str | float,
) -> None:
    """Fill in KFP's artifacts of a node that has run.

    Args:
        step: The node.
        outputs: Its output artifacts by channel name; a resolver has none where it found no model.
        artifacts: kfp's `Output[...]` by the artifact's name; a package that was compiled before has none.
        shown: Puts buckets' addresses in place of local copies' paths.
        facts: Properties that all artifacts of the node get.
    """
    for artifact in step.gives:
        target = artifacts.get(artifact.name)
        if target is None:
            continue
        output = outputs.get(artifact.channel)
        place = redact(shown(output.uri)) if output else "none"
        properties = {"place": place, "node": step.id, **facts}
        for name, value in (output.properties if output else {}).items():
            value = redact(shown(value)) if isinstance(value, str) else value
            if name not in _TFX_OWN and _can_show(value):
                properties.setdefault(name, value)
        target.metadata.update(properties)
        lines = [place, *(f"{name}: {value}" for name, value in properties.items() if name != "place")]
        Path(target.path).parent.mkdir(parents=True, exist_ok=True)
        Path(target.path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _can_show(value: Any) -> bool:
    """Return whether KFP takes a property: JSON knows no Infinity, and TFX has structures too."""
    if isinstance(value, str):
        return 0 < len(value) <= _MOST_CHARACTERS
    return isinstance(value, int | float) and math.isfinite(value)
