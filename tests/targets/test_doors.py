"""The names that leave the repository: compiled packages, jobs and ML Metadata keep them, so they stay."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
# Kept by compiled packages (pipeline.task), by compiled jobs (pipeline.vertex_task) and by ML Metadata, which
# has the other three as execution properties.
DOORS = {
    "pipeline.task": ("ingest", "refuse", "run_nodes"),
    "pipeline.vertex_task": ("main",),
    "components.trainer": ("run_fn",),
    "components.transform": ("preprocessing_fn",),
    "components.tuner": ("tuner_fn",),
}


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON or YAML value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("module", DOORS)
def test_a_door_is_there(module: str) -> None:
    opened = importlib.import_module(module)
    for name in DOORS[module]:
        function = getattr(opened, name)
        assert callable(function)
        if module.startswith("components."):
            # TFX writes down where the function is, and finds it there again.
            assert (function.__module__, function.__qualname__) == (module, name)


def test_a_door_exports_what_packages_call_and_nothing_else() -> None:
    from pipeline import task

    public = {name for name in vars(task) if not name.startswith("_")}
    assert public == set(DOORS["pipeline.task"])


def test_compiled_packages_call_the_door_as_it_is() -> None:
    from pipeline import task

    called = set()
    for package in GOLDEN.glob("*.package.yaml"):
        for document in yaml.safe_load_all(package.read_text(encoding="utf-8")):
            for source in texts(document):
                if "from pipeline import task" not in source:
                    continue
                for node in ast.walk(ast.parse(source)):
                    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("task."):
                        name = ast.unparse(node.func).removeprefix("task.")
                        called.add(name)
                        signature = inspect.signature(getattr(task, name))
                        named = {keyword.arg or "": None for keyword in node.keywords}
                        signature.bind(*node.args, **named)
    assert called == set(DOORS["pipeline.task"])


def test_compiled_jobs_start_the_door() -> None:
    jobs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in GOLDEN.glob("*.vertex.yaml")]
    assert [job["most tasks"]["command"] for job in jobs] == [["python", "-m", "pipeline.vertex_task"]] * 2
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.vertex_task", "--executor_class_path", "some.Executor"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--json_serialized_invocation_args" in done.stderr
