"""The results of runs, kept below the pipeline root so that an unchanged run repeats them in seconds.

Ingest finds out once that a run is unchanged (`pipeline.run.unchanged`); then every task hands on what the
earlier run's task gave to Kubeflow. Imports neither TensorFlow nor TFX.
"""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

from components.base.outcome import Output
from components.base.paths import write_atomically
from components.pages.rendered import ConfusionMatrix, RenderedPage, Roc
from pipeline.run.unchanged import holds, measure_files
from pipeline.storage.mirror import Mirror

# Below the folder of a run.
PAGES = "pages"


@dataclasses.dataclass(frozen=True)
class NodeRecord:
    """The results of a node, and what Kubeflow was shown of them.

    Attributes:
        page: Its page, with buckets' addresses and without secrets.
        outputs: Its output artifacts by channel name.
        files: Bytes and time of change of each file of its outputs, by path; of an object in a bucket its
            time alone.
    """

    page: RenderedPage
    outputs: dict[str, Output]
    files: dict[str, list[int]]


def write_node(folder: Path, node_id: str, record: NodeRecord) -> None:
    """Write the record of a node to its run's folder: the page as HTML, and the rest as JSON."""
    (folder / PAGES).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PAGES / f"{node_id}.html", record.page.html.encode())
    page = dataclasses.replace(record.page, html="")
    content = json.dumps(dataclasses.asdict(dataclasses.replace(record, page=page)), indent=1)
    write_atomically(folder / PAGES / f"{node_id}.json", content.encode())


def read_node(folder: Path, node_id: str) -> NodeRecord:
    """Read the record of a node.

    Raises:
        OSError, ValueError, TypeError, KeyError: There is none, or it cannot be read.
    """
    stored = json.loads((folder / PAGES / f"{node_id}.json").read_text(encoding="utf-8"))
    page = stored["page"]
    page["html"] = (folder / PAGES / f"{node_id}.html").read_text(encoding="utf-8")
    page["confusion"] = page["confusion"] and ConfusionMatrix(**page["confusion"])
    page["roc"] = page["roc"] and Roc(**page["roc"])
    outputs = {channel: Output(**output) for channel, output in stored["outputs"].items()}
    return NodeRecord(RenderedPage(**page), outputs, stored["files"])


def make_node(page: RenderedPage, outputs: dict[str, Output], mirror: Mirror) -> NodeRecord:
    """Return the record of a node that has just run."""
    plain = {
        channel: Output(
            output.uri,
            {key: value for key, value in output.properties.items() if isinstance(value, str | int | float)},
        )
        for channel, output in outputs.items()
    }
    return NodeRecord(page, plain, measure_files(outputs, mirror))


def is_as_left(folder: Path, nodes: Collection[str], mirror: Mirror) -> bool:
    """Return whether the outputs of a run's nodes are as the run left them, and still hold.

    Raises:
        OSError, ValueError, TypeError, KeyError: A record is not there, or cannot be read.
    """
    records = {node: read_node(folder, node) for node in nodes}
    return all(holds(node, record.outputs, record.files, mirror) for node, record in records.items())
