"""Every Kubeflow task of a run after the first: runs its node, or a few."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError, NotBlessedError
from components.base.imports import without_collector
from components.base.outcome import RunResult
from components.base.redact import redact
from components.base.words import format_count
from components.pages.rendered import RenderedPage
from components.trainer.cluster.pods.config import WorkerPodsConfig, request_workers
from pipeline.pages import make_page
from pipeline.run.node_result import NodeResult
from pipeline.run.unchanged import note_pushed
from pipeline.steps import Step, name_nodes, step_named
from pipeline.storage.config import MetadataConfig
from pipeline.storage.mirror import Mirror
from pipeline.storage.root_lease import RootLease
from pipeline.targets.kubeflow.artifacts import write_artifacts
from pipeline.targets.kubeflow.kept import PAGES, NodeRecord, make_node, read_node, write_node
from pipeline.targets.kubeflow.log import log_task
from pipeline.targets.kubeflow.plan import Plan, read_plan, run_folder
from pipeline.targets.kubeflow.verdict import PUSHED


def run_nodes(
    names: Sequence[str],
    pipeline_root: str,
    run_id: str,
    views: Mapping[str, Any],
    metrics: Any = None,
    classification: Any = None,
    artifacts: Mapping[str, Any] | None = None,
    verdict: str | None = None,
) -> None:
    """Run nodes of a planned run; those that they depend on have run.

    Args:
        names: The nodes, in the order in which they run.
        pipeline_root: Where `ingest` planned the run.
        run_id: As it was given there.
        views: Gets the page of each node; kfp's `Output[HTML]` by node.
        metrics: Gets numbers; kfp's `Output[Metrics]` by node, or one for all nodes in packages that were
            compiled before.
        classification: Gets the confusion matrix and the ROC curve, kfp's `Output[ClassificationMetrics]`;
            likewise.
        artifacts: Get the nodes' outputs; kfp's `Output[...]` by name.
        verdict: The file that says whether the Pusher pushed, or why not; kfp's `OutputPath(str)`. None in a
            task without it, and in packages that were compiled before, whose task fails then.

    Raises:
        SystemExit: The task failed; the last line of its log says why.
    """
    mirror = Mirror(os.environ)
    what = name_nodes(names)
    shown = _Shown(views, metrics, classification, artifacts or {}, verdict, mirror)
    with log_task(what, run_id, pipeline_root, mirror) as (console, attempts), contextlib.ExitStack() as held:
        from pipeline.storage import metadata_store

        root = mirror.local(pipeline_root)
        folder = run_folder(root, run_id)
        plan, compiled = read_plan(folder, mirror)
        config = MetadataConfig.model_validate(plan.metadata)
        store = metadata_store.require_store(config, root, os.environ)
        lease = RootLease(store, pipeline_root, run_id, what)
        held.enter_context(
            lease.held(ends_run=plan.last_node in names, tried_again_after=attempts.wait_after)
        )
        if plan.same_as is not None:
            _repeat(names, run_folder(root, plan.same_as), shown, console)
            return
        if plan.workers is not None:
            request_workers(WorkerPodsConfig.model_validate(plan.workers))
        reads = {node: [mirror.local(path) for path in paths] for node, paths in plan.reads.items()}
        pushed_to = mirror.local(plan.push_destination)
        with without_collector():
            from tfx.proto.orchestration import pipeline_pb2

            from pipeline.run.node import NodeRunner
            from pipeline.run.nodes import run_nodes as run_in_turn
            from pipeline.storage.node_files import NodeFiles

        intermediate = pipeline_pb2.Pipeline.FromString(compiled)
        nodes = NodeRunner(intermediate, store, run_id, NodeFiles(mirror, root, reads, pushed_to))
        nodes.clear_unfinished(only=names)
        result = RunResult(plan.recipe, run_id, root)
        kept_in = f"  pages       {folder / PAGES}"
        try:
            refusals = run_in_turn(nodes, result, console, plan.class_names, pushed_to, names, announce=True)
        except MiranteError:
            # Kubeflow drops what a task that fails has written.
            with contextlib.suppress(MiranteError, OSError):
                _keep_results(nodes.results, folder, plan, shown)
                console.print(kept_in, markup=False, soft_wrap=True)
            raise
        _keep_results(nodes.results, folder, plan, shown)
        for refusal in refusals:
            console.print(f"  {refusal}", markup=False, soft_wrap=True)
        for name, value in result.metrics.items():
            console.print(f"  test {name:18} {value:.4f}", markup=False)
        if result.answers is not None:
            answered = format_count(result.answers["images"], "image")
            told = f"  answers     {answered} in {mirror.shown(result.answers['folder'])}"
            console.print(told, markup=False, soft_wrap=True)
        for pusher in (step for name in names if (step := step_named(name)).is_pusher):
            if not result.pushed_model:
                console.print(kept_in, markup=False, soft_wrap=True)
                why = _explain_refusal(pusher, result, refusals)
                if verdict is None:
                    raise NotBlessedError(why)
                if why not in refusals:
                    console.print(f"  {why}", markup=False, soft_wrap=True)
                shown.judge(redact(mirror.shown(why)))
                continue
            console.print(f"  pushed      {result.pushed_model}", markup=False, soft_wrap=True)
            shown.judge(PUSHED)
            note_pushed(root, run_id, plan.fingerprint, mirror)


def _explain_refusal(pusher: Step, result: RunResult, refusals: Sequence[str]) -> str:
    """Return why nothing was pushed, as a text that says all where nothing else is read."""
    if result.taken_back is not None:
        return refusals[-1]  # the Pusher's own: no node after it refuses anything
    judges = [name for name in pusher.after if step_named(name).has_outcome and not step_named(name).optional]
    return f"nothing was pushed: it is not blessed; the pages of {' and '.join(judges)} say why"


@dataclasses.dataclass(frozen=True)
class _Shown:
    """Kfp's outputs for nodes, as `run_nodes` gets them."""

    views: Mapping[str, Any]
    metrics: Any
    classification: Any
    artifacts: Mapping[str, Any]
    verdict: str | None
    mirror: Mirror

    def fill(self, node_id: str, record: NodeRecord, state: str, seconds: float) -> None:
        """Fill in the outputs of a node."""
        Path(self.views[node_id].path).write_text(record.page.html, encoding="utf-8")
        metrics, classification = (
            outputs.get(node_id) if isinstance(outputs, Mapping) else outputs
            for outputs in (self.metrics, self.classification)
        )
        _draw(record.page, metrics, classification)
        facts: dict[str, str | float] = {"state": state, "seconds": round(seconds, 1)}
        write_artifacts(step_named(node_id), record.outputs, self.artifacts, self.mirror.shown, **facts)

    def judge(self, verdict: str) -> None:
        """Say whether the model was pushed, or why not."""
        if self.verdict is not None:
            Path(self.verdict).parent.mkdir(parents=True, exist_ok=True)
            Path(self.verdict).write_text(verdict, encoding="utf-8")


def _keep_results(results: Mapping[str, NodeResult], folder: Path, plan: Plan, shown: _Shown) -> None:
    """Hand the results of nodes that did not fail to Kubeflow, and keep them in the run's folder."""
    for name, node in results.items():
        if node.error is None:
            page = make_page(name, node.outputs, plan.task, plan.class_names)
            page = dataclasses.replace(page, html=redact(shown.mirror.shown(page.html)))
            record = make_node(page, node.outputs, shown.mirror)
            write_node(folder, name, record)
            shown.fill(name, record, node.status, node.seconds)
    shown.mirror.send(str(folder))  # with the hyperparameters that the Tuner found


def _repeat(names: Sequence[str], folder: Path, shown: _Shown, console: Any) -> None:
    """Hand on what an earlier run's tasks gave to Kubeflow, without TensorFlow and TFX.

    Raises:
        MiranteError: It is gone.
    """
    shown.mirror.fetch(str(folder))
    for number, name in enumerate(names, start=1):
        try:
            record = read_node(folder, name)
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise MiranteError(
                f"{name}: run {folder.name}, whose results this run has, was removed meanwhile: start this "
                "run again"
            ) from e
        shown.fill(name, record, "cached", 0.0)
        console.print(f"  [{number:2}/{len(names)}] {name:22} {'cached':10}{0.0:7.1f} s", markup=False)
        if step_named(name).is_pusher:
            pushed = record.outputs["pushed_model"].properties["pushed_destination"]
            console.print(f"  pushed      {pushed}", markup=False, soft_wrap=True)
            shown.judge(PUSHED)


def _draw(page: RenderedPage, metrics: Any, classification: Any) -> None:
    """Give Kubeflow's own viewers what they draw."""
    for key, value in page.metrics.items() if metrics is not None else ():
        metrics.log_metric(key, value)
    if classification is not None and page.confusion is not None:
        classification.log_confusion_matrix(list(page.confusion.class_names), page.confusion.counts)
    if classification is not None and page.roc is not None:
        classification.log_roc_curve(page.roc.fpr, page.roc.tpr, page.roc.thresholds)
