"""Which nodes execute again when something changes: real nodes, up to DataGate."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.schema_gen.schema_file import write_schema
from pipeline.data.examples import describe
from pipeline.recipe.load import load_recipe
from pipeline.steps import node_ids
from tests.make import records
from tests.make.pipelines import make_node_runner

pytestmark = pytest.mark.slow
UP_TO_GATE = node_ids()[: node_ids().index("DataGate") + 1]


def executed(folder: Path, root: Path, *overrides: str) -> set[str]:
    """Run the nodes up to DataGate; return those that executed."""
    recipe = load_recipe("digits", overrides)
    examples = describe(folder, IngestConfig())
    schema_file = write_schema(examples.class_names, root / "schema")
    runner = make_node_runner(recipe, examples, schema_file, root, str(len(list(root.glob("run-*")))))
    (root / f"run-{len(list(root.glob('run-*')))}").touch()
    statuses = {node_id: runner.run(node_id) for node_id in UP_TO_GATE}
    assert {result.status for result in statuses.values()} <= {"completed", "cached"}, statuses
    return {node_id for node_id, result in statuses.items() if result.status == "completed"}


def distribution(folder: Path, name: str) -> None:
    """Another version of a library, by what is written about it."""
    info = folder / f"{name.replace('-', '_')}-99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")


def test_what_changes_is_executed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, root = tmp_path / "data", tmp_path / "root"
    shards = {split: records.make_examples(30, 100 * n) for n, split in enumerate(("train", "eval", "test"))}
    records.write_shards(folder, shards)
    assert executed(folder, root) == set(UP_TO_GATE)
    assert executed(folder, root) == set()
    # An option of one node.
    assert executed(folder, root, "data.check_images=false") == {"DataGate"}
    # Equal size and time, other records.
    shard = sorted(folder.iterdir())[0]
    size, times = shard.stat().st_size, (shard.stat().st_atime_ns, shard.stat().st_mtime_ns)
    content = shard.read_bytes()
    other = records.write_shards(tmp_path / "other", {**shards, "eval": shards["eval"][::-1]}) / shard.name
    assert other.stat().st_size == size
    shard.write_bytes(other.read_bytes())
    os.utime(shard, ns=times)
    after_data = set(UP_TO_GATE) - {"ImportSchemaGen"}
    assert executed(folder, root) == after_data
    # And back: the first result is found again.
    shard.write_bytes(content)
    assert executed(folder, root) == set()
    # A library that one node uses, and the nodes that read what it makes.
    distribution(tmp_path / "site", "tensorflow-data-validation")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert executed(folder, root) == after_data - {"ImportExampleGen"}
    assert executed(folder, root, "use_cache=false") == set(UP_TO_GATE)
