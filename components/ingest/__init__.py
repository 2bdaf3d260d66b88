"""Raw image data to TFRecord shards of the data contract, with a manifest.

The contract is in `schemas.features`; docs/ingest.md is for users.

    result = ingest("folder", Path("photos"), Path("data"), IngestConfig(shards=8))

Needs no TensorFlow and no Beam. Importing it is quick: what a step needs is imported when the step runs.
"""

from components.ingest.config import IngestConfig
from components.ingest.input import check_input
from components.ingest.manifest import Manifest, Shard, Split, is_manifest, read_manifest
from components.ingest.result import IngestResult, SplitSummary
from components.ingest.run import ingest
from components.ingest.sources import SOURCES
from components.ingest.staging import published_completely

__all__ = [
    "IngestConfig",
    "IngestResult",
    "Manifest",
    "Shard",
    "Split",
    "SplitSummary",
    "check_input",
    "ingest",
    "is_manifest",
    "published_completely",
    "read_manifest",
    "source_names",
]


def source_names() -> list[str]:
    """Return the names that `ingest` takes as source, sorted."""
    return sorted(SOURCES)
