"""Runs a compiled package with kfp's own local runner.

    python -m tests.kfp_local PYTHON PACKAGE OUTPUTS [NAME=VALUE]...

Each task is a process of PYTHON. The runner knows no conditions: a group under one runs after all else, as a
package of its own, if the text that it asks about is another one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml


def main() -> int:
    from kfp import components, local

    python, package, outputs, *given = sys.argv[1:]
    sys.executable = python  # what the runner starts
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=outputs, raise_on_error=True)
    arguments = {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in given)}
    # With what it asks of the cluster, which the runner does not read.
    spec, *_ = yaml.safe_load_all(Path(package).read_text(encoding="utf-8"))
    tasks = spec["root"]["dag"]["tasks"]
    groups = [tasks.pop(name) for name in list(tasks) if "triggerPolicy" in tasks[name]]
    components.load_component_from_text(yaml.safe_dump(spec))(**arguments)
    for group in groups:
        (name,) = group["inputs"]["parameters"]
        condition = re.fullmatch(
            rf"inputs\.parameter_values\['{name}'\] != '(.*)'", group["triggerPolicy"]["condition"]
        )
        assert condition, group
        text = read_output(Path(outputs), group["inputs"]["parameters"][name]["taskOutputParameter"])
        if text != condition[1]:
            below = {**spec, "root": spec["components"][group["componentRef"]["name"]]}
            components.load_component_from_text(yaml.safe_dump(below))(**{name: text})
    return 0


def read_output(outputs: Path, output: dict[str, str]) -> str:
    """Return the text that a task gave as an output parameter."""
    (file,) = outputs.glob(f"*/{output['producerTask']}/{output['outputParameterKey']}")
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
