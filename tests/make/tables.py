"""Compiled pipelines as tables that can be read: per task what it waits for, is given, runs and asks for."""

from __future__ import annotations

import ast
import json
from typing import Any

import yaml

# Values of TFX's that only repeat the types of inputs and outputs.
_TYPES = ("--json_serialized_inputs_spec_args", "--json_serialized_outputs_spec_args")


def table_of_package(text: str) -> str:
    """Return the table of a package for Kubeflow Pipelines."""
    spec, *platforms = yaml.safe_load_all(text)
    dag = dict(spec["root"]["dag"]["tasks"])
    for task in spec["root"]["dag"]["tasks"].values():
        # The tasks of a group, which runs under a condition.
        dag.update(spec["components"][task["componentRef"]["name"]].get("dag", {}).get("tasks", {}))
    names = {label: task["taskInfo"]["name"] for label, task in dag.items()}
    asked = {}
    if platforms:
        asked = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    tasks = {}
    for label, task in dag.items():
        executor = spec["components"][task["componentRef"]["name"]].get("executorLabel")
        if executor is None:
            tasks[names[label]] = _common(task, names)
            continue
        container = spec["deploymentSpec"]["executors"][executor]["container"]
        tasks[names[label]] = {
            **_common(task, names),
            "runs": _statements(container["command"][-1]),
            **{key: value for key, value in container.items() if key not in ("command", "args")},
            "kubernetes": asked.get(executor, {}),
        }
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    return _dump({"pipeline": spec["pipelineInfo"], "parameters": parameters, **_shortened(tasks)})


def table_of_job(text: str) -> str:
    """Return the table of a job for Vertex AI."""
    job = json.loads(text)
    spec = job["pipelineSpec"]
    dag = spec["root"]["dag"]["tasks"]
    tasks = {}
    for name, task in dag.items():
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        executor = dict(spec["deploymentSpec"]["executors"][label])
        if "container" in executor:
            container = executor.pop("container")
            executor.update(container)
            executor["args"] = _without_types(container["args"])
            check = container.get("lifecycle", {}).get("preCacheCheck")
            if check:
                executor["lifecycle"] = {**check, "args": _without_types(check["args"])}
        tasks[name] = {**_common(task, {other: other for other in dag}), **executor}
    rest = {key: value for key, value in job.items() if key != "pipelineSpec"}
    return _dump({"job": rest, "pipeline": spec["pipelineInfo"], **_shortened(tasks)})


def _common(task: Any, names: dict[str, str]) -> dict[str, Any]:
    """Return what both kinds of pipelines say about a task."""
    known = ("componentRef", "dependentTasks", "inputs", "taskInfo")
    given: dict[str, Any] = {}
    for kind in task.get("inputs", {}).values():
        given.update({name: _input(value) for name, value in kind.items()})
    return {
        "waits for": [names[other] for other in task.get("dependentTasks", ())],
        "is given": given,
        **{key: value for key, value in task.items() if key not in known},
    }


def _statements(source: str) -> list[str]:
    """Return what the function of a component does, without its import."""
    function = ast.parse(source).body[-1]
    assert isinstance(function, ast.FunctionDef)
    return [ast.unparse(statement) for statement in function.body[1:]]


def _shortened(tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the tasks without what most of them have in common, and that."""
    usual = {}
    for key in dict.fromkeys(key for task in tasks.values() for key in task):
        found = [json.dumps(task.get(key), sort_keys=True, default=repr) for task in tasks.values()]
        common = max(found, key=found.count)
        if found.count(common) * 2 > len(found) and json.loads(common) not in (None, {}, []):
            usual[key] = json.loads(common)
    shortened = {
        name: {key: task.get(key) for key in {**task, **usual} if task.get(key) != usual.get(key, {})}
        for name, task in tasks.items()
    }
    return {"most tasks": usual, "tasks": shortened}


def _input(value: Any) -> Any:
    (found,) = value.values()
    if not isinstance(found, dict):
        return f"parameter {found}"
    if "producerTask" in found:
        return f"{found.get('outputArtifactKey', found.get('outputParameterKey'))} of {found['producerTask']}"
    (constant,) = found.values()
    try:
        constant = json.loads(constant)
    except (TypeError, ValueError):
        return " ".join(constant.split()) if isinstance(constant, str) else constant
    return {key: _Line(value) for key, value in constant.items()} if isinstance(constant, dict) else constant


def _without_types(arguments: list[str]) -> list[str]:
    """Return a command's arguments without those that repeat the types of inputs and outputs."""
    return [
        argument
        for number, argument in enumerate(arguments)
        if argument not in _TYPES and (number == 0 or arguments[number - 1] not in _TYPES)
    ]


def _dump(value: Any) -> str:
    def without_empty(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_empty(item) for key, item in value.items() if item not in ({}, [])}
        return value

    dumped: str = yaml.dump(
        without_empty(value), Dumper=_Dumper, default_flow_style=None, sort_keys=False, width=116
    )
    return dumped


class _Dumper(yaml.SafeDumper):
    """Writes nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Line:
    """A value that is written in one line, or in as many as it needs."""

    def __init__(self, value: Any):
        self.value = value


def _represent(dumper: yaml.SafeDumper, line: _Line) -> Any:
    node = dumper.represent_data(line.value)
    nested = [node]
    for part in nested:
        if not isinstance(part, yaml.ScalarNode):
            part.flow_style = True
            nested += [item for pair in part.value for item in (pair if isinstance(pair, tuple) else (pair,))]
    return node


_Dumper.add_representer(_Line, _represent)
