"""Every Kubeflow task of a run after the first: runs its node, or a few."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import NotBlessedError
from components.base.imports import without_collector
from components.base.outcome import RunResult
from components.base.redact import redact
from components.pages.rendered import RenderedPage
from components.trainer.cluster.pods.config import WorkerPodsConfig, request_workers
from pipeline.steps import name_nodes, step_named
from pipeline.storage.config import MetadataConfig
from pipeline.storage.mirror import Mirror
from pipeline.storage.root_lease import RootLease
from pipeline.targets.kubeflow.artifacts import write_artifacts
from pipeline.targets.kubeflow.log import log_task
from pipeline.targets.kubeflow.plan import read_plan, run_folder


def run_nodes(
    names: Sequence[str],
    pipeline_root: str,
    run_id: str,
    views: Mapping[str, Any],
    metrics: Any = None,
    classification: Any = None,
    artifacts: Mapping[str, Any] | None = None,
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

    Raises:
        SystemExit: The task failed; the last line of its log says why.
    """
    mirror = Mirror(os.environ)
    what = name_nodes(names)
    with log_task(what, run_id, pipeline_root, mirror) as console, contextlib.ExitStack() as held:
        with without_collector():
            from tfx.proto.orchestration import pipeline_pb2

            from pipeline.pages import make_page
            from pipeline.run.node import NodeRunner
            from pipeline.run.nodes import run_nodes as run_in_turn
            from pipeline.storage import metadata_store
            from pipeline.storage.node_files import NodeFiles

        root = mirror.local(pipeline_root)
        folder = run_folder(root, run_id)
        plan, compiled = read_plan(folder, mirror)
        intermediate = pipeline_pb2.Pipeline.FromString(compiled)
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
        refusals = run_in_turn(nodes, result, console, plan.class_names, pushed_to, names, announce=True)
        mirror.send(str(folder))  # with the hyperparameters that the Tuner found
        for name in names:
            node = nodes.results[name]
            page = make_page(name, node.outputs, plan.task, plan.class_names)
            Path(views[name].path).write_text(redact(mirror.shown(page.html)), encoding="utf-8")
            _draw(page, _output_of(name, metrics), _output_of(name, classification))
            facts: dict[str, str | float] = {"state": node.status, "seconds": round(node.seconds, 1)}
            write_artifacts(step_named(name), node.outputs, artifacts or {}, mirror.shown, **facts)
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


def _output_of(node_id: str, outputs: Any) -> Any:
    """Return kfp's output for what a node shows; None where the package has none."""
    return outputs.get(node_id) if isinstance(outputs, Mapping) else outputs


def _draw(page: RenderedPage, metrics: Any, classification: Any) -> None:
    """Give Kubeflow's own viewers what they draw."""
    for key, value in page.metrics.items() if metrics is not None else ():
        metrics.log_metric(key, value)
    if classification is not None and page.confusion is not None:
        classification.log_confusion_matrix(list(page.confusion.class_names), page.confusion.counts)
    if classification is not None and page.roc is not None:
        classification.log_roc_curve(page.roc.fpr, page.roc.tpr, page.roc.thresholds)
