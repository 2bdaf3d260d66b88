"""What every container on Vertex AI starts: TFX's own entry points, with folders in place of buckets.

    python -m pipeline.vertex_task --executor_class_path ... --json_serialized_invocation_args {{$}} ...

Nodes read from where Cloud Storage FUSE mounts the buckets. What they write goes to a folder of the container
first and is copied when they are done: TensorFlow Transform renames folders, which a mounted bucket refuses.
Vertex gets addresses in buckets, as it gave them. Nodes on Dataflow have addresses throughout, because its
workers see no mount and no folder of the container.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.base.common_classes import find_common
from components.base.paths import GCS, gcs_mount
from components.base.saved_model import class_names_of, model_folder, task_of
from pipeline.engines.arguments import DATAFLOW_RUNNER

_EXECUTOR = "--executor_class_path"
_INVOCATION = "--json_serialized_invocation_args"
_RUN_EXECUTOR = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_RUN_DRIVER = "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver"
# Starts a job whose container writes the model, so that a folder of this one would not do.
_TRAINING_JOB = "tfx.extensions.google_cloud_ai_platform.trainer.executor.GenericExecutor"
# Hands the model's address to Vertex, and opens it by that itself.
_DEPLOYMENT = "tfx.extensions.google_cloud_ai_platform.pusher.executor.Executor"
# Of the executors, below the task's folder.
_TEMPORARY = ".temp"


def main(argv: Sequence[str]) -> int:
    """Run a node's executor, or ExampleGen's driver where no executor is named; returns its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    executor = _find_option(argv, _EXECUTOR)
    module = _RUN_DRIVER if executor is None else _RUN_EXECUTOR
    if executor == _DEPLOYMENT:
        return _run(module, argv)
    given = _find_option(argv, _INVOCATION)
    if given is None:
        print(f"mirante: expected {_INVOCATION}, got {list(argv)}", file=sys.stderr)
        return 2
    invocation = json.loads(given)
    mounted = _replace_in(invocation.get("inputs", {}), GCS, gcs_mount())
    if _is_other_baseline(mounted.get("artifacts", {})):
        for inputs in (mounted, invocation["inputs"]):
            del inputs["artifacts"]["baseline_model"]
    if DATAFLOW_RUNNER in argv:
        return _run(module, [json.dumps(invocation) if argument == given else argument for argument in argv])
    output_file = str(invocation["outputs"]["outputFile"])
    with tempfile.TemporaryDirectory(prefix="mirante-") as temporary:
        written_to = gcs_mount() if executor == _TRAINING_JOB else f"{temporary}/"
        invocation["inputs"] = mounted
        invocation["outputs"] = _replace_in(invocation["outputs"], GCS, written_to)
        for artifacts in invocation["outputs"].get("artifacts", {}).values():
            for artifact in artifacts["artifacts"]:
                os.makedirs(artifact["uri"], exist_ok=True)
        in_bucket = Path(output_file.replace(GCS, gcs_mount()))
        here = Path(output_file.replace(GCS, written_to))
        if in_bucket.is_file():
            # The driver's: what it found out is the executor's to know.
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_text(in_bucket.read_text(encoding="utf-8").replace(GCS, gcs_mount()), encoding="utf-8")
        arguments = [json.dumps(invocation) if argument == given else argument for argument in argv]
        code = _run(module, arguments)
        if code == 0:
            told = json.loads(here.read_text(encoding="utf-8"))
            told = _replace_in(_replace_in(told, written_to, GCS), gcs_mount(), GCS)
            here.write_text(json.dumps(told, indent=1), encoding="utf-8")
            if executor != _TRAINING_JOB:
                _copy_files(Path(temporary), Path(gcs_mount()))
    return code


def _is_other_baseline(artifacts: dict[str, Any]) -> bool:
    """Return whether the baseline is for another task than the candidate, or has too few classes in common.

    Vertex finds the model of its project that was blessed last, whatever pipeline made it.
    """
    models = [artifacts[name]["artifacts"] for name in ("model", "baseline_model") if name in artifacts]
    if len(models) < 2 or not all(models):
        return False
    candidate, baseline = (model_folder(found[0]["uri"]) for found in models)
    task, other_task = (task_of(model) for model in (candidate, baseline))
    names, other_names = (class_names_of(model) or () for model in (candidate, baseline))
    if task != other_task:
        why = f"it is for {other_task}, and the model for {task}"
    elif not find_common(task, names, other_names):
        why = "it knows too few of the model's classes"
    else:
        return False
    print(f"mirante: {os.path.dirname(baseline)} is no baseline: {why}", flush=True)
    return True


def _find_option(argv: Sequence[str], option: str) -> str | None:
    return argv[argv.index(option) + 1] if option in argv[:-1] else None


def _run(module: str, argv: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", module, *argv], check=False).returncode


def _replace_in(value: Any, old: str, new: str) -> Any:
    """Replace `old` by `new` in every text of a JSON value; texts may be JSON themselves."""
    if isinstance(value, dict):
        return {key: _replace_in(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_in(item, old, new) for item in value]
    return value.replace(old, new) if isinstance(value, str) else value


def _copy_files(source: Path, target: Path) -> None:
    """Copy all files but temporary ones: their contents alone, a bucket has nothing else."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and _TEMPORARY not in relative.parts:
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / relative)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
