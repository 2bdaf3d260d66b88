"""Look at data as an ingest would read them, and at their images: in seconds, and nothing is written."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from components.base.errors import UsageError
from components.ingest import is_manifest
from components.ingest.archive import is_archive, unpack
from components.ingest.config import IngestConfig
from components.ingest.files import IMAGE_ENDINGS, walk
from components.ingest.fits import Fit, find_fits
from components.ingest.passes import Progress
from components.ingest.rehearsal import Rehearsal
from components.ingest.sources import SOURCES, source_named
from components.ingest.staging import STAGING
from pipeline.inspection.measure import Measured, Task, measure

_BATCH = 64
# Images whose pixels are looked at, unless all are asked for, and bytes of their files.
MOST_IMAGES, MOST_BYTES = 5_000, 300 << 20
# Folders of contract data are read by this source.
CONTRACT_SOURCE = "tfrecord"


@dataclasses.dataclass(frozen=True)
class Asked:
    """The data, and how to look at them.

    Attributes:
        data: DATA as it was given.
        source: The source; None to guess it.
        config: Options of an ingest.
        options: The names of those that were given.
        all_images: Whether to look at the pixels of all images.
        draw: Folder for drawn images.
        model: A pushed model that is asked about the labels.
    """

    data: str
    source: str | None = None
    config: IngestConfig = dataclasses.field(default_factory=IngestConfig)
    options: Sequence[str] = ()
    all_images: bool = False
    draw: Path | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True)
class Seen:
    """Data that were looked at.

    Attributes:
        rehearsal: What an ingest would do.
        config: The options of an ingest, `bit_depth` by its number.
        measured: By the id of each item whose size is known.
        looked_at: Items whose pixels were looked at.
    """

    rehearsal: Rehearsal
    config: IngestConfig
    measured: dict[int, Measured]
    looked_at: int


def find_source(asked: Asked, folder: Path) -> tuple[Fit, list[Fit]]:
    """Return the source to read the data by, and others that fit.

    Args:
        asked: What the user asks for.
        folder: Temporary; archives are unpacked there, where a rehearsal finds them.

    Raises:
        UsageError: There are no such data, no source fits, or the one that was asked for is not known.
    """
    path = Path(asked.data).absolute()
    if asked.source is not None:
        source = source_named(asked.source)
        if not source.needs_input or source.is_name(asked.data):
            return Fit(asked.source, "it was asked for"), []
    if not path.exists():
        raise UsageError(f"DATA {path} does not exist: check the path")
    if path.is_dir() and is_manifest(path):
        return Fit(CONTRACT_SOURCE, "it has the manifest of an ingest"), []
    fits = _guess(path, folder, asked.config)
    if asked.source is not None:
        own = [fit for fit in fits if fit.source == asked.source]
        why = own[0].why if own else "it was asked for"
        return Fit(asked.source, why), [fit for fit in fits if fit.source != asked.source]
    if not fits:
        raise UsageError(
            f"DATA {path}: expected data that one of the sources reads ({', '.join(SOURCES)}), and by their "
            "files they look like none; docs/ingest.md has their layouts; if it is one of them, say which: "
            "--source NAME"
        )
    return fits[0], fits[1:]


def _guess(path: Path, folder: Path, config: IngestConfig) -> list[Fit]:
    if path.is_dir():
        return find_fits(path, config=config) or _only_images(path)
    readers = [name for name, source in SOURCES.items() if path.name.lower().endswith(source.suffixes)]
    if readers:
        # A list that cannot be read as it is: its source says why.
        return find_fits(path.parent, path, config=config) or [Fit(readers[0], "the ending of its name")]
    if is_archive(path):
        root, _, _ = unpack(path, folder / STAGING / "unpacked")
        return find_fits(root, config=config) or _only_images(root)
    return []


def _only_images(root: Path) -> list[Fit]:
    """Return the source of class folders, which says what is missing, if there are images."""
    if not any(entry.path.lower().endswith(IMAGE_ENDINGS) for entry in walk(root)):
        return []
    general = next(name for name, source in SOURCES.items() if source.is_general)
    return [Fit(general, "it has images, and nothing by which another source knows its data")]


def see(asked: Asked, rehearsal: Rehearsal, progress: Progress) -> Seen:
    """Measure the images of a rehearsal: the sizes of all, the pixels of a sample.

    Those that turn out to be damaged become rejects in the index.
    """
    db = rehearsal.index.db
    tasks: list[Task] = db.execute(
        "SELECT id, file, offset, size, shape FROM items WHERE rejected = 0 ORDER BY hash, id"
    ).fetchall()
    sample = tasks if asked.all_images else list(_sample(tasks))
    rest = tasks[len(sample) :]
    measured: dict[int, Measured] = {}
    # The size of pixels is known without reading them.
    pixels = [task for task in rest if task[4] is not None]
    files = [task for task in rest if task[4] is None]
    config = asked.config.model_copy(update={"bit_depth": rehearsal.plan.bit_depth})
    how = config.max_pixels, config.bit_depth
    measured |= {image.key: image for image in measure(pixels, *how, False, lambda count: None)}
    for closely, of_these in ((True, sample), (False, files)):
        batches = (
            (
                f"looking at image {first} and those after it",
                (of_these[first : first + _BATCH], *how, closely),
            )
            for first in range(0, len(of_these), _BATCH)
        )
        for _, answers in rehearsal.pool.map("pipeline.inspection.measure:measure", batches):
            measured |= {image.key: image for image in answers}
            progress("look", len(measured), len(tasks))
    reject(rehearsal, {key: image.problem for key, image in measured.items() if image.problem})
    sized = {key: image for key, image in measured.items() if image.width}
    return Seen(rehearsal, config, sized, len(sample))


def reject(rehearsal: Rehearsal, reasons: Mapping[int, str]) -> None:
    """Have items be rejects, as an ingest has them that did not decode."""
    index = rehearsal.index
    for key, reason in sorted(reasons.items()):
        (path,) = index.db.execute("SELECT path FROM items WHERE id = ?", (key,)).fetchone()
        index.db.execute("UPDATE items SET rejected = 1 WHERE id = ?", (key,))
        index.reject(path, reason)
    index.db.commit()


def _sample(tasks: Sequence[Task]) -> Iterator[Task]:
    """Yield the first of the items, in the order of their hashes, which is a shuffle that stays the same."""
    size_bytes = 0
    for number, task in enumerate(tasks):
        size_bytes += task[3]
        if number == MOST_IMAGES or (number and size_bytes > MOST_BYTES):
            return
        yield task
