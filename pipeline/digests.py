"""What decides a result beside inputs and parameters, for TFX's cache: weights, and the code itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import components
from components.config import WarmStartConfig
from components.errors import UsageError
from components.trainer import weights_source


def weights_digest(weights: str | None) -> str | None:
    """SHA-256 of a weights file, so that another file under the same name trains again."""
    if weights is None or not Path(weights).is_file():
        return None
    with open(weights, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def warm_start_digest(warm_start: WarmStartConfig | None, push_destination: str) -> dict[str, str]:
    """SHA-256 of the weights that a training starts from, for the same reason."""
    if warm_start is None or warm_start.is_latest_blessed:
        return {}
    if os.path.normpath(warm_start.source) == os.path.normpath(push_destination):
        raise UsageError(
            f"training.warm_start.from: {warm_start.source} is where this recipe pushes to: each run would "
            "find another model there and train again. Take latest_blessed, or the folder of one version"
        )
    return {"warm_start_sha256": weights_source.digest(warm_start.source)}


def code_digest(*more: str) -> str:
    """SHA-256 of the code that makes pixels and models, and of more packages of `components`.

    TFX's cache looks at inputs and parameters, not at code: without it a new release would go on with the old
    graph.
    """
    floor = Path(components.__file__).parent
    modules = [floor / "config.py", floor / "hyperparameters.py", floor / "transform.py"]
    for package in ("models", "trainer", *more):
        modules += sorted((floor / package).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()
