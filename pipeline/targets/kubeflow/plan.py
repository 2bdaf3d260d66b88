"""The plan of a run, which its first task leaves under the pipeline root for all others."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.base.paths import write_atomically
from pipeline.steps import INGEST
from pipeline.storage.mirror import Mirror

_INTERMEDIATE = "pipeline.pb"
_PLAN = "plan.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The facts that the tasks of a run need besides the compiled pipeline.

    Attributes:
        recipe: Its name.
        task: The recipe's task.
        class_names: In the order of their labels.
        metadata: The part `kubeflow.metadata` of the recipe; no password is in it.
        workers: The part `kubeflow.workers`; None where the Trainer trains alone.
        reads: The files besides artifacts that each node reads: paths, or addresses in buckets.
        push_destination: The folder that versions are pushed to, likewise.
        fingerprint: Decides the run's results (`fingerprint_run`); None if it always looks for itself.
        last_node: The last node of the pipeline.
        same_as: The earlier run whose results this one has too; None if the nodes have to run.
    """

    recipe: str
    task: str
    class_names: list[str]
    metadata: dict[str, Any]
    workers: dict[str, Any] | None
    reads: dict[str, list[str]]
    push_destination: str
    last_node: str
    fingerprint: str | None = None
    same_as: str | None = None


def run_folder(root: str, run_id: str) -> Path:
    """Return the folder of a run below a local pipeline root."""
    return Path(root) / "runs" / run_id


def write_plan(folder: Path, plan: Plan, compiled: bytes) -> None:
    """Write a plan, and the pipeline that TFX compiled, to the run's folder."""
    write_atomically(folder / _INTERMEDIATE, compiled)
    write_atomically(folder / _PLAN, json.dumps(dataclasses.asdict(plan), indent=1).encode())


def read_plan(folder: Path, mirror: Mirror) -> tuple[Plan, bytes]:
    """Fetch and read the plan in a run's folder.

    Returns:
        The plan, and the compiled pipeline (`pipeline_pb2.Pipeline`).

    Raises:
        UsageError: There is none.
    """
    mirror.fetch(str(folder), unless_missing=_PLAN)
    try:
        plan = Plan(**json.loads((folder / _PLAN).read_text(encoding="utf-8")))
        return plan, (folder / _INTERMEDIATE).read_bytes()
    except FileNotFoundError as e:
        hint = (
            f"do this task's endpoint, credentials and MIRANTE_BUCKETS lead to where {INGEST.id} wrote?"
            if mirror.copies(str(folder))
            else f"did the task {INGEST.id} write to the same volume? kubeflow.volumes of the recipe names "
            "the volumes of all tasks"
        )
        raise UsageError(f"there is no planned run in {folder}: {hint}") from e
