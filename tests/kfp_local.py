"""Runs a compiled package with kfp's own local runner, each task in a process of its own; no Docker.

    python -m tests.kfp_local PACKAGE OUTPUTS [NAME=VALUE]...

The last line on standard output is a JSON object: the states of all tasks are those that kfp logs.
"""

from __future__ import annotations

import sys

import yaml


def main() -> int:
    from kfp import components, local

    package, outputs, *given = sys.argv[1:]
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=outputs, raise_on_error=True)
    arguments = {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in given)}
    components.load_component_from_file(package)(**arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
