"""The local runner: one run of a recipe on this machine, node by node, told to a person."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.disk_full import disk_full_error
from components.errors import MiranteError, NotBlessedError, UsageError, causes
from pipeline import data
from pipeline.best import write_best
from pipeline.config import Recipe
from pipeline.console import progress_bar, quiet_libraries
from schemas.curated import write_schema

# Of every recipe, in the order in which they run; `node_ids` adds what some recipes have. Here as well as in
# `pipeline.definition` so that they can be told to the user seconds before TFX is imported. Tests hold them
# together.
NODE_IDS = (
    "ImportExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "DistributionValidator",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "InfraValidator",
    "Resolver",
    "Evaluator",
    "Pusher",
)


def node_ids(recipe: Recipe) -> tuple[str, ...]:
    """The nodes of a recipe's pipeline, in the order in which they run."""
    ids = list(NODE_IDS)
    warm_start = recipe.training.warm_start
    if warm_start is not None and warm_start.is_latest_blessed:
        ids.insert(ids.index("Trainer"), "BaseModelResolver")
    if recipe.tuner is not None:
        ids.insert(ids.index("Trainer"), "Tuner")
    return tuple(ids)


@dataclasses.dataclass
class RunResult:
    """What `mirante run --json` prints, and what `<root>/runs/<run_id>/result.json` keeps."""

    pipeline: str
    run_id: str
    root: str
    wall_seconds: float = 0.0
    components: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    blessed: bool | None = None
    infra_blessed: bool | None = None
    pushed_model: str | None = None
    per_class: dict[str, dict[str, float | None]] = dataclasses.field(default_factory=dict)
    sample_image: str | None = None
    log: str | None = None
    error: str | None = None


@contextlib.contextmanager
def _sole_user_of(root: Path) -> Iterator[None]:
    """Holds the root's lock; it goes with the process, however that ends."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = open(root / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 - closed below
    except (FileExistsError, NotADirectoryError) as e:
        raise UsageError(f"--root {root}: {e.filename} is no folder; give another one") from e
    except OSError as e:
        if disk_full_error(e, [root]):
            raise
        raise MiranteError(f"--root {root} cannot be written: {e.strerror}; give another one") from e
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise MiranteError(
                f"{root} is in use by another run (process {holder}): wait for it, or give another --root"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Temporary files, of children too, go to `folder`, emptied before and removed after.

    Libraries remove theirs when the process ends by itself; this one may be killed, and TensorFlow alone
    leaves dozens of files in /tmp then.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
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
    """Runs a recipe under `root`.

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
    if recipe.push.destination and "://" not in recipe.push.destination:
        written_to.append(Path(recipe.push.destination))
    try:
        with _sole_user_of(root):
            try:
                _run_locked(recipe, root, result, console)
            except (Exception, KeyboardInterrupt) as e:  # noqa: BLE001 - the result says it
                # An interrupt that came while C++ called back gets here as an error of the library's; that it
                # came tells the timer that pipeline.cli sets.
                secs_to_next, _ = signal.setitimer(signal.ITIMER_REAL, 0)
                error = KeyboardInterrupt() if secs_to_next else disk_full_error(e, written_to) or e
            result.error = _said(error)
            result.wall_seconds = round(time.monotonic() - began, 3)
            _keep_result(root, result)
    except (MiranteError, OSError) as e:
        error = error or disk_full_error(e, written_to) or e
        result.error = _said(error)
    return result, error


def _said(error: BaseException | None) -> str | None:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command goes on from here"
    return None if error is None else str(error) or type(error).__name__


def _run_locked(recipe: Recipe, root: Path, result: RunResult, console: Console) -> None:
    console.print(f"{recipe.name}  run {result.run_id} in {root}", soft_wrap=True, markup=False)
    folder = root / "runs" / result.run_id
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    log = root / "logs" / f"{result.run_id}.log"
    result.log = str(log)
    with quiet_libraries(log, console), _temporary_files_in(root / ".tmp"):
        examples_folder = _prepare_data(recipe, root, console)
        examples = data.describe(examples_folder, recipe.data, recipe.task)
        console.print(f"  will run    {' > '.join(node_ids(recipe))}", soft_wrap=True)
        schema_file = write_schema(examples.class_names, root / "schema", examples.task)
        with console.status("loading TFX"):
            # Imports some 15 s of TensorFlow, Beam and TFX: only here, when they are needed.
            from pipeline.definition import create_pipeline
            from pipeline.node import NodeRunner

        nodes = NodeRunner(create_pipeline(recipe, examples, schema_file, root), result.run_id)
        nodes.clear_unfinished()
        refusals = _run_nodes(nodes, result, console, examples.class_names)
        result.sample_image = data.write_sample(examples, root)
    _summarize(result, console)
    if not result.pushed_model:
        raise NotBlessedError("\n".join(refusals) or "nothing was pushed")


def _prepare_data(recipe: Recipe, root: Path, console: Console) -> Path:
    began = time.monotonic()
    with progress_bar(console) as progress:
        folder, ingested = data.prepare(recipe.data, root, progress)
    if ingested is None:
        console.print(f"  data        {folder} (TFRecords, read as they are)", soft_wrap=True, markup=False)
        return folder
    for warning in ingested.warnings:
        console.print(f"  warning     {warning}", soft_wrap=True, markup=False)
    counts = ", ".join(f"{split} {summary.images:,}" for split, summary in ingested.splits.items())
    how = "unchanged" if ingested.unchanged else f"ingested in {time.monotonic() - began:.1f} s"
    rejected = f", {ingested.rejected:,} rejected ({ingested.rejects_file})" if ingested.rejected else ""
    console.print(
        f"  data        {counts} images of {len(ingested.class_names)} classes, {how}{rejected}",
        soft_wrap=True,
        markup=False,
    )
    return folder


def _run_nodes(nodes: Any, result: RunResult, console: Console, class_names: Sequence[str]) -> list[str]:
    """Runs all nodes into `result` and returns why the model was refused, if it was."""
    from pipeline.node import CACHED, FAILED, SKIPPED

    refusals: list[str] = []
    failed: tuple[str, BaseException] | None = None
    for number, node_id in enumerate(nodes.node_ids, start=1):
        if failed:
            result.components[node_id] = {"status": SKIPPED, "seconds": 0.0}
            continue
        label = f"  [{number:2}/{len(nodes.node_ids)}] {node_id:22}"
        with console.status(f"{label.strip()} running"):
            outcome = nodes.run(node_id)
            if outcome.status == CACHED and _is_outdated(node_id, outcome.outputs):
                outcome = nodes.run(node_id, use_cache=False)
        result.components[node_id] = {"status": outcome.status, "seconds": round(outcome.seconds, 3)}
        console.print(f"{label} {outcome.status:10}{outcome.seconds:7.1f} s", markup=False)
        if outcome.status == FAILED:
            failed = node_id, outcome.error
        else:
            refusals += _take_in(node_id, outcome.outputs, result, class_names)
    if failed:
        _raise_for(*failed, log=result.log)
    return refusals


def _is_outdated(node_id: str, outputs: dict[str, Any]) -> bool:
    """Whether what a node gave at equal inputs does not hold any more.

    A model that did not answer in time may do so now that the machine is less busy. A model that was pushed
    may have been superseded or removed since.
    """
    from components.pusher import highest_version

    if node_id == "InfraValidator":
        return bool(outputs["blessing"].properties.get("blessed") != 1)
    if node_id != "Pusher":
        return False
    properties = outputs["pushed_model"].properties
    if properties.get("pushed") != 1:
        return False
    path = Path(properties["pushed_destination"])
    return highest_version(str(path.parent)) != int(path.name)


def _take_in(
    node_id: str, outputs: dict[str, Any], result: RunResult, class_names: Sequence[str]
) -> list[str]:
    """Takes over what a node's outputs say of the model, be they new or cached; returns why it is refused."""
    if node_id == "Tuner":
        write_best(outputs["best_hyperparameters"].uri, Path(result.root) / "runs" / result.run_id)
    elif node_id == "Evaluator":
        from components.evaluator import read_evaluation

        evaluation = read_evaluation(outputs["evaluation"].uri)
        result.metrics = evaluation.metrics
        result.per_class = {class_names[index]: values for index, values in evaluation.per_class.items()}
        result.blessed = outputs["blessing"].properties.get("blessed") == 1
        if not result.blessed:
            return ["the model is not blessed: " + "; ".join(evaluation.failures)]
    elif node_id == "InfraValidator":
        blessing = outputs["blessing"]
        result.infra_blessed = blessing.properties.get("blessed") == 1
        if not result.infra_blessed:
            from components.infra_validator import REPORT

            report = json.loads((Path(blessing.uri) / REPORT).read_text(encoding="utf-8"))
            return ["the model is not infra blessed: " + "; ".join(report["problems"])]
    elif node_id == "Pusher":
        properties = outputs["pushed_model"].properties
        result.pushed_model = properties.get("pushed_destination") if properties.get("pushed") == 1 else None
    return []


def _raise_for(node_id: str, error: BaseException, log: str | None) -> None:
    """Words a node's failure; what the component itself raised may lie below Beam's or TFX's exceptions."""
    traceback.print_exception(type(error), error, error.__traceback__)  # to the log
    for cause in causes(error):
        # Else datasets of a training would be destroyed after the interpreter, and complain of it.
        traceback.clear_frames(cause.__traceback__)
    for cause in causes(error):
        if isinstance(cause, MiranteError):
            raise type(cause)(f"{node_id}: {cause}") from error
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    raise MiranteError(f"{node_id} failed: {last}\nThe whole story is in {log}") from error


def _summarize(result: RunResult, console: Console) -> None:
    executed = [node for node, outcome in result.components.items() if outcome["status"] == "completed"]
    if not executed:
        console.print("  nothing changed: every node's result was kept from an earlier run")
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in result.metrics.items():
        table.add_row(f"test {name}", f"{value:.4f}")
    table.add_row("blessed", _yes_or_no(result.blessed))
    table.add_row("infra blessed", _yes_or_no(result.infra_blessed))
    table.add_row("pushed model", escape(result.pushed_model or "none"))
    console.print(table)


def _yes_or_no(value: bool | None) -> str:
    return {True: "[green]yes[/green]", False: "[red]no[/red]", None: "not reached"}[value]


def _keep_result(root: Path, result: RunResult) -> None:
    folder = root / "runs" / result.run_id
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".result.json"
    try:
        temporary.write_text(
            json.dumps(dataclasses.asdict(result), indent=2, allow_nan=False), encoding="utf-8"
        )
        temporary.replace(folder / "result.json")
    finally:
        temporary.unlink(missing_ok=True)
