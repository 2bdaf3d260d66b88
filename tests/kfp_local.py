"""Runs a compiled package with kfp's own local runner.

    python -m tests.kfp_local [--docker] PACKAGE OUTPUTS [NAME=VALUE]...

Each task is a process of this Python, or with --docker a container of the package's image, which sees of
this machine the folder OUTPUTS alone.
"""

from __future__ import annotations

import sys

import yaml


def main() -> int:
    from kfp import components, local

    docker, (package, outputs, *given) = "--docker" in sys.argv, [a for a in sys.argv[1:] if a != "--docker"]
    runner = local.DockerRunner() if docker else local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=outputs, raise_on_error=True)
    arguments = {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in given)}
    components.load_component_from_file(package)(**arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
