"""The folder `OUTPUT/.ingest` has unfinished work, from which a killed ingest resumes."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.owned import MARK
from components.base.paths import write_atomically
from components.ingest.bit_depth import Depths
from components.ingest.manifest import COPIES, INPUTS, LEFT_OUT, REJECTS, Shard, read_manifest
from components.ingest.plan import PlannedShard
from components.ingest.truth.counts import BoxCounts
from components.ingest.work import PartResult
from schemas import features

STAGING = ".ingest"
SHARD_NAME = re.compile(rf"^({'|'.join(features.SPLITS)})-\d{{5}}-of-\d{{5}}$")
_OURS = (STAGING, REJECTS, LEFT_OUT, COPIES, INPUTS, features.MANIFEST, MARK)
# In the staging folder: the names of the shards that are being moved to their places.
_PUBLISHING = "publishing.json"
_COPY_BYTES = 1 << 20


def check_output(output: Path, *, force: bool) -> None:
    """Refuse an OUTPUT that is a file, or holds what no ingest has put there.

    Args:
        output: OUTPUT.
        force: Whether it may hold other files; never those that are named like shards, which would be read as
            data.

    Raises:
        UsageError: It is refused.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"OUTPUT {output} is a file, expected a folder or nothing yet")
    if force and (foreign := sorted(_shards_in(output) - published_shards(output))):
        raise UsageError(
            f"OUTPUT {output} holds {', '.join(foreign[:3])}{', ...' if len(foreign) > 3 else ''}, named "
            "like shards, and no ingest has put them there. Move them, or give another folder"
        )
    if force or (output / features.MANIFEST).exists() or (output / STAGING).exists():
        return
    foreign = sorted(name for name in os.listdir(output) if name not in _OURS)
    if foreign:
        raise UsageError(
            f"OUTPUT {output} holds files that no ingest has put there ({', '.join(foreign[:3])}"
            f"{', ...' if len(foreign) > 3 else ''}). Give another folder, or --force to write next to them"
        )


def check_apart(root: Path | None, output: Path) -> None:
    """Refuse an OUTPUT with the inputs among the shards, or with inputs that are removed with its work.

    Args:
        root: The folder that is read; None for an archive.
        output: OUTPUT. Inside of root it may be where an ingest has put everything that is in it.
    """
    if root is None:
        return
    read, written = (Path(os.path.realpath(path)) for path in (root, output))
    if read == written:
        raise UsageError(
            f"OUTPUT {output} is the folder that is read: shards would be written among the images. Give "
            "another OUTPUT"
        )
    if read.is_relative_to(written / STAGING):
        raise UsageError(f"INPUT {root} is where an ingest does its work, and is removed with it. Move it")
    if read in written.parents and written.is_dir():
        foreign = sorted(n for n in os.listdir(written) if n not in _OURS and not SHARD_NAME.match(n))
        if foreign:
            raise UsageError(
                f"OUTPUT {output} is inside of INPUT {root} and holds files that no ingest has put there "
                f"({', '.join(foreign[:3])}{', ...' if len(foreign) > 3 else ''}), which would be left out "
                "of the data. Give another OUTPUT"
            )


@contextlib.contextmanager
def locked(staging: Path) -> Iterator[None]:
    """Make the folder and hold its lock.

    Raises:
        MiranteError: Another process holds it.
    """
    while True:
        staging.mkdir(parents=True, exist_ok=True)
        path = staging / "lock"
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # the one who held it has just finished and removed the folder
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise MiranteError(
                    f"Another ingest into {staging.parent} is running (process "
                    f"{file.read().strip() or 'unknown'}). "
                    "Wait for it, or give another OUTPUT"
                ) from None
            if not _is_same(path, file.fileno()):
                continue
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            return


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def staged_path(staging: Path, shard: PlannedShard) -> Path:
    """Return where the shard lies until it is published.

    The name tells its content: another plan's shard is never taken for it.
    """
    return staging / "shards" / f"{shard.name}.{shard.fingerprint[:16]}"


def find_finished(
    staging: Path, output: Path, planned: list[PlannedShard], former: dict[str, Shard], *, verify: bool
) -> dict[str, Shard]:
    """Shards of the plan that need not be written: published before, or staged by an ingest that was killed.

    Args:
        staging: The staging folder.
        output: OUTPUT.
        planned: The plan.
        former: Shards of the manifest, by name.
        verify: Whether to check the sums of published files, which may be newer than the manifest if a former
            ingest did not end.
    """
    finished = {}
    for shard in planned:
        published = output / shard.name
        old = former.get(shard.name)
        staged = staged_path(staging, shard)
        note = Path(f"{staged}.json")
        if old is not None and old.fingerprint == shard.fingerprint and _holds(published, old, verify=verify):
            finished[shard.name] = old
        elif note.exists():
            written = shard_written(shard, PartResult(**json.loads(note.read_text(encoding="utf-8"))))
            if staged.exists() or _holds(published, written, verify=True):
                finished[shard.name] = written
    return finished


def shard_written(planned: PlannedShard, result: PartResult) -> Shard:
    """Return the planned shard, with what writing it has shown."""
    return Shard(
        planned.name,
        result.records,
        result.bytes,
        result.sha256,
        planned.fingerprint,
        tuple(map(tuple, result.rejected)),
        None if result.boxes is None else BoxCounts.from_json(result.boxes),
        Depths(**result.depths),
    )


def _holds(path: Path, shard: Shard, *, verify: bool) -> bool:
    if not path.is_file() or path.stat().st_size != shard.bytes:
        return False
    if not verify:
        return True
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_COPY_BYTES):
            digest.update(data)
    return digest.hexdigest() == shard.sha256


def all_published(output: Path, shards: Iterator[Shard]) -> bool:
    """Return whether every shard is there with its size."""
    return all(_holds(output / shard.name, shard, verify=False) for shard in shards)


def published_completely(folder: Path) -> bool:
    """Return whether an ingest into the folder has ended and every shard is there with its size.

    No shard is read. False also while an ingest into it runs or was interrupted, and for a damaged manifest.
    """
    if (folder / STAGING).exists():
        return False
    try:
        manifest = read_manifest(folder)
    except DataRefusedError:
        return False
    return manifest is not None and all_published(folder, manifest.shards())


def publish_shards(staging: Path, output: Path, planned: list[PlannedShard]) -> None:
    """Move staged shards to their place and removes shards of a former ingest that the plan has not."""
    former = published_shards(output)
    names = {shard.name for shard in planned}
    write_atomically(staging / _PUBLISHING, json.dumps(sorted(former | names)), sync=True)
    for shard in planned:
        staged = staged_path(staging, shard)
        if staged.exists():
            os.replace(staged, output / shard.name)
    for name in former - names:
        (output / name).unlink(missing_ok=True)
    sync_folder(output)


def published_shards(output: Path) -> set[str]:
    """Return the shards that ingests have put there: those that the manifest or the staging lists.

    With a manifest that is damaged, all that are named like shards.
    """
    try:
        manifest = read_manifest(output)
    except DataRefusedError:
        return _shards_in(output)
    listed = {shard.name for shard in manifest.shards()} if manifest is not None else set()
    publishing = output / STAGING / _PUBLISHING
    if publishing.is_file():
        listed |= set(json.loads(publishing.read_text(encoding="utf-8")))
    return listed & _shards_in(output)


def _shards_in(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if SHARD_NAME.match(name)}


def sync_folder(folder: Path) -> None:
    """Make renames in the folder last, also through a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tidy(staging: Path) -> None:
    """Remove what killed processes left half written."""
    shards = staging / "shards"
    shards.mkdir(exist_ok=True)
    for path in shards.iterdir():
        if ".tmp" in path.name or ".part" in path.name:
            path.unlink()
    for name in (INPUTS, REJECTS, LEFT_OUT, COPIES, features.MANIFEST):
        for path in staging.parent.glob(f".{Path(name).stem}.*.tmp*"):
            path.unlink()


def discard(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove(staging: Path) -> None:
    """Remove the staging folder; its lock goes last, so that no other ingest begins in between."""
    for name in os.listdir(staging):
        if name != "lock":
            discard(staging / name)
    shutil.rmtree(staging, ignore_errors=True)
