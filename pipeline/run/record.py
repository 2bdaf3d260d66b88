"""The record of a run, `runs/<run id>/record.json`: the outputs of its nodes, and the code that it ran.

Reports, and other commands that look at runs, find the artifacts by it, without ML Metadata and TFX. Imports
nothing heavy.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.outcome import Output
from components.base.paths import write_atomically
from components.base.versions import find_commit, find_versions

FILE = "record.json"


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """Facts about a run besides its result and its recipe.

    Attributes:
        task: The recipe's task.
        class_names: All classes, in the order of their labels; empty if the data were not read.
        outputs: The outputs of each node by channel name; of Ingest `data`, the folder that was read.
        files: The files of each node's outputs, as `pipeline.run.unchanged.measure_files` gives them.
        versions: Versions of Python and of packages, by name.
        code: The commit of a checkout, with `-dirty` where it has changes; empty for an installed package.
    """

    task: str
    class_names: list[str]
    outputs: dict[str, dict[str, Output]]
    versions: dict[str, str]
    code: str
    files: dict[str, dict[str, list[int]]] = dataclasses.field(default_factory=dict)


def make_record(
    task: str,
    class_names: Sequence[str],
    outputs: Mapping[str, Mapping[str, Output]],
    files: Mapping[str, dict[str, list[int]]],
) -> RunRecord:
    """Return the record of a run of this code in this process."""
    return RunRecord(
        task,
        list(class_names),
        {node: dict(of_node) for node, of_node in outputs.items()},
        find_versions(),
        find_commit(),
        dict(files),
    )


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record of a run into its folder."""
    content = json.dumps(dataclasses.asdict(record), indent=1, default=str)
    write_atomically(folder / FILE, content)


def read_record(folder: Path) -> RunRecord | None:
    """Return the record in the folder of a run; None if there is none, as of runs of earlier versions."""
    try:
        stored: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        outputs = {
            node: {key: Output(**output) for key, output in of_node.items()}
            for node, of_node in stored.pop("outputs").items()
        }
        return RunRecord(outputs=outputs, **stored)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
