"""Runs a compiled package with kfp's own local runner.

    python -m tests.kfp_local PYTHON PACKAGE OUTPUTS [NAME=VALUE]...

Each task is a process of PYTHON.
"""

from __future__ import annotations

import sys

import yaml


def main() -> int:
    from kfp import components, local

    python, package, outputs, *given = sys.argv[1:]
    sys.executable = python  # what the runner starts
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=outputs, raise_on_error=True)
    arguments = {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in given)}
    components.load_component_from_file(package)(**arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
