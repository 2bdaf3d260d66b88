"""All pages of a finished run, to be looked at: `write_pages(Path("runs/digits"), Path("pages"))`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.views import View, view_of

if TYPE_CHECKING:
    from components.base.outcome import Output


def outputs_of(root: Path) -> dict[str, dict[str, Output]]:
    """The outputs of every node's last execution under a pipeline's root, as `NodeRunner.run` gives them."""
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    from components.base.outcome import Output, _outputs, _properties
    from pipeline.storage.metadata_store import METADATA_FILE

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / METADATA_FILE)
    store = MetadataStore(config)
    found = {}
    for context in store.get_contexts_by_type("node"):
        last = max(execution.id for execution in store.get_executions_by_context(context.id))
        found[context.name.rpartition(".")[2]] = {
            key: Output(artifact.uri, _properties(artifact))
            for key, artifact in _outputs(store, last).items()
        }
    return found


def write_pages(root: Path, folder: Path, class_names: Sequence[str]) -> dict[str, View]:
    """Writes `<node>.html` of every node, and of Ingest where `root/data` is; returns the views."""
    from components.base.outcome import Output

    outputs = dict(outputs_of(root))
    if (root / "data").is_dir():
        outputs["Ingest"] = {"examples": Output(str(root / "data"), {})}
    folder.mkdir(parents=True, exist_ok=True)
    views = {}
    for node_id, given in outputs.items():
        views[node_id] = view_of(node_id, given, class_names)
        (folder / f"{node_id}.html").write_text(views[node_id].html, encoding="utf-8")
    return views
