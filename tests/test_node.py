"""Running single nodes: what a run that was killed left, and how the next one puts it away."""

from __future__ import annotations

from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import load_recipe
from pipeline.data import Examples
from schemas.curated import write_schema
from tests import records
from tests.pipelines import node_runner

RUNNING, FAILED, COMPLETE, CACHED = (
    metadata_store_pb2.Execution.State.Value(name) for name in ("RUNNING", "FAILED", "COMPLETE", "CACHED")
)


def test_what_a_killed_run_left_is_put_away(tmp_path: Path) -> None:
    from pipeline.metadata_store import METADATA_FILE

    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.CLASSES
    )
    schema_file = write_schema(records.CLASSES, tmp_path / "schema")
    runner = node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "first")
    schema = Path(runner.run("ImportSchemaGen").outputs["schema"].uri)

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / METADATA_FILE)
    store = MetadataStore(config)
    (done,) = store.get_executions()
    killed = metadata_store_pb2.Execution(type_id=done.type_id, last_known_state=RUNNING)
    (killed_id,) = store.put_executions([killed])
    node = tmp_path / "ImportSchemaGen"
    left = [
        node / "schema" / str(killed_id) / "half.pbtxt",
        node / ".system" / "executor_execution" / str(killed_id) / ".temp",
        node / ".system" / "stateful_working_dir" / "a-b-c",
    ]
    for path in left:
        path.mkdir(parents=True)

    for _ in range(2):
        runner.clear_unfinished()
        assert [path for path in left if path.exists()] == []
        assert not (node / "schema" / str(killed_id)).exists()
        assert list(schema.iterdir())
        states = {execution.id: execution.last_known_state for execution in store.get_executions()}
        assert states == {done.id: COMPLETE, killed_id: FAILED}

    again = node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "second")
    assert again.run("ImportSchemaGen").status == "cached"
    assert max(store.get_executions(), key=lambda execution: execution.id).last_known_state == CACHED
