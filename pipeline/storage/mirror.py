"""Buckets as local folders: what a task reads is fetched before, what it wrote is sent after.

`gs://bucket/key` is the local path `/gcs/bucket/key`, `s3://bucket/key` is `/s3/bucket/key`, in every task.
Two rules make copies hold:

- A local copy has the time of its object, in whole seconds. What has another time is another.
- A file that others take as the sign that its folder is whole (`WHOLE_BY`) is sent after all else.

Where a bucket is mounted at that place (gcsfuse, as on Vertex AI), nothing is copied.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import posixpath
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError
from components.base.paths import FOLDER_VARIABLE
from pipeline.storage.object_store import Bucket, parse_url
from schemas import features

# Of ingested data, of a model that TF Serving takes, of a folder of checkpoints, of a planned run.
WHOLE_BY = (features.MANIFEST, "saved_model.pb", "checkpoint", "plan.json")
_FOLDERS = {"gs": "gcs", "s3": "s3"}
_COPIES_AT_ONCE = 8
_LOOK_SECS = 5.0
_logger = logging.getLogger("mirante.buckets")


class Mirror:
    """The buckets that a task was told of, and their local copies.

    Paths that lie in none of them are left alone by every method: they are on a volume.

    Args:
        environment: Says where the copies lie, and how the buckets are reached.
    """

    def __init__(self, environment: Mapping[str, str]):
        self._environment = environment
        self._base = environment.get(FOLDER_VARIABLE) or "/"
        self._urls: dict[str, str] = {}
        self._buckets: dict[str, Bucket] = {}

    def local(self, path: str) -> str:
        """The local path of a bucket's URL; any other path as it is.

        Raises:
            UsageError: It is a URL of something else.
            MiranteError: There is no place for local copies.
        """
        parsed = parse_url(path)
        if parsed is None:
            return path
        scheme, name, key = parsed
        folder = os.path.join(self._base, _FOLDERS[scheme], name)
        if folder not in self._urls:
            self._urls[folder] = f"{scheme}://{name}"
            if not _is_mounted(folder):
                try:
                    os.makedirs(folder, exist_ok=True)
                except OSError as e:
                    raise MiranteError(
                        f"{path}: its local copy lies in {folder}, which cannot be made: {e.strerror}. Take "
                        f"an image made by `make image`, or set {FOLDER_VARIABLE} to a folder that can be "
                        "written, the same in all tasks"
                    ) from e
                self._buckets[folder] = Bucket(scheme, name, self._environment)
        return os.path.normpath(os.path.join(folder, key))

    def copies(self, path: str) -> bool:
        """Whether a local path is the copy of one in a bucket."""
        return self._place(path)[0] is not None

    def shown(self, text: str) -> str:
        """A text for people: with the buckets' addresses in place of the local copies'."""
        for folder, url in self._urls.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w.-])", url, text)
        return text

    def fetch(self, path: str, only: str = "*", unless_missing: str | None = None) -> None:
        """Copies what the bucket has at a path, a folder or a file, to that path.

        Args:
            path: Local.
            only: Of a folder, the files whose path in it matches this pattern (`*` takes slashes too).
            unless_missing: Nothing is fetched of a folder without this file: it is not whole.
        """
        bucket, key = self._place(path)
        if bucket is None:
            return
        stored = bucket.stored(key)
        if unless_missing is not None and posixpath.join(key, unless_missing) not in stored:
            return
        wanted = {
            local: (name, mtime_secs)
            for name, mtime_secs in stored.items()
            if name == key or fnmatch.fnmatchcase(_below(key, name), only)
            if not _is_copy(local := Path(path, _below(key, name)), mtime_secs)
        }

        def copy(local: Path) -> None:
            name, mtime_secs = wanted[local]
            if ".." in local.parts or not f"{local}/".startswith(f"{path}/"):
                raise MiranteError(
                    f"{bucket.url}/{name}: the name of this object leads out of its folder: rename it, or "
                    "remove it"
                )
            local.parent.mkdir(parents=True, exist_ok=True)
            part = local.with_name(f".{local.name}.{os.getpid()}")
            try:
                bucket.download(name, part)
                os.utime(part, (mtime_secs, mtime_secs))
                part.replace(local)
            finally:
                part.unlink(missing_ok=True)

        _all_at_once(copy, wanted)
        _date_folders(path, wanted)

    def sketch(self, path: str, levels: int) -> None:
        """Makes what the bucket has below a folder, down to so many levels, empty: for who looks at names."""
        for name in self.names(path):
            parts = name.split("/")
            place = Path(path, *parts[:levels])
            if ".." in parts or place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if len(parts) > levels:
                place.mkdir()
            else:
                place.touch()

    def names(self, path: str) -> list[str]:
        """The paths, below a folder, of all files that the bucket has there."""
        bucket, key = self._place(path)
        return [] if bucket is None else [_below(key, name) for name in bucket.stored(key)]

    def send(self, path: str) -> None:
        """Copies what is new or different at a local path, a folder or a file, to the bucket."""
        self._send(path, replace=False)

    def replace(self, path: str) -> None:
        """Makes the bucket's folder equal to the local one.

        Until that is done it lacks its sign of being whole: new and old files may not belong together.
        """
        self._send(path, replace=True)

    def remove(self, path: str) -> None:
        """Removes from the bucket what it has at a path."""
        bucket, key = self._place(path)
        if bucket is not None:
            _all_at_once(bucket.delete, bucket.stored(key))

    @contextlib.contextmanager
    def following(self, path: str) -> Iterator[None]:
        """Fetches a folder of checkpoints, and sends what is written and removed there while the body runs.

        What cannot be sent is tried again with the next change; it fails nothing, it is only a warning.
        """
        bucket, key = self._place(path)
        if bucket is None:
            yield
            return
        self.fetch(path)
        follower = _Follower(bucket, key, Path(path))
        done = threading.Event()

        def follow() -> None:
            while not done.wait(_LOOK_SECS):
                follower.try_send()
            follower.try_send()

        # No daemon: a process that was told to end ends when the last checkpoint is sent. It is sent by the
        # thread, which no interrupt reaches: they are repeated (`pipeline.run.interrupts`), and would end it.
        thread = threading.Thread(target=follow, name="checkpoints to the bucket")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _place(self, path: str) -> tuple[Bucket | None, str]:
        """The bucket that a path lies in, and its key there."""
        for folder, bucket in self._buckets.items():
            if f"{path}/".startswith(f"{folder}/"):
                return bucket, path[len(folder) :].strip("/")
        return None, ""

    def _send(self, path: str, *, replace: bool) -> None:
        bucket, key = self._place(path)
        if bucket is None:
            return
        stored = bucket.stored(key)
        here = {_place_below(key, file.relative_to(path)): file for file in _files(Path(path))}
        changed = [
            name for name, file in here.items() if name not in stored or not _is_copy(file, stored[name])
        ]
        gone = [name for name in stored if name not in here] if replace else []
        last = sorted(name for name in changed if posixpath.basename(name) in WHOLE_BY)
        first = [name for name in changed if name not in last]
        if replace and (first or gone):
            for name in stored:
                if posixpath.basename(name) in WHOLE_BY:
                    bucket.delete(name)
                    last = sorted({*last, name} & set(here))
        _all_at_once(lambda name: bucket.upload(here[name], name), first)
        _all_at_once(bucket.delete, gone)
        for name in last:
            bucket.upload(here[name], name)
        if not (first or last):
            return
        # As whoever fetches them has them.
        stored = bucket.stored(key)
        for name in (*first, *last):
            os.utime(here[name], (stored[name], stored[name]))


class _Follower:
    """Brings a bucket's folder up to a local one that another thread writes to.

    At its start both are equal. The bucket's is whole at any time: `checkpoint` names files that are there.
    """

    def __init__(self, bucket: Bucket, key: str, folder: Path):
        self._bucket = bucket
        self._key = key
        self._folder = folder
        self._sent = self._look()
        self._warned = False

    def try_send(self) -> None:
        """Sends what has changed, all of it where nothing changes meanwhile."""
        try:
            self._send()
            self._warned = False
        except (MiranteError, OSError) as e:
            if not self._warned:
                _logger.warning("checkpoints are not in the bucket yet, and will be tried again: %s", e)
            self._warned = True

    def _look(self) -> dict[Path, tuple[int, int]]:
        """Size and time of what is there now, by path below the folder."""
        found = {}
        for file in _files(self._folder):
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                found[file.relative_to(self._folder)] = status.st_size, status.st_mtime_ns
        return found

    def _send(self) -> None:
        here = self._look()
        signs = {}
        for path in here:
            if path.name in WHOLE_BY:
                with contextlib.suppress(FileNotFoundError):
                    signs[path] = (self._folder / path).read_bytes()
        for path, seen in here.items():
            if path in signs or self._sent.get(path) == seen:
                continue
            try:
                self._bucket.upload(self._folder / path, _place_below(self._key, path))
            except FileNotFoundError:
                return  # superseded meanwhile
            self._sent[path] = seen
        now = self._look()
        if any(now.get(path) != seen for path, seen in here.items()):
            return  # what was read may be of two times
        for path, content in signs.items():
            if self._sent.get(path) != here[path]:
                self._bucket.upload(content, _place_below(self._key, path))
                self._sent[path] = here[path]
        for path in [path for path in self._sent if path not in here]:
            self._bucket.delete(_place_below(self._key, path))
            del self._sent[path]


def _below(key: str, name: str) -> str:
    """The path of an object below a folder; empty for the object of that very key."""
    return "" if name == key else name.removeprefix(f"{key}/" if key else "")


def _place_below(key: str, path: Path) -> str:
    """The key of what lies at a path below a folder."""
    return key if path == Path() else posixpath.join(key, path.as_posix())


def _files(path: Path) -> Iterator[Path]:
    """The file at a path, or all below it but for hidden ones and those that are being written."""
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".") and "_temp" not in name]
        yield from (
            Path(folder, n) for n in names if not n.startswith(".") and ".tmp" not in n and "_temp" not in n
        )


def _is_copy(path: Path, mtime_secs: int) -> bool:
    try:
        # What was written here has a time with a fraction of a second.
        return path.stat().st_mtime_ns == mtime_secs * 10**9
    except (FileNotFoundError, NotADirectoryError):
        return False


def _date_folders(path: str, files: Iterable[Path]) -> None:
    """Gives folders the time of the youngest file in them; checkpoints of other trainings go by that."""
    youngest: dict[Path, float] = {}
    for file in files:
        time = file.stat().st_mtime
        for folder in file.parents:
            if not f"{folder}/".startswith(f"{path}/"):
                break
            youngest[folder] = max(time, youngest.get(folder, 0.0))
    for folder, time in youngest.items():
        os.utime(folder, (time, time))


def _all_at_once(do: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Calls `do` for all of them, several at a time; the first error ends it.

    In threads, which no interrupt reaches: what was begun is done.
    """
    with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
        try:
            for future in [pool.submit(do, item) for item in items]:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _is_mounted(folder: str) -> bool:
    """Whether a bucket is mounted there, or all of them above; containers' own file systems do not count."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split()[1:3] for line in file]
    return any(
        kind.startswith("fuse") and point != "/" and f"{folder}/".startswith(f"{point}/")
        for point, kind in mounts
    )
