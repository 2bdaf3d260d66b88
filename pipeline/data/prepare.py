"""Finds, or makes by ingest, the contract data that a run reads."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from components.base.content import FileDigests
from components.base.errors import UsageError
from components.base.owned import is_marked, mark, root_id
from components.base.task import task_named
from components.ingest import IngestResult, check_input, ingest, is_manifest, read_manifest
from components.ingest.config import OPTIONS, IngestConfig
from components.ingest.files import decode_name
from components.ingest.sources import source_named, sources_for, tfds
from components.ingest.spans import Span, find_span, find_window, is_pattern
from components.ingest.staging import STAGING
from components.ingest.workers import WorkerPool
from pipeline.data.shards import check_shards, remove_damaged_shards, remove_shards_of_no_manifest
from pipeline.data.spans import ingested_as, remove_others
from pipeline.data.window import WINDOW, join_spans
from schemas import features

# Parts of a recipe for other places than this machine.
_ELSEWHERE = ("kubeflow", "vertex")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A folder of contract data.

    Attributes:
        folder: Where it is.
        ingested: What ingest said; None where the data came as contract data.
        span: As in `Examples`.
        parts: The spans of a window, the oldest first; empty for one folder.
        warnings: What is odd about the folder, besides what `ingested` says.
        seconds: How long the ingest took.
    """

    folder: Path
    ingested: IngestResult | None
    span: Span | None = None
    parts: tuple["Prepared", ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return all folders that belong to it."""
        return (self.folder, *(part.folder for part in self.parts))


def is_contract_data(folder: Path) -> bool:
    """Return whether `folder` has a manifest, or TFRecord shards named as DESIGN of the data contract says.

    Data that tensorflow_datasets prepared do not count: their shards have such names, but other features.
    """
    if not folder.is_dir():
        return False
    if tfds.is_prepared(folder):
        return is_manifest(folder)
    return is_manifest(folder) or any(
        next(folder.glob(pattern), None) for pattern in ("train*-of-*", "*.tfrec*")
    )


def check_config(config: IngestConfig, task: str = features.CLASSIFICATION) -> None:
    """Look at what a recipe's `data` part says, not at the data.

    Raises:
        UsageError: The label map is not there, `path` is nothing that `source` reads or has
            no such span, or the source's data are for another task.
    """
    config.label_map_file()
    config, _ = _at_span(config)
    tasks = source_named(config.source).tasks
    wanted = task_named(task)
    if wanted.records not in tasks and (config.path is None or _is_name(config) or _ready(config) is None):
        gives = " or ".join(task_named(one).gives for one in tasks)
        raise UsageError(
            f"data.source: expected a source of {wanted.gives} for task: {task} "
            f"({', '.join(sources_for(wanted.records))}), got {config.source}, which gives {gives}; take one "
            f"of these, or a recipe with task: {' or '.join(tasks)}"
        )
    if not _is_name(config) and _ready(config) is None:
        check_input(config.source, Path(config.path) if config.path is not None else None)


def check_effect(config: IngestConfig, given: Iterable[str], option: str = "--set ") -> None:
    """Refuse settings given for one run that change nothing in a run of these data.

    Args:
        config: The recipe's `data` part.
        given: Their keys, such as `data.splits.test`.
        option: What gave them; begins the message.

    Raises:
        UsageError: An option of ingest for data that are ingested already, or a setting of another place.
    """
    ready = find_ready(config)
    for key in given:
        part, _, rest = key.partition(".")
        name = rest.partition(".")[0]
        if part in _ELSEWHERE:
            raise UsageError(
                f"{option}{key}: it has no effect, {part} is for runs in another place: leave it out, "
                "or give it to `mirante compile`"
            )
        if part == "data" and name in ("source", *OPTIONS) and ready is not None:
            raise UsageError(
                f"{option}{key}: it has no effect, {ready} is ingested already: leave it out, or give "
                "`mirante ingest` its option and the images"
            )


def find_ready(config: IngestConfig) -> Path | None:
    """Return the folder of a recipe's data if it is ingested already; None if it is to be ingested.

    Raises:
        UsageError: There is no such span.
    """
    return _ready(_at_span(config)[0])


def _at_span(config: IngestConfig) -> tuple[IngestConfig, Span | None]:
    """Return the config with the path of its span, and the span; without placeholders the config and None."""
    if config.path is None or not is_pattern(config.path):
        return config, None
    span = find_span(config.path, config.span)
    return config.model_copy(update={"path": span.path}), span


def _is_name(config: IngestConfig) -> bool:
    return config.path is not None and source_named(config.source).is_name(config.path)


def _ready(config: IngestConfig) -> Path | None:
    """Return the folder that `config.path` is, where it is contract data; None where it is to be ingested."""
    if config.path is None or _is_name(config) or not is_contract_data(Path(config.path)):
        return None
    # TFRecords without a manifest may be anybody's: the source tfrecord checks them and makes one.
    if config.source == "tfrecord" and not is_manifest(Path(config.path)):
        return None
    return Path(config.path)


def choose_newest_span(config: IngestConfig) -> IngestConfig:
    """Return the config with the number of the span that is the newest now; without placeholders as it is.

    Raises:
        UsageError: There is no such span.
    """
    _, span = _at_span(config)
    return config if span is None else config.model_copy(update={"span": span.number})


def ingest_folder(config: IngestConfig, root: Path) -> Path:
    """Return where raw data are ingested to, below the root; a span or a window has a folder of its own.

    Raises:
        UsageError: There is no such span.
    """
    span = _at_span(config)[1]
    return root / "data" / WINDOW if span and config.window_spans > 1 else _ingest_folder(span, root)


def _ingest_folder(span: Span | None, root: Path) -> Path:
    return root / "data" if span is None else Path(ingested_as(span, root / "data").path)


def prepare(
    config: IngestConfig,
    root: Path,
    progress: Callable[[str, int, int], None] | None = None,
    digests: FileDigests | None = None,
    *,
    trust_times: bool = False,
    pool: WorkerPool | None = None,
) -> Prepared:
    """Return the folder of contract data, ingested to `root/data` first where `config.path` is raw.

    Where that has placeholders, the newest span is taken, or the one that `config.span` asks for; it is
    ingested to a folder of its own below `root/data`. A window of spans is joined there in another folder.
    Shards that are damaged since an ingest wrote them are made anew.
    `pool` is that of `components.ingest.ingest`; `digests` remembers the digests of shards.

    Raises:
        UsageError, DataRefusedError: From ingest; or there is no such span, or a span that came as contract
            data is damaged.
    """
    digests = digests or FileDigests()
    if is_pattern(config.path) and config.window_spans > 1:
        return _prepare_window(config, root, progress, digests, trust_times=trust_times, pool=pool)
    config, span = _at_span(config)
    folder = _ingest_folder(span, root)
    if ready := _ready(config):
        return Prepared(ready, None, span)
    path = Path(config.path) if config.path is not None else None
    owner = root_id(root)
    if span is None:
        remove_others(folder, (), owner)
    else:
        span = ingested_as(span, root / "data")
    _take_over(folder, owner, config.source, path)
    remove_shards_of_no_manifest(folder)
    began = time.monotonic()

    def write() -> IngestResult:
        return ingest(
            config.source, path, folder, config, progress, exclude=[root], trust_times=trust_times, pool=pool
        )

    done = write()
    if damage := _remove_damage(folder, digests):
        done = write()
    return Prepared(folder, done, span, warnings=damage, seconds=time.monotonic() - began)


def _prepare_window(
    config: IngestConfig,
    root: Path,
    progress: Callable[[str, int, int], None] | None,
    digests: FileDigests,
    *,
    trust_times: bool,
    pool: WorkerPool | None,
) -> Prepared:
    """Prepare each span of a window, and join them."""
    assert config.path is not None
    spans = find_window(config.path, config.window_spans, config.span)
    folder = root / "data" / WINDOW
    _take_over(folder, root_id(root))
    parts = []
    for span in spans:
        alone = config.model_copy(update={"span": span.number, "window_spans": 1})
        parts.append(prepare(alone, root, progress, digests, trust_times=trust_times, pool=pool))
        # The user's own: what is wrong with it is said of it, and not of the window.
        if parts[-1].ingested is None and (manifest := read_manifest(parts[-1].folder)) is not None:
            check_shards(parts[-1].folder, manifest, digests)
    warnings = join_spans([part.folder for part in parts], folder)
    if damage := _remove_damage(folder, digests):
        join_spans([part.folder for part in parts], folder)
    first, last = spans[0], spans[-1]
    window = dataclasses.replace(last, base=str(folder.parent), pattern=WINDOW, first=first.number)
    return Prepared(folder, None, window, tuple(parts), (*damage, *warnings))


def _remove_damage(folder: Path, digests: FileDigests) -> tuple[str, ...]:
    """Remove damaged shards, which are to be written again; return a warning if there are any."""
    names = remove_damaged_shards(folder, digests)
    if not names:
        return ()
    return (f"{folder}: damaged since they were written, and made anew: {', '.join(names)}",)


def _take_over(folder: Path, owner: str, source: str | None = None, path: Path | None = None) -> None:
    """Mark the folder that is about to be written to, unless somebody else's data are there.

    Args:
        folder: The folder.
        owner: The root's id.
        source: What is ingested there; None for a window, which has always had a mark.
        path: INPUT.

    Raises:
        UsageError: They are.
    """
    others = set(os.listdir(folder)) - {STAGING} if folder.is_dir() else set()
    if others and not is_marked(folder, owner):
        manifest = read_manifest(folder) if source is not None and is_manifest(folder) else None
        given = None if source is None else check_input(source, path)
        shown = "" if given is None else decode_name(os.fsencode(given))
        # A root of a Mirante that wrote no marks has data of the same input.
        if manifest is None or (manifest.source, manifest.input) != (source, shown):
            raise UsageError(
                f"{folder}: expected what a run of this root has ingested, got files that none has put there "
                f"({', '.join(sorted(others)[:3])}{', ...' if len(others) > 3 else ''}); give another "
                "--root, or move that folder away"
            )
    if not is_marked(folder, owner):
        mark(folder, owner)
