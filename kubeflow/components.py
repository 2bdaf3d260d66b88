"""The components of a compiled pipeline: one function a task, written out, as kfp takes their source.

kfp's local runner takes nothing but lightweight Python components, whose source is in the package. These
only call `pipeline.task`, which the image has.
"""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Sequence
from typing import Any

from kubeflow.parameters import OVERRIDES, Parameter
from pipeline.steps import INGEST, step_named


def task_name(nodes: Sequence[str]) -> str:
    """Return the name of the task of one node, or of several that share it."""
    return nodes[0] if len(nodes) == 1 else "_".join(nodes)


def ingest_component(parameters: Sequence[Parameter], image: str) -> Any:
    """Build the component of the task that checks a run's parameters, ingests and plans it.

    Its inputs are the parameters, and `recipe` and `run` (texts); its one output parameter is the run's id.
    """
    signature = [f"{p.name}: {p.kind.__name__}" for p in parameters]
    settings = ", ".join(f"{p.key!r}: {p.name}" for p in parameters if p.key is not None)
    return _build_component(
        INGEST.id,
        f"""
        def {INGEST.id}({", ".join(signature)}, recipe: str, run: str, view: Output[HTML]) -> str:
            from pipeline import task

            settings = {{{settings}}}
            task.ingest(recipe, settings, {OVERRIDES}, pipeline_root, run, view)
            return run
        """,
        image,
    )


def nodes_component(nodes: Sequence[str], image: str) -> Any:
    """Build the component of the task that runs one node, or several in turn."""
    views = {node: "view" if len(nodes) == 1 else f"view_{node}" for node in nodes}
    outputs = [f"{name}: Output[HTML]" for name in views.values()]
    more = []
    shown = {kind for node in nodes for kind in step_named(node).shows}
    if "metrics" in shown:
        outputs.append("metrics: Output[Metrics]")
        more.append("metrics=metrics")
    if "classification" in shown:
        outputs.append("classification: Output[ClassificationMetrics]")
        more.append("classification=classification")
    given = ", ".join(f"{node!r}: {name}" for node, name in views.items())
    name = task_name(nodes)
    arguments = ", ".join([repr(list(nodes)), "pipeline_root", "run", f"{{{given}}}", *more])
    return _build_component(
        name,
        f"""
        def {name}(pipeline_root: str, run: str, {", ".join(outputs)}):
            from pipeline import task

            task.run_nodes({arguments})
        """,
        image,
    )


def _build_component(name: str, indented: str, image: str) -> Any:
    """Build a lightweight component of a function's source, which needs only what is in the image."""
    from kfp import dsl

    source = textwrap.dedent(indented).strip() + "\n"
    # kfp reads a function's source by its file's name; no file is needed for that.
    file = f"<mirante component {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {
        "Output": dsl.Output,
        "HTML": dsl.HTML,
        "Metrics": dsl.Metrics,
        "ClassificationMetrics": dsl.ClassificationMetrics,
    }
    # Nothing inherited: this module's annotations are texts, and kfp wants types.
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    return dsl.component(scope[name], base_image=image, install_kfp_package=False)
