"""Running single nodes: what a run that was killed left, and how the next one puts it away."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from tfx.orchestration.portable import cache_utils
from tfx.proto.orchestration import executable_spec_pb2

from components.base.outcome import RunResult
from components.schema_gen.schema_file import write_schema
from pipeline.data.examples import Examples
from pipeline.recipe.load import load_recipe
from pipeline.run.cache_keys import RelativeKeys
from pipeline.run.nodes import run_nodes
from pipeline.storage.metadata_store import METADATA_FILE
from pipeline.storage.moved_root import BEFORE_MOVE_FILE, follow_move
from tests.make import records
from tests.make.commands import unwrap
from tests.make.pipelines import make_node_runner

LIVE = metadata_store_pb2.Artifact.LIVE
RUNNING, FAILED, COMPLETE, CACHED = (
    metadata_store_pb2.Execution.State.Value(name) for name in ("RUNNING", "FAILED", "COMPLETE", "CACHED")
)


def test_what_a_killed_run_left_is_put_away(tmp_path: Path) -> None:
    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, tmp_path / "schema")
    runner = make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "first")
    ended = runner.run("ImportSchemaGen")
    schema = Path(ended.outputs["schema"].uri)
    # A change after the node's end is one, too.
    assert ended.files == {
        str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in schema.rglob("*.pbtxt")
    }

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

    again = make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "second")
    assert again.run("ImportSchemaGen").status == "cached"
    assert max(store.get_executions(), key=lambda execution: execution.id).last_known_state == CACHED


def test_the_engine_is_no_part_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(cache_utils, "get_cache_context", lambda **given: seen.append(given["executor_spec"]))
    keys = RelativeKeys("/runs")
    for argument in ("--runner=a", "--runner=b"):
        spec = executable_spec_pb2.BeamExecutableSpec(beam_pipeline_args=[argument])
        spec.beam_pipeline_args_placeholders.add().value.string_value = argument
        spec.python_executor_spec.class_path = "package.Executor"
        keys.get_cache_context(input_artifacts={}, parameters={}, executor_spec=spec)
        assert list(spec.beam_pipeline_args) == [argument]
    assert seen[0] == seen[1]
    assert seen[0].python_executor_spec.class_path == "package.Executor"
    plain = executable_spec_pb2.PythonClassExecutableSpec(class_path="package.Executor")
    keys.get_cache_context(input_artifacts={}, parameters={}, executor_spec=plain)
    assert seen[2] == plain


@pytest.mark.slow
@pytest.mark.both_stacks
def test_a_node_that_runs_anew_gives_one_output_in_its_run_and_in_later_ones(tmp_path: Path) -> None:
    """A reader gets all outputs of a node in a run, so two would make it fail for ever."""
    from pipeline.storage.metadata_store import sqlite_store

    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, tmp_path / "schema")
    store = MetadataStore(sqlite_store(tmp_path))

    def live_in(run: str) -> list[str]:
        context = store.get_context_by_type_and_name("pipeline_run", run)
        return [
            artifact.uri for artifact in store.get_artifacts_by_context(context.id) if artifact.state == LIVE
        ]

    def runner(run: str) -> Any:
        return make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, run)

    first = runner("first").run("ImportSchemaGen")
    for number in range(2):
        again = runner(f"again-{number}")
        assert again.run("ImportSchemaGen").status == "cached"
        anew = again.run("ImportSchemaGen", use_cache=False)
        assert anew.status == "completed"
        uri = anew.outputs["schema"].uri
        assert uri != first.outputs["schema"].uri
        assert live_in(f"again-{number}") == [uri]
        # Later runs take what it gave then.
        later = runner(f"later-{number}")
        cached = later.run("ImportSchemaGen")
        assert (cached.status, cached.outputs["schema"].uri) == ("cached", uri)
        assert live_in(f"later-{number}") == [uri]
        # Tried again in the same run, as a task is.
        assert again.run("ImportSchemaGen").outputs["schema"].uri == uri


@pytest.mark.slow
def test_a_task_killed_while_it_puts_a_damaged_output_away_is_tried_again(tmp_path: Path) -> None:
    """Its second attempt is in the same run, where an execution stands that failed and has outputs."""
    from pipeline.storage.metadata_store import sqlite_store

    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, tmp_path / "schema")

    def runner(run: str) -> Any:
        return make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, run)

    runner("first").run("ImportSchemaGen")
    killed = runner("second")
    damaged = killed.run("ImportSchemaGen")
    assert damaged.status == "cached"
    killed._forget("ImportSchemaGen")

    retried = runner("second")
    retried.clear_unfinished(only=["ImportSchemaGen"])
    anew = retried.run("ImportSchemaGen")
    uri = anew.outputs["schema"].uri
    assert anew.status == "completed"
    assert uri != damaged.outputs["schema"].uri
    store = MetadataStore(sqlite_store(tmp_path))
    context = store.get_context_by_type_and_name("pipeline_run", "second")
    live = [a.uri for a in store.get_artifacts_by_context(context.id) if a.state == LIVE]
    assert live == [uri]
    for run in ("third", "fourth"):
        cached = runner(run).run("ImportSchemaGen")
        assert (cached.status, cached.outputs["schema"].uri) == ("cached", uri)


def test_outputs_that_an_older_release_doubled_are_made_anew(tmp_path: Path) -> None:
    from pipeline.storage.metadata_store import sqlite_store

    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, tmp_path / "schema")
    runner = make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "first")
    runner.run("ImportSchemaGen")
    store = MetadataStore(sqlite_store(tmp_path))
    (schema,) = store.get_artifacts_by_type("Schema")
    (event,) = store.get_events_by_artifact_ids([schema.id])
    other = metadata_store_pb2.Artifact(type_id=schema.type_id, uri=schema.uri, state=LIVE)
    (event.artifact_id,) = store.put_artifacts([other])
    event.ClearField("milliseconds_since_epoch")
    store.put_events([event])

    again = make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "second")
    assert again.run("ImportSchemaGen").status == "completed"
    third = make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, "third")
    assert third.run("ImportSchemaGen").status == "cached"


def test_a_root_like_a_pattern_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    root, neighbour = tmp_path / "run[1]", tmp_path / "run1"
    root.mkdir()
    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, root / "schema")
    runner = make_node_runner(load_recipe("digits"), examples, schema_file, root, "first")
    assert runner.run("ImportSchemaGen").status == "completed"
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / METADATA_FILE)
    store = MetadataStore(config)
    (done,) = store.get_executions()
    (killed_id,) = store.put_executions(
        [metadata_store_pb2.Execution(type_id=done.type_id, last_known_state=RUNNING)]
    )
    for folder in (root, neighbour):
        (folder / "ImportSchemaGen" / "schema" / str(killed_id)).mkdir(parents=True)
        (folder / "ImportSchemaGen" / ".system" / "stateful_working_dir" / "a").mkdir(parents=True)
    runner.clear_unfinished()
    assert not (root / "ImportSchemaGen" / "schema" / str(killed_id)).exists()
    assert (neighbour / "ImportSchemaGen" / "schema" / str(killed_id)).exists()
    assert (neighbour / "ImportSchemaGen" / ".system" / "stateful_working_dir" / "a").exists()


def test_without_the_cache_every_node_executes(tmp_path: Path) -> None:
    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, tmp_path / "schema")
    for number, (overrides, status) in enumerate(
        [((), "completed"), ((), "cached"), (("use_cache=false",), "completed"), ((), "cached")]
    ):
        recipe = load_recipe("digits", overrides)
        runner = make_node_runner(recipe, examples, schema_file, tmp_path, str(number))
        assert runner.run("ImportSchemaGen").status == status


def test_a_moved_root_keeps_what_it_knows(tmp_path: Path) -> None:
    former, root = tmp_path / "former", tmp_path / "now[2]"
    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, former / "schema")
    make_node_runner(load_recipe("digits"), examples, schema_file, former, "first").run("ImportSchemaGen")
    assert follow_move(former) is None
    shutil.copytree(former, tmp_path / "copied é")
    former.rename(root)
    assert (follow_move(root) or "").startswith(f"this root was at {former}: ")
    assert follow_move(root) is None
    # The results are found in the cache: the first node's, whose option is a path below the root.
    schema_file = root / schema_file.relative_to(former)
    again = make_node_runner(load_recipe("digits"), examples, schema_file, root, "again").run(
        "ImportSchemaGen"
    )
    assert again.status == "cached"
    assert Path(again.outputs["schema"].uri).parent == root / "ImportSchemaGen" / "schema"
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / METADATA_FILE)
    (schema,) = MetadataStore(config).get_artifacts()
    assert Path(schema.uri).parent == root / "ImportSchemaGen" / "schema"
    assert Path(schema.uri).is_dir()
    config.sqlite.filename_uri = str(root / BEFORE_MOVE_FILE)
    (schema,) = MetadataStore(config).get_artifacts()
    assert Path(schema.uri).parent == former / "ImportSchemaGen" / "schema"
    # A copy is independent of the original, which is there.
    root.rename(former)
    copied = tmp_path / "copied é"
    assert (follow_move(copied) or "").startswith(
        f"this root is a copy, independent from now on, of {former}: "
    )
    schema_file = copied / schema_file.relative_to(root)
    nodes = make_node_runner(load_recipe("digits"), examples, schema_file, copied, "copied")
    assert nodes.run("ImportSchemaGen").status == "cached"
    assert Path(nodes.results["ImportSchemaGen"].outputs["schema"].uri).is_relative_to(copied)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(
            lambda path: path.write_bytes(b""),
            r"schema.pbtxt has 0 bytes, and [0-9,]+ were written",
            marks=pytest.mark.slow,
        ),
        pytest.param(lambda path: path.unlink(), r"schema.pbtxt is missing", marks=pytest.mark.slow),
        (lambda path: flip_first_byte(path), r"schema.pbtxt has other content than what was written"),
    ],
)
def test_a_damaged_output_is_found_and_made_anew(
    tmp_path: Path, damage: Callable[[Path], object], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    examples = Examples(
        tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, records.COLOURS
    )
    schema_file = write_schema(records.COLOURS, tmp_path / "schema")

    def run(name: str) -> tuple[str, Path]:
        nodes = make_node_runner(load_recipe("digits"), examples, schema_file, tmp_path, name)
        result = RunResult("digits", name, str(tmp_path))
        run_nodes(nodes, result, Console(width=500), [], str(tmp_path / "serving"), only=["ImportSchemaGen"])
        uri = Path(nodes.results["ImportSchemaGen"].outputs["schema"].uri)
        return result.components["ImportSchemaGen"]["status"], uri / "schema.pbtxt"

    status, path = run("first")
    whole = path.read_bytes()
    os.utime(path)  # as a copy of the root has it
    assert run("second") == ("cached", path)
    damage(path)
    capfd.readouterr()
    status, anew = run("third")
    assert re.search(rf"ImportSchemaGen: .*{said}; it runs again", unwrap(capfd.readouterr().out))
    assert (status, anew.read_bytes()) == ("completed", whole)
    assert anew != path
    assert run("fourth") == ("cached", anew)


def flip_first_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
