"""How soon a task's process is at its node's executor, against what `from tfx import v1` alone takes.

    python benchmarks/node_start.py [--rounds N]          (`make bench-node-start`)

A run of digits is planned once, and its schema node run. Then, in turn: a fresh process that imports TFX's
public module, and a fresh process of that node's task as Kubeflow starts it (shell, kfp's executor, Mirante),
whose result is in the cache. Wall time is that until the import is done, and until the task tells of its
node, which comes after driver, executor's import and publisher; CPU time is that of the whole processes.
Prints the medians; exits 1 where the task takes more than 0.65 of the import's wall time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.table import Row, note_row

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_RATIO = 0.65
NODE = "ImportSchemaGen"
_SAID = "imported"


def seconds(command: list[str], until: str) -> tuple[float, float]:
    """Wall time of a process until it says something, and CPU time of all of it and of what it starts."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    reached = None
    said: list[str] = []
    with subprocess.Popen(
        command,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if reached is None and until in line:
                reached = time.monotonic() - began
    if process.returncode != 0 or reached is None:
        raise RuntimeError(f"{command}: exit {process.returncode}\n{''.join(said)[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return reached, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def task_command(package: Path, root: Path, run_id: str, folder: Path) -> list[str]:
    """The command of the node's task in a compiled package, with its inputs filled in."""
    import json

    spec = next(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    container = spec["deploymentSpec"]["executors"][f"exec-{NODE.lower()}"]["container"]
    given = {
        "inputs": {
            "parameterValues": {"pipeline_root": str(root), "run": run_id},
            "artifacts": _place_artifacts(spec, "input", folder),
        },
        "outputs": {
            "artifacts": _place_artifacts(spec, "output", folder),
            "outputFile": str(folder / "executor_output.json"),
        },
    }
    arguments = [json.dumps(given) if item == "{{$}}" else item for item in container["args"]]
    return [item.replace("python3", sys.executable) for item in container["command"]] + arguments


def _place_artifacts(spec: Any, way: str, folder: Path) -> dict[str, Any]:
    """Give each artifact of the node's task a file in a folder, as KFP describes it."""
    definitions = spec["components"][f"comp-{NODE.lower()}"][f"{way}Definitions"]
    return {
        name: {
            "artifacts": [
                {"name": name, "uri": str(folder / name), "metadata": {}, "type": artifact["artifactType"]}
            ]
        }
        for name, artifact in definitions.get("artifacts", {}).items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    from types import SimpleNamespace

    from pipeline import task
    from pipeline.commands.checkout import import_kubeflow
    from pipeline.recipe.load import load_recipe

    with tempfile.TemporaryDirectory(prefix="mirante-bench-") as name:
        folder, root = Path(name), Path(name) / "root"
        package = folder / "digits.yaml"
        recipe = load_recipe("digits", ["kubeflow.together=[]"], elsewhere=True)
        import_kubeflow("compile").compile_recipe(recipe, "mirante:python", package)
        view = SimpleNamespace(path=str(folder / "ingest.html"))
        task.ingest(recipe.model_dump_json(), {"data.path": ""}, {}, str(root), "bench", view)
        command = task_command(package, root, "bench", folder)
        candidates = {
            "from tfx import v1": ([sys.executable, "-c", f"from tfx import v1; print({_SAID!r})"], _SAID),
            f"task {NODE}": (command, f"] {NODE} "),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
        for number in range(rounds + 1):
            for name, (run, until) in candidates.items():
                both = seconds(run, until)
                if number:  # the first round fills the page cache
                    taken[name].append(both)
    ratios = []
    imported, node = candidates
    for what, column in (("wall, until there", 0), ("CPU, to the end", 1)):
        medians = []
        for name, pairs in taken.items():
            values = [pair[column] for pair in pairs]
            medians.append(statistics.median(values))
            spread = f"{min(values):.1f} to {max(values):.1f}"
            print(f"{what:20}{name:24}{medians[-1]:6.1f} s (median of {rounds}; {spread})")
        ratios.append(medians[1] / medians[0])
        print(f"{what:20}ratio {ratios[-1]:.3f}")
        theirs, ours = ([pair[column] for pair in taken[name]] for name in (imported, node))
        note_row(Row(f"{node}, {what}", "s", ours, imported, theirs, None if column else MAX_RATIO))
    print(f"wanted: at most {MAX_RATIO} of the wall time")
    return 0 if ratios[0] <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    sys.exit(main())
