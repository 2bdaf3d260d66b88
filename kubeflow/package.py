"""A compiled pipeline as a file: what it is called, its tasks, its parameters, and values given for them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from components.base.errors import UsageError
from components.base.words import suggest_and_list

_MAKE_ONE = "make one with: mirante compile RECIPE --image REF -o pipeline.yaml"

# In a package's description, before the name of the service account.
RUNS_AS = "Runs as the service account "


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter as the package defines it.

    Attributes:
        kind: KFP's name of its type, such as NUMBER_INTEGER.
        required: Whether a run needs a value for it.
    """

    kind: str
    required: bool


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: Where it lies.
        name: What the pipeline calls itself.
        sha256: Of the file's bytes, in hexadecimal.
        service_account: That its tasks run as; the server's default where None.
        parameters: By name.
        tasks: The name of each task, by the name that the server has for it; in the file's order. Of a group
            that runs under a condition its tasks.
    """

    path: Path
    name: str
    sha256: str
    service_account: str | None
    parameters: dict[str, Parameter]
    tasks: dict[str, str]


def read_package(path: Path) -> Package:
    """Read a package as KFP v2 compiles it.

    Source: the message PipelineSpec of kfp-pipeline-spec, written as YAML.

    Raises:
        UsageError: The file cannot be read, or is no such package.
    """
    try:
        content = path.read_bytes()
        documents = list(yaml.safe_load_all(content))
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}; {_MAKE_ONE}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        first = str(e).splitlines()[0]
        raise UsageError(f"{path}: no Kubeflow Pipelines package: no YAML ({first}); {_MAKE_ONE}") from e
    spec: Any = documents[0] if documents else None
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{path}: expected a file named .yaml, by which the server knows it; {_MAKE_ONE}")
    if isinstance(spec, dict) and spec.get("kind") == "Workflow":
        raise UsageError(
            f"{path}: an Argo workflow, as Kubeflow Pipelines 1 compiles it; version 2 is needed: {_MAKE_ONE}"
        )
    try:
        runs_as = re.search(rf"{RUNS_AS}(\S+)\.(\s|$)", spec["pipelineInfo"].get("description", ""))
        return Package(
            path,
            str(spec["pipelineInfo"]["name"]),
            hashlib.sha256(content).hexdigest(),
            runs_as[1] if runs_as else None,
            {
                name: Parameter(
                    definition["parameterType"],
                    not definition.get("isOptional") and "defaultValue" not in definition,
                )
                for name, definition in spec["root"].get("inputDefinitions", {}).get("parameters", {}).items()
            },
            dict(_name_tasks(spec, spec["root"]["dag"]["tasks"])),
        )
    except (KeyError, TypeError, AttributeError) as e:
        raise UsageError(
            f"{path}: no Kubeflow Pipelines package: expected pipelineInfo.name and root.dag.tasks, as kfp's "
            f"compiler writes them; {_MAKE_ONE}"
        ) from e


def _name_tasks(spec: Any, tasks: Any) -> Iterator[tuple[str, str]]:
    for key, task in tasks.items():
        if "triggerPolicy" in task:
            yield from _name_tasks(spec, spec["components"][task["componentRef"]["name"]]["dag"]["tasks"])
        else:
            yield key, task["taskInfo"]["name"]


def arguments(package: Package, given: Iterable[str]) -> dict[str, Any]:
    """Return the values of `name=value`, each as the package's parameter wants it.

    Raises:
        UsageError: No such parameter, no value of its type, or one is missing.
    """
    values: dict[str, Any] = {}
    for item in given:
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {item}: expected name=value")
        if name not in package.parameters:
            hint = suggest_and_list(name, package.parameters)
            raise UsageError(f"--param {item}: {package.path} has no parameter {name!r}{hint}")
        if name in values:
            raise UsageError(f"--param {item}: {name} is given twice")
        values[name] = _read_value(item, package.parameters[name].kind, text)
    missing = [
        name for name, parameter in package.parameters.items() if parameter.required and name not in values
    ]
    if missing:
        raise UsageError(
            f"{package.path}: no value for {', '.join(missing)}, which the pipeline needs: give it with "
            f"--param {missing[0]}=..."
        )
    return values


def _read_value(item: str, kind: str, text: str) -> Any:
    if kind == "STRING":
        return text
    wanted, types = {
        "NUMBER_INTEGER": ("a whole number", (int,)),
        "NUMBER_DOUBLE": ("a number", (int, float)),
        "BOOLEAN": ("true or false", (bool,)),
        "LIST": ("a list as JSON", (list,)),
        "STRUCT": ("an object as JSON", (dict,)),
    }.get(kind, (None, ()))
    if wanted is None:
        raise UsageError(f"--param {item}: parameters of type {kind} cannot be given here")
    try:
        value = json.loads(text.lower() if kind == "BOOLEAN" else text)
    except ValueError:
        value = None
    # In Python, True is an int.
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise UsageError(f"--param {item}: expected {wanted} (the parameter's type is {kind}), got {text!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"--param {item}: expected a finite number, got {text!r}")
    return value
