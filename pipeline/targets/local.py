"""The local runner: one run of a recipe on this machine, node by node, reported on the console."""

import contextlib
import dataclasses
import datetime
import functools
import json
import math
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from components.base import files
from components.base.errors import MiranteError, NotBlessedError
from components.base.imports import without_collector
from components.base.os_errors import check_address_space, explain_os_error
from components.base.outcome import Output, RunResult
from components.base.owned import is_marked, mark, root_id
from components.base.paths import is_remote, write_atomically
from components.base.redact import redact_values
from components.base.saved_model import CARD_FILES
from components.base.serving_folder import check_can_push
from components.base.words import format_count, format_row
from components.model_stores.store import check_can_publish
from components.resolver.outcome import format_baseline
from components.schema_gen.schema_file import write_schema
from pipeline.data.examples import Examples, write_sample
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.yaml_text import write_yaml
from pipeline.run.console import print_row, quiet_libraries, show_working
from pipeline.run.nodes import prepare_data, run_nodes
from pipeline.run.plain_paths import plain_path
from pipeline.run.record import make_record, read_record, write_record
from pipeline.run.unchanged import (
    KeptNodes,
    find_unchanged,
    fingerprint_run,
    holds,
    note_pushed,
)
from pipeline.steps import INGEST, node_ids
from pipeline.storage.metadata_copy import keep_copy, pass_over_numbers, repair_store
from pipeline.storage.metadata_store import METADATA_FILE, sqlite_store
from pipeline.storage.mirror import Mirror
from pipeline.storage.moved_root import follow_move
from pipeline.storage.root_lock import lock_root

_NO_BUCKETS = Mirror({})


@contextlib.contextmanager
def redirect_temporary_files(root: Path) -> Iterator[None]:
    """Put temporary files, of children too, into a folder that is removed afterwards.

    Libraries clean up only on a normal exit. If this process is killed, TensorFlow alone leaves dozens of
    files; the next run removes them.
    """
    owner = root_id(root)
    for path in root.glob(".tmp*"):
        if is_marked(path, owner):
            shutil.rmtree(path, ignore_errors=True)
    # Short where it can be: sockets have addresses of 108 bytes.
    folder = root / ".tmp"
    if folder.exists():  # somebody else's
        folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=root))
    mark(folder, owner)
    former = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = former[0]
        if former[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = former[1]
        shutil.rmtree(folder, ignore_errors=True)


def run(recipe: Recipe, root: Path, console: Console) -> tuple[RunResult, BaseException | None]:
    """Run a recipe under `root`.

    Returns:
        The result, and what ended the run early: the error of the failed node, NotBlessedError when all nodes
        ran and nothing was pushed, KeyboardInterrupt, None when a model was pushed (now, or by an earlier
        identical run).
    """
    began = time.monotonic()
    run_id = datetime.datetime.now().strftime("%Y%m%dT%H%M%S.%f")[:-3]
    result = RunResult(recipe.name, run_id, str(root))
    error: BaseException | None = None
    written_to = [root]
    if recipe.push.destination and not is_remote(recipe.push.destination):
        written_to.append(Path(recipe.push.destination))
    try:
        with lock_root(root):
            try:
                _run_locked(recipe, root, result, console)
            except (Exception, KeyboardInterrupt) as e:  # noqa: BLE001 - the result says it
                # An interrupt that came while C++ called back gets here as an error of the library's; that it
                # came tells the timer that pipeline.commands.main sets.
                secs_to_next, _ = signal.setitimer(signal.ITIMER_REAL, 0)
                error = KeyboardInterrupt() if secs_to_next else explain_os_error(e, written_to) or e
            result.error = _describe_error(error)
            result.wall_seconds = round(time.monotonic() - began, 3)
            keep_copy(root)
            _keep_card(root, result, console)
            _write_report(root, result, console)
            _keep_result(root, result)
    except (MiranteError, OSError) as e:
        error = error or explain_os_error(e, written_to) or e
        result.error = _describe_error(error)
    return result, error


def _write_report(root: Path, result: RunResult, console: Console) -> None:
    """Write the run's page; if that fails, the run is as good as it was."""
    from pipeline.history.runs import PastRun
    from pipeline.report.make import FILE, write_report

    run = PastRun(root, result.run_id, dataclasses.asdict(result))
    try:
        write_report(run, run.folder / FILE)
    except Exception as e:  # noqa: BLE001 - a page is no reason to fail a run
        print_row(console, "warning", f"no report: {type(e).__name__}: {e}")
    else:
        result.report = str(run.folder / FILE)


def _keep_card(root: Path, result: RunResult, console: Console) -> None:
    """Copy the model card, which the Pusher wrote, from the pushed model to the folder of the run."""
    paths = [os.path.join(result.pushed_model, name) for name in CARD_FILES] if result.pushed_model else []
    try:
        if not paths or not all(map(files.exists, paths)):
            return
        for path in paths:
            write_atomically(root / "runs" / result.run_id / os.path.basename(path), files.read_bytes(path))
        result.model_card = paths[0]
    except Exception as e:  # noqa: BLE001 - a copy is no reason to fail a run
        print_row(console, "warning", f"no copy of the model card: {type(e).__name__}: {e}")


def _describe_error(error: BaseException | None) -> str | None:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command continues from here"
    return None if error is None else str(error) or type(error).__name__


def _run_locked(recipe: Recipe, root: Path, result: RunResult, console: Console) -> None:
    console.print(f"{recipe.name}  run {result.run_id} in {root}", soft_wrap=True, markup=False)
    folder = root / "runs" / result.run_id
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        write_yaml(redact_values(recipe.model_dump(mode="json"))), encoding="utf-8"
    )
    check_address_space()
    repaired = repair_store(root)
    if repaired:
        print_row(console, "warning", repaired)
    log = root / "logs" / f"{result.run_id}.log"
    result.log = str(log)
    pushed_to = recipe.push_destination(str(root))
    plain_root = plain_path(root)
    if moved := follow_move(plain_root):
        print_row(console, "warning", moved)
    with quiet_libraries(log, console), redirect_temporary_files(plain_root):
        check_can_push(pushed_to)
        check_can_publish(recipe.push.also)
        examples = prepare_data(recipe, root, console)
        result.data = {"source": recipe.data.source, **examples.to_json()}
        result.span = examples.span.number if examples.span else None
        print_row(console, "will run", " > ".join(node_ids(recipe.optional_steps)))
        schema_file = write_schema(examples.class_names, plain_root / "schema", examples.task)
        pushed_below = recipe.push.model_copy(update={"destination": pushed_to})
        recipe = recipe.model_copy(update={"push": pushed_below})  # where the user sees the models
        take = functools.partial(fingerprint_run, recipe, examples, schema_file, str(plain_root), pushed_to)
        fingerprint = take()
        # The copy of the store may not know the last run: then TFX's cache decides.
        kept = None if repaired else _find_kept(recipe, root, result.run_id, fingerprint)
        nodes = kept or _load_nodes(recipe, examples, schema_file, plain_root, result.run_id, console)
        try:
            refusals = run_nodes(nodes, result, console, examples.class_names, pushed_to)
        finally:
            outputs = {node: found.outputs for node, found in nodes.results.items()}
            files_of = {node: found.files for node, found in nodes.results.items() if found.files is not None}
            outputs[INGEST.id] = {"data": Output(str(examples.folder), {})}
            write_record(folder, make_record(examples.task, examples.class_names, outputs, files_of))
        if result.pushed_model and kept is None:
            note_pushed(str(root), result.run_id, fingerprint, _NO_BUCKETS, take)
        result.sample_image = write_sample(examples, root)
    _summarize(result, console)
    if not result.pushed_model:
        raise NotBlessedError("\n".join(refusals) or "nothing was pushed")


def _find_kept(recipe: Recipe, root: Path, run_id: str, fingerprint: str | None) -> KeptNodes | None:
    """Return the nodes of a run in which nothing changed since the last one; None where they have to look."""
    names = node_ids(recipe.optional_steps)

    def is_as_left(folder: Path) -> bool:
        record = read_record(folder)
        return record is not None and all(
            holds(name, record.outputs[name], record.files[name], _NO_BUCKETS) for name in names
        )

    if not (root / METADATA_FILE).exists():
        return None
    same_as = find_unchanged(str(root), run_id, fingerprint, is_as_left, _NO_BUCKETS)
    record = read_record(root / "runs" / same_as) if same_as else None
    return KeptNodes(names, record.outputs, record.files) if record else None


def _load_nodes(
    recipe: Recipe, examples: Examples, schema_file: Path, root: Path, run_id: str, console: Console
) -> Any:
    """Return the nodes for TFX to run, a `NodeRunner`; `root` is plain."""
    with show_working(console, "loading TFX"), without_collector():
        # Imports some 15 s of TensorFlow, Beam and TFX: only here, when they are needed.
        from pipeline.definition import compile_pipeline
        from pipeline.run.node import NodeRunner

    read = dataclasses.replace(examples, folder=plain_path(examples.folder))
    intermediate = compile_pipeline(recipe, read, str(schema_file), str(root))
    nodes = NodeRunner(intermediate, sqlite_store(root), run_id)
    nodes.clear_unfinished()
    pass_over_numbers(root / METADATA_FILE)
    return nodes


_BLESSINGS = {True: "yes", False: "no", None: "not reached"}


def _summarize(result: RunResult, console: Console) -> None:
    executed = [node for node, outcome in result.components.items() if outcome["status"] == "completed"]
    if not executed:
        console.print("  nothing changed: every node's result was kept from an earlier run")
    baseline = result.baseline or {"model": None, "note": "not reached", "metrics": {}}
    rows: dict[str, str] = {}
    if result.test_images is not None:
        rows["test images"] = f"{result.test_images:,}"
    for name, value in result.metrics.items():
        before = baseline["metrics"].get(name)
        rows[f"test {name}"] = f"{value:.4f}" + ("" if before is None else f"  (baseline {before:.4f})")
    rows["baseline"] = format_baseline(baseline)
    if common := baseline.get("common_classes"):
        count, images = len(common["class_names"]), common["test_images"]
        rows["common classes"] = f"{count} of {len(result.per_class)}, {images:,} test images"
        for name, value in common["metrics"].items():
            before = common["baseline"].get(name, math.nan)
            rows[f"common {name}"] = f"{value:.4f}  (baseline {before:.4f})"
    rows["blessed"] = _BLESSINGS[result.blessed]
    rows["infra blessed"] = _BLESSINGS[result.infra_blessed]
    rows["pushed model"] = result.pushed_model or "none"
    if result.answers is not None:
        rows["answers"] = (
            f"{format_count(result.answers['images'], 'image')}, {result.answers['errors']:,} with an error, "
            f"in {result.answers['folder']}"
        )
    width = max(map(len, rows)) + 4
    for title, text in rows.items():
        shown = Text(format_row(title, text, width))
        shown.highlight_regex(r" yes$", "green")
        shown.highlight_regex(r" no$", "red")
        console.print(shown, soft_wrap=True)


def _keep_result(root: Path, result: RunResult) -> None:
    folder = root / "runs" / result.run_id
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(redact_values(dataclasses.asdict(result)), indent=2, allow_nan=False)
    write_atomically(folder / "result.json", content)
