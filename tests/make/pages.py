"""Writes all pages of a finished run, to look at them.

write_pages(Path("runs/digits"), Path("pages"), "classification", list("0123456789"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.base.outcome import Output
from components.pages.rendered import RenderedPage
from pipeline.pages import make_page


def outputs_of(root: Path) -> dict[str, dict[str, Output]]:
    """The outputs of every node's last execution under a pipeline's root, as `NodeRunner.run` gives them."""
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    from pipeline.run.executions import read_outputs, read_properties
    from pipeline.storage.metadata_store import METADATA_FILE

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / METADATA_FILE)
    store = MetadataStore(config)
    found = {}
    for context in store.get_contexts_by_type("node"):
        last = max(execution.id for execution in store.get_executions_by_context(context.id))
        found[context.name.rpartition(".")[2]] = {
            key: Output(artifact.uri, read_properties(artifact))
            for key, artifact in read_outputs(store, last).items()
        }
    return found


def write_pages(root: Path, folder: Path, task: str, class_names: Sequence[str]) -> dict[str, RenderedPage]:
    """Writes `<node>.html` of every node, and of Ingest where `root/data` is; returns them."""
    outputs = dict(outputs_of(root))
    if (root / "data").is_dir():
        outputs["Ingest"] = {"examples": Output(str(root / "data"), {})}
    folder.mkdir(parents=True, exist_ok=True)
    pages = {}
    for node_id, given in outputs.items():
        pages[node_id] = make_page(node_id, given, task, class_names)
        (folder / f"{node_id}.html").write_text(pages[node_id].html, encoding="utf-8")
    return pages
