"""Buckets as local folders: fetches what a Kubeflow task reads, and sends what it wrote.

`gs://bucket/key` is the local path `/gcs/bucket/key`, `s3://bucket/key` is `/s3/bucket/key`, in every task.
Two rules make copies hold:

- A local copy has the time of its object, in whole seconds. What has another time is another.
- A file that others take as the sign that its folder is whole (`WHOLE_BY`) is sent after all else.

Where a bucket is mounted at that place (gcsfuse, as on Vertex AI), nothing is copied.
"""

import contextlib
import fnmatch
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from components.base.errors import MiranteError
from components.base.object_store import Bucket, parse_url
from components.base.paths import FOLDER_VARIABLE, replace_file
from pipeline.storage.copies import (
    WHOLE_BY,
    date_folders,
    do_at_once,
    files_below,
    is_copy,
    join_name,
    key_below,
    remove_others,
)
from pipeline.storage.follower import follow

_FOLDERS = {"gs": "gcs", "s3": "s3"}


class Mirror:
    """The buckets that a task uses, and their local copies.

    Every method leaves paths alone that are in no bucket: they are on a volume.

    Args:
        environment: The variables that say where the copies are and how the buckets are reached.
    """

    def __init__(self, environment: Mapping[str, str]):
        self._environment = environment
        self._base = environment.get(FOLDER_VARIABLE) or "/"
        self._urls: dict[str, str] = {}
        self._buckets: dict[str, Bucket] = {}

    def local(self, path: str) -> str:
        """Return the local path of a bucket's URL; any other path as it is.

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
                        f"{path}: its local copy would be in {folder}, which cannot be made: {e.strerror}. "
                        f"Take an image made by `make image`, or set {FOLDER_VARIABLE} to a folder that can "
                        "be written, the same in all tasks"
                    ) from e
                self._buckets[folder] = Bucket(scheme, name, self._environment)
        return os.path.normpath(os.path.join(folder, key))

    def copies(self, path: str) -> bool:
        """Return whether a local path is the copy of one in a bucket."""
        return self._find_bucket(path)[0] is not None

    def shown(self, text: str) -> str:
        """Return a text for users: with the buckets' addresses in place of the local copies' paths."""
        for folder, url in self._urls.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w.-])", url, text)
        return text

    def fetch(
        self, path: str, only: str = "*", unless_missing: str | None = None, *, exact: bool = False
    ) -> None:
        """Copy what the bucket has at a path, a folder or a file, to that path.

        Args:
            path: Local.
            only: Of a folder, the files whose path in it matches this pattern (`*` takes slashes too).
            unless_missing: Nothing is fetched of a folder without this file: it is not whole.
            exact: Whether what else is at that path is removed, hidden files apart: copies of objects that
                are in the bucket no longer.
        """
        bucket, key = self._find_bucket(path)
        if bucket is None:
            return
        stored = bucket.stored(key)
        if unless_missing is not None and posixpath.join(key, unless_missing) not in stored:
            return
        there = {
            Path(path, join_name(key, name)): (name, mtime_secs)
            for name, mtime_secs in stored.items()
            if name == key or fnmatch.fnmatchcase(join_name(key, name), only)
        }
        # First: a folder may have become a file.
        if exact and _is_linkless(path, key):
            remove_others(Path(path), there.keys())
        wanted = {
            local: (name, mtime_secs)
            for local, (name, mtime_secs) in there.items()
            if not is_copy(local, mtime_secs)
        }

        def copy(local: Path) -> None:
            name, mtime_secs = wanted[local]
            if ".." in local.parts or not f"{local}/".startswith(f"{path}/"):
                raise MiranteError(
                    f"{bucket.url}/{name}: the name of this object leads out of its folder: rename it, or "
                    "remove it"
                )
            local.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(local) as part:
                bucket.download(name, part)
                os.utime(part, (mtime_secs, mtime_secs))

        do_at_once(copy, wanted)
        date_folders(path, wanted)

    def sketch(self, path: str, levels: int, former: Iterable[str] = ()) -> None:
        """Make empty files for the bucket's below a folder, `levels` deep, for code that reads only names.

        Args:
            path: Local.
            levels: How deep.
            former: What earlier calls have left below `path`; it is removed where the bucket lacks it.
        """
        bucket, key = self._find_bucket(path)
        if bucket is None:
            return
        names = [name.split("/") for name in self.names(path)]
        places = {Path(path, *parts[:levels]) for parts in names}
        for gone in {Path(place) for place in former} - places:
            if gone.is_relative_to(path) and _is_linkless(
                str(gone), posixpath.join(key, gone.relative_to(path))
            ):
                shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        for parts in names:
            place = Path(path, *parts[:levels])
            if ".." in parts or place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if len(parts) > levels:
                place.mkdir()
            else:
                place.touch()

    def names(self, path: str) -> list[str]:
        """Return the paths, below a folder, of all files that the bucket has there."""
        return list(self.times(path))

    def times(self, path: str) -> dict[str, int]:
        """Return when each file that the bucket has below a folder was written, in seconds, by path there."""
        bucket, key = self._find_bucket(path)
        stored = {} if bucket is None else bucket.stored(key)
        return {join_name(key, name): mtime_secs for name, mtime_secs in stored.items()}

    def send(self, path: str) -> None:
        """Copy what is new or different at a local path, a folder or a file, to the bucket."""
        self._send(path, replace=False)

    def replace(self, path: str) -> None:
        """Make the bucket's folder equal to the local one.

        Until that is done it lacks its sign of being whole: new and old files may not belong together.
        """
        self._send(path, replace=True)

    def remove(self, path: str) -> None:
        """Remove from the bucket what it has at a path."""
        bucket, key = self._find_bucket(path)
        if bucket is not None:
            do_at_once(bucket.delete, bucket.stored(key))

    @contextlib.contextmanager
    def following(self, path: str) -> Iterator[None]:
        """Fetch a folder of checkpoints, and send what is written and removed there while the body runs."""
        bucket, key = self._find_bucket(path)
        if bucket is None:
            yield
            return
        self.fetch(path)
        with follow(bucket, key, Path(path)):
            yield

    def _find_bucket(self, path: str) -> tuple[Bucket | None, str]:
        """Return the bucket of a path and its key there; no bucket for a path on a volume."""
        for folder, bucket in self._buckets.items():
            if f"{path}/".startswith(f"{folder}/"):
                return bucket, path[len(folder) :].strip("/")
        return None, ""

    def _send(self, path: str, *, replace: bool) -> None:
        bucket, key = self._find_bucket(path)
        if bucket is None:
            return
        stored = bucket.stored(key)
        here = {key_below(key, file.relative_to(path)): file for file in files_below(Path(path))}
        changed = [
            name for name, file in here.items() if name not in stored or not is_copy(file, stored[name])
        ]
        gone = [name for name in stored if name not in here] if replace else []
        last = sorted(name for name in changed if posixpath.basename(name) in WHOLE_BY)
        first = [name for name in changed if name not in last]
        if replace and (first or gone):
            for name in stored:
                if posixpath.basename(name) in WHOLE_BY:
                    bucket.delete(name)
                    last = sorted({*last, name} & set(here))
        do_at_once(lambda name: bucket.upload(here[name], name), first)
        do_at_once(bucket.delete, gone)
        for name in last:
            bucket.upload(here[name], name)
        if not (first or last):
            return
        # The times that fetched copies have.
        stored = bucket.stored(key)
        for name in (*first, *last):
            os.utime(here[name], (stored[name], stored[name]))


def _is_linkless(path: str, key: str) -> bool:
    """Return whether no link leads out of a bucket's local folder; only then is anything removed."""
    folder = path.rstrip("/").removesuffix(key)
    return os.path.realpath(path) == os.path.normpath(os.path.join(os.path.realpath(folder), key))


def _is_mounted(folder: str) -> bool:
    """Return whether a bucket is mounted there or above; the container's own file system does not count."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split()[1:3] for line in file]
    return any(
        kind.startswith("fuse") and point != "/" and f"{folder}/".startswith(f"{point}/")
        for point, kind in mounts
    )
