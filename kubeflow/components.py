"""The components of a compiled pipeline: one function a task, written out, as kfp takes their source.

kfp's local runner takes nothing but lightweight Python components, whose source is in the package. These
only call `pipeline.task`, which the image has. Inputs that are artifacts draw the edges of the UI's graph and
its lineage; the task itself finds what its nodes read in the metadata store.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Sequence
from typing import Any

from kubeflow.parameters import OVERRIDES, Parameter
from kubeflow.tasks import Task
from pipeline.steps import INGEST

# The output of the task that pushes.
VERDICT = "verdict"


def build_component(task: Task, parameters: Sequence[Parameter], image: str) -> Any:
    """Build the component of a task.

    Its inputs are `pipeline_root` and `run` (texts) and the artifacts that it takes; of the task that checks
    a run's parameters, ingests and plans it, also the other parameters and `recipe`. Its outputs are a page
    for each node, what KFP draws itself, the artifacts that its nodes give, and the verdict of the Pusher.
    """
    views = _name_outputs("view", task, task.nodes)
    # Kinds that a node shows in KFP's own viewers, and its outputs for them.
    shown = {
        kind: _name_outputs(kind, task, [step.id for step in task.steps if kind in step.shows])
        for kind in ("metrics", "classification")
    }
    gives = [artifact for step in task.steps for artifact in step.gives]
    ingests = INGEST.id in task.nodes
    inputs = [f"{p.name}: {p.kind.__name__}" for p in parameters] if ingests else ["pipeline_root: str"]
    signature = [
        *inputs,
        *(["recipe: str"] if ingests else []),
        "run: str",
        *(f"{artifact.name}: Input[{artifact.kind}]" for artifact in task.takes),
        *(f"{output}: Output[HTML]" for output in views.values()),
        *(f"{output}: Output[Metrics]" for output in shown["metrics"].values()),
        *(f"{output}: Output[ClassificationMetrics]" for output in shown["classification"].values()),
        *(f"{artifact.name}: Output[{artifact.kind}]" for artifact in gives),
        *([f"{VERDICT}: OutputPath(str)"] if task.pushes else []),
    ]
    body = ["from pipeline import task", ""]
    if ingests:
        settings = _write_dict({repr(p.key): p.name for p in parameters if p.key is not None})
        arguments = ["recipe", "settings", OVERRIDES, "pipeline_root", "run", views[INGEST.id]]
        arguments.append(_write_dict({repr(artifact.name): artifact.name for artifact in INGEST.gives}))
        body += [f"settings = {settings}", f"task.ingest({', '.join(arguments)})"]
    if nodes := [node for node in task.nodes if node != INGEST.id]:
        given = {repr(artifact.name): artifact.name for artifact in gives if artifact not in INGEST.gives}
        arguments = [repr(nodes), "pipeline_root", "run"]
        arguments.append(_write_dict({repr(node): views[node] for node in nodes}))
        for kind, outputs in shown.items():
            if outputs:
                arguments.append(f"{kind}={_write_dict({repr(k): v for k, v in outputs.items()})}")
        arguments.append(f"artifacts={_write_dict(given)}")
        if task.pushes:
            arguments.append(f"verdict={VERDICT}")
        body.append(f"task.run_nodes({', '.join(arguments)})")
    name = re.sub(r"\W", "_", task.name)
    lines = [f"def {name}({', '.join(signature)}):", *(f"    {line}".rstrip() for line in body)]
    return _build_component(name, "\n".join(lines) + "\n", image)


def build_refusal(image: str) -> Any:
    """Build the component that ends a run which pushed nothing; its input is the verdict."""
    source = f"def refuse({VERDICT}: str):\n    from pipeline import task\n\n    task.refuse({VERDICT})\n"
    return _build_component("refuse", source, image)


def _name_outputs(kind: str, task: Task, nodes: Sequence[str]) -> dict[str, str]:
    """Return the names of outputs of one kind by node."""
    return {node: kind if len(task.nodes) == 1 else f"{kind}_{node}" for node in nodes}


def _write_dict(items: dict[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in items.items())}}}"


def _build_component(name: str, source: str, image: str) -> Any:
    """Build a lightweight component of a function's source, which needs only what is in the image."""
    from kfp import dsl

    # kfp reads a function's source by its file's name; no file is needed for that.
    file = f"<mirante component {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    ways = ("Input", "Output", "OutputPath")
    kinds = ("HTML", "Metrics", "ClassificationMetrics", "Dataset", "Model", "Artifact")
    scope: dict[str, Any] = {name: getattr(dsl, name) for name in (*ways, *kinds)}
    # Nothing inherited: this module's annotations are texts, and kfp wants types.
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    return dsl.component(scope[name], base_image=image, install_kfp_package=False)
