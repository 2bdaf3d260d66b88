"""An ingest up to its plan: what it would read, reject and put into each split, without writing a shard."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import MiranteError
from components.ingest.config import IngestConfig
from components.ingest.index import Index
from components.ingest.passes import Progress
from components.ingest.plan import Plan
from components.ingest.run import Run
from components.ingest.staging import tidy
from components.ingest.workers import WorkerPool


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """The state of an ingest before it writes.

    Attributes:
        index: Every input; items have their split.
        plan: The shards that would be written.
        pool: Worker processes, for more work on the items.
        refused: The errors with which the ingest would end.
    """

    index: Index
    plan: Plan
    pool: WorkerPool
    refused: list[MiranteError]


@contextlib.contextmanager
def rehearse(
    source: str, input_path: Path | None, config: IngestConfig, folder: Path, progress: Progress | None = None
) -> Iterator[Rehearsal]:
    """Find the inputs and plan their shards as `ingest` does.

    Args:
        source: See `ingest`, as for the others.
        input_path: INPUT.
        config: The options.
        folder: A temporary folder of its own, for the index and unpacked archives.
        progress: Called as `ingest` calls it.

    Raises:
        UsageError: The input makes no sense, or an option is wrong.
        DataRefusedError: The data are damaged.
    """
    refused: list[MiranteError] = []
    run = Run(
        source, input_path, folder, config, progress or (lambda phase, done, total: None), refused=refused
    )
    run.staging.mkdir(parents=True, exist_ok=True)
    tidy(run.staging)
    index = Index(run.staging / "index.sqlite")
    try:
        with run.open_pool() as pool:
            # No ingest uses any of this, so it needs no digest of the code, which takes time.
            yield Rehearsal(index, run.plan(index, pool, "", None, was_killed=False), pool, refused)
    finally:
        index.close()
