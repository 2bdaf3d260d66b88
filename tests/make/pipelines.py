"""A recipe's nodes, ready to run one by one, as `mirante run` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def make_node_runner(recipe: Any, examples: Any, schema_file: Path, root: Path, run_id: str = "run") -> Any:
    """A `pipeline.run.node.NodeRunner` on the store below `root`. Imports TFX."""
    from pipeline.definition import compile_pipeline
    from pipeline.run.node import NodeRunner
    from pipeline.storage.metadata_store import sqlite_store

    intermediate = compile_pipeline(recipe, examples, str(schema_file), str(root))
    return NodeRunner(intermediate, sqlite_store(root), run_id)
