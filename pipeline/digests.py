"""What decides a node's result in addition to its inputs and options: code, libraries, weights.

docs/decisions/010-cached-means-equal.md has the rule.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.base.code import code_digest
from components.base.content import weights_sha256
from components.base.errors import UsageError
from components.trainer.warm_start import source
from components.trainer.warm_start.config import WarmStartConfig
from pipeline.steps import step_named

# The execution property of every node that executes something, and the Trainer's custom_config, have it.
CODE = "code_sha256"


def node_code_digest(node_id: str, task: str, base: Path | None = None) -> str:
    """Return the SHA-256 of the code and the libraries' versions that can change a node's result.

    Args:
        node_id: A node that executes something.
        task: `classification` or `detection`.
        base: Holds Mirante's packages; this installation's folder when not given.
    """
    step = step_named(node_id)
    return code_digest(*step.code, libraries=("tfx", "tensorflow", *step.libraries), task=task, base=base)


def add_code_digests(nodes: Iterable[Any], task: str) -> None:
    """Give every node of a pipeline its code's digest as an execution property.

    TFX's cache looks at inputs and execution properties, and so does Vertex AI's: other code is another key.
    A Resolver executes nothing, and is never cached.

    Args:
        nodes: TFX's components.
        task: `classification` or `detection`.
    """
    for node in nodes:
        if not step_named(node.id).is_resolver:
            node.exec_properties[CODE] = node_code_digest(node.id, task)


def weights_digest(weights: str | None) -> str | None:
    """Return the SHA-256 of weights, so that other ones under the same name train again."""
    return weights_sha256(weights)


def warm_start_digest(warm_start: WarmStartConfig | None, push_destination: str) -> dict[str, str]:
    """Return the SHA-256 of the weights that a training starts from, for the same reason."""
    if warm_start is None or warm_start.is_latest_blessed:
        return {}
    if os.path.normpath(warm_start.source) == os.path.normpath(push_destination):
        raise UsageError(
            f"training.warm_start.from: {warm_start.source} is where this recipe pushes to: each run would "
            "find another model there and train again. Take latest_blessed, or the folder of one version"
        )
    return {"warm_start_sha256": source.digest(warm_start.source)}
