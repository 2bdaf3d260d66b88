"""What the process of one Kubeflow task does: ingest and plan a run, or run its node (or a few).

The first task of a run builds the pipeline and leaves what TFX compiles it to under the pipeline root; every
other one takes its node from there. So all tasks of a run agree, and a task imports what its node needs and
no more.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.metadata
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError, NotBlessedError, UsageError
from components.base.imports import without_collector
from components.base.os_errors import explain_os_error
from components.base.outcome import Output, RunResult
from components.base.owned import MARK, root_id
from components.base.paths import write_atomically
from components.base.redact import redact
from components.trainer.cluster.pods.config import WorkerPodsConfig, request_workers
from pipeline.run.interrupts import interruptible
from pipeline.run.plain_paths import is_plain
from pipeline.steps import INGEST, STEPS, node_ids, step_named
from pipeline.storage.config import MetadataConfig
from pipeline.storage.mirror import Mirror
from pipeline.storage.root_lease import RootLease
from schemas import features

_INTERMEDIATE = "pipeline.pb"
_PLAN = "plan.json"
_IN_THE_PACKAGE = (
    "which tasks there are, and what each asks of the cluster, stands in the package; "
    "`mirante compile --set` makes another"
)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What the tasks of a run have to know beside the compiled pipeline.

    Attributes:
        recipe: Its name.
        task: The recipe's task.
        class_names: In the order of their labels.
        metadata: The part `kubeflow.metadata` of the recipe; no password is in it.
        workers: The part `kubeflow.workers`; None where the Trainer trains alone.
        reads: By node, what it reads that is no artifact: paths, or addresses in buckets.
        push_destination: Where versions of the model go, likewise.
    """

    recipe: str
    task: str
    class_names: list[str]
    metadata: dict[str, Any]
    workers: dict[str, Any] | None
    reads: dict[str, list[str]]
    push_destination: str


def ingest(
    recipe: str,
    settings: Mapping[str, Any],
    overrides: Mapping[str, Any],
    pipeline_root: str,
    run_id: str,
    view: Any,
) -> None:
    """Checks a run's parameters, ingests what it reads, and plans it under the pipeline root.

    Args:
        recipe: As JSON, all keys of it.
        settings: What the run's parameters say, by recipe key; an empty text is as if not given.
        overrides: More of them, by recipe key.
        pipeline_root: A folder on a volume, or gs://BUCKET/... or s3://BUCKET/...
        run_id: Names the run; a task that is tried again has the same.
        view: Gets the page; kfp's `Output[HTML]`.

    Raises:
        SystemExit: The task failed; the last line of its log says why.
    """
    mirror = Mirror(os.environ)
    with _told(INGEST.id, run_id, pipeline_root, mirror) as console, contextlib.ExitStack() as held:
        from pipeline.data import prepare
        from pipeline.recipe.load import override, resolve
        from pipeline.run.nodes import prepare_data
        from pipeline.storage import metadata_store
        from pipeline.storage.node_files import check_can_push, fetch_versions
        from pipeline.targets.kubeflow.inputs import fetch_raw, leave_ingested, take_weights
        from schemas.curated import write_schema

        values = json.loads(recipe)
        packaged = resolve(json.loads(recipe), "the package", elsewhere=True)
        has_tasks = node_ids(packaged.optional_steps)
        for key, value in settings.items():
            override(values, key, None if value == "" else value, f"parameter for {key}")
        for key, value in overrides.items():
            if str(key).strip().partition(".")[0] == "kubeflow":
                raise UsageError(f"overrides: {key}: {_IN_THE_PACKAGE}")
            override(values, str(key), value, f"overrides: {key}")
        # As the tasks see it: what lies in buckets is not here yet.
        asked = resolve(copy.deepcopy(values), "the run's parameters", elsewhere=True)
        if added := set(node_ids(asked.optional_steps)).symmetric_difference(has_tasks):
            raise UsageError(
                f"overrides: with them the pipeline's nodes are others ({', '.join(sorted(added))}): "
                f"{_IN_THE_PACKAGE}"
            )
        kubeflow = asked.kubeflow
        # What cannot be written to is told before anything is read.
        kubeflow.check_root(pipeline_root)
        root = mirror.local(pipeline_root)
        folder = _run_folder(root, run_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(
                f"pipeline_root: user {os.getuid()} cannot write to {pipeline_root}: {e.strerror}. Is a "
                "volume of kubeflow.volumes mounted there, and is it this user's? The pod of "
                "kubeflow/manifests/volume.yaml hands it over"
            ) from e
        write_atomically(folder / "recipe.json", asked.model_dump_json(indent=1).encode())
        mirror.send(str(folder))
        connection = metadata_store.require_store(kubeflow.metadata, root, os.environ)
        held.enter_context(RootLease(connection, pipeline_root, run_id, INGEST.id).held())
        weights = take_weights(values, mirror)
        resolved = resolve(values, "the run's parameters")
        fetch_raw(mirror, resolved.data)
        # Another span may arrive any time: from here on it is this one.
        resolved = resolved.model_copy(update={"data": prepare.at_newest_span(resolved.data)})
        prepare.check_config(resolved.data, resolved.task)
        mirror.fetch(str(Path(root) / MARK))
        root_id(Path(root))
        mirror.send(str(Path(root) / MARK))
        # What a task that was killed had sent is not taken up: shards and manifest may not belong together.
        ingested = prepare.ingest_folder(resolved.data, Path(root))
        mirror.fetch(str(ingested), unless_missing=features.MANIFEST)
        pushed_to = resolved.push_destination(root)
        check_can_push(mirror, pushed_to)
        # What is served tells the classes that the data must have.
        fetch_versions(mirror, pushed_to)
        # Copies of a bucket's objects are new files in each pod, and have the objects' times.
        copied = mirror.copies(resolved.data.path or "")
        examples = prepare_data(resolved, Path(root), console, trust_times=copied)
        if examples.folder == ingested:
            leave_ingested(mirror, ingested, Path(root))
        for key, path in (("pipeline_root", root), ("data_root", str(examples.folder))):
            if not is_plain(path):
                raise UsageError(
                    f"{key}: {path}: expected a path without *, ?, [, ] and \\, which TFX reads as patterns; "
                    "rename the folder"
                )
        schema_file = write_schema(examples.class_names, Path(root) / "schema", examples.task)
        mirror.send(str(schema_file))
        console.print(f"  will run    {' > '.join(node_ids(resolved.optional_steps))}", soft_wrap=True)

        with without_collector():
            from pipeline.definition import compile_pipeline

        intermediate = compile_pipeline(resolved, examples, str(schema_file), root)
        files = {"shards": [str(examples.folder)], "schema": [str(schema_file)], "weights": weights}
        reads = {step.id: files[step.reads] for step in STEPS if step.reads}
        plan = _Plan(
            resolved.name,
            resolved.task,
            list(examples.class_names),
            kubeflow.metadata.model_dump(),
            kubeflow.workers.model_dump() if kubeflow.workers else None,
            {node: [mirror.shown(path) for path in paths] for node, paths in reads.items()},
            mirror.shown(pushed_to),
        )
        write_atomically(folder / _INTERMEDIATE, intermediate.SerializeToString(deterministic=True))
        write_atomically(folder / _PLAN, json.dumps(dataclasses.asdict(plan), indent=1).encode())
        write_atomically(folder / "recipe.json", mirror.shown(resolved.model_dump_json(indent=1)).encode())
        mirror.send(str(folder))

        from pipeline.pages import make_page

        about = {"span": str(examples.span)} if examples.span else {}
        data = {"data": Output(str(examples.folder), about)}
        page = make_page(INGEST.id, data, resolved.task, examples.class_names)
        Path(view.path).write_text(redact(mirror.shown(page.html)), encoding="utf-8")


def run_nodes(
    names: Sequence[str],
    pipeline_root: str,
    run_id: str,
    views: Mapping[str, Any],
    metrics: Any = None,
    classification: Any = None,
) -> None:
    """Runs nodes of a planned run; those that they depend on have run.

    Args:
        names: The nodes, in the order in which they run.
        pipeline_root: Where `ingest` planned the run.
        run_id: As it was given there.
        views: Gets the page of each node; kfp's `Output[HTML]` by node.
        metrics: Gets numbers; kfp's `Output[Metrics]`.
        classification: Gets the confusion matrix and the ROC curve; kfp's `Output[ClassificationMetrics]`.

    Raises:
        SystemExit: The task failed; the last line of its log says why.
    """
    mirror = Mirror(os.environ)
    what = ", ".join(names)
    with _told(what, run_id, pipeline_root, mirror) as console, contextlib.ExitStack() as held:
        with without_collector():
            from tfx.proto.orchestration import pipeline_pb2

            from pipeline.pages import make_page
            from pipeline.run.node import NodeRunner
            from pipeline.run.nodes import run_nodes as run_in_turn
            from pipeline.storage import metadata_store
            from pipeline.storage.node_files import NodeFiles

        root = mirror.local(pipeline_root)
        folder = _run_folder(root, run_id)
        mirror.fetch(str(folder), unless_missing=_PLAN)
        try:
            plan = _Plan(**json.loads((folder / _PLAN).read_text(encoding="utf-8")))
            intermediate = pipeline_pb2.Pipeline.FromString((folder / _INTERMEDIATE).read_bytes())
        except FileNotFoundError as e:
            hint = (
                "do this task's endpoint, credentials and MIRANTE_BUCKETS lead to where Ingest wrote?"
                if mirror.copies(str(folder))
                else "did the task Ingest write to the same volume? kubeflow.volumes of the recipe names the "
                "volumes of all tasks"
            )
            raise UsageError(f"there is no planned run in {folder}: {hint}") from e
        config = MetadataConfig.model_validate(plan.metadata)
        store = metadata_store.require_store(config, root, os.environ)
        lease = RootLease(store, pipeline_root, run_id, what)
        held.enter_context(lease.held(ends_run=intermediate.nodes[-1].pipeline_node.node_info.id in names))
        if plan.workers is not None:
            request_workers(WorkerPodsConfig.model_validate(plan.workers))
        reads = {node: [mirror.local(path) for path in paths] for node, paths in plan.reads.items()}
        pushed_to = mirror.local(plan.push_destination)
        files = NodeFiles(mirror, root, reads, pushed_to)
        nodes = NodeRunner(intermediate, store, run_id, files)
        nodes.clear_unfinished(only=names)
        result = RunResult(plan.recipe, run_id, root)
        refusals = run_in_turn(nodes, result, console, plan.class_names, pushed_to, only=names)
        mirror.send(str(folder))  # what the Tuner found lies there too
        for name in names:
            page = make_page(name, nodes.results[name].outputs, plan.task, plan.class_names)
            Path(views[name].path).write_text(redact(mirror.shown(page.html)), encoding="utf-8")
            for key, value in page.metrics.items() if metrics is not None else ():
                metrics.log_metric(key, value)
            if classification is not None and page.confusion is not None:
                classification.log_confusion_matrix(list(page.confusion.class_names), page.confusion.counts)
            if classification is not None and page.roc is not None:
                classification.log_roc_curve(page.roc.fpr, page.roc.tpr, page.roc.thresholds)
        for refusal in refusals:
            console.print(f"  {refusal}", markup=False, soft_wrap=True)
        for name, value in result.metrics.items():
            console.print(f"  test {name:18} {value:.4f}", markup=False)
        for pusher in (step for name in names if (step := step_named(name)).is_pusher):
            if not result.pushed_model:
                judges = [name for name in pusher.after if step_named(name).has_outcome]
                raise NotBlessedError(
                    f"nothing was pushed: it is not blessed; the tasks {' and '.join(judges)} say why"
                    if result.taken_back is None
                    else "nothing was pushed: it was taken back, see above"
                )
            console.print(f"  pushed      {result.pushed_model}", markup=False, soft_wrap=True)


@contextlib.contextmanager
def _told(what: str, run_id: str, pipeline_root: str, mirror: Mirror) -> Iterator[Any]:
    """A console for a task's log, which begins with what runs and ends with one clear error, if any.

    It shows the buckets' addresses where the local copies' paths are printed.
    """
    # Before TensorFlow is loaded: its own chatter off, its quicker kernels on, as in `mirante run`.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from pipeline.run.console import ConsoleHandler, Redacted, make_console

    console = make_console(to_stderr=False, worded=mirror.shown)
    version = importlib.metadata.version("mirante")
    console.print(f"mirante {version}  {what}  run {run_id} in {pipeline_root}", soft_wrap=True, markup=False)
    logging.getLogger().setLevel(logging.WARNING)
    own = logging.getLogger("mirante")
    own.setLevel(logging.INFO)
    handler = ConsoleHandler(console)
    # What libraries print, and Python's tracebacks.
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)  # type: ignore[assignment]
    own.addHandler(handler)
    own.propagate = False  # kfp's executor logs everything that reaches the root once more
    try:
        # SIGTERM is how Kubernetes ends a pod: the Trainer then keeps a checkpoint and removes its workers.
        with interruptible():
            yield console
    except KeyboardInterrupt:
        _fail(console, "interrupted; the task goes on from here when it is tried again", 130)
    except MiranteError as e:
        _fail(console, str(e), e.exit_code)
    except Exception as e:  # noqa: BLE001 - the last line of the log says it
        traceback.print_exc()
        if explained := explain_os_error(e, [Path(pipeline_root)]):
            _fail(console, f"{what}: {explained}", explained.exit_code)
        _fail(console, f"{what} failed: {type(e).__name__}: {e} (the whole story is above)", 1)
    else:
        console.print(f"{what}: done", markup=False, soft_wrap=True)
    finally:
        sys.stdout, sys.stderr = streams
        own.removeHandler(handler)
        own.propagate = True


def _fail(console: Any, message: str, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    console.print(f"\nmirante: {message}", markup=False, soft_wrap=True)
    sys.exit(code)


def _run_folder(root: str, run_id: str) -> Path:
    return Path(root) / "runs" / run_id
