"""Reads and writes files on a disk or in a bucket.

Arrow reads and writes S3, which TensorFlow does not, and an emulator of Google Cloud Storage; TensorFlow is
imported only for other addresses.
"""

import atexit
import concurrent.futures
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from components.base.errors import MiranteError
from components.base.object_store import EMULATOR_VARIABLE, Bucket, parse_url
from components.base.paths import is_in_bucket, is_remote, replace_file, write_atomically

# Requests to a bucket at the same time.
_AT_ONCE = 16


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Make a MiranteError of what TensorFlow says of an address; Arrow's words are explained already."""
    try:
        yield
    except (MiranteError, OSError):
        raise
    except Exception as e:
        if not is_remote(address):
            raise
        said = str(getattr(e, "message", e)).splitlines() or [type(e).__name__]
        raise MiranteError(f"{address}: {said[0]}; check the address and the credentials") from e


def list_below(folder: str) -> list[str]:
    """Return the paths of all files below a folder, sorted; empty if the folder does not exist."""
    if not is_remote(folder):
        return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    if bucket := _find_bucket(folder):
        return [f"{bucket.url}/{key}" for key in sorted(bucket.stored(_key(folder))) if key != _key(folder)]
    return sorted(os.path.join(inner, name) for inner, _, names in _gfile().walk(folder) for name in names)


def list_names(folder: str) -> list[str]:
    """Return the names of the files and folders in a folder, sorted; empty if it does not exist."""
    if bucket := _find_bucket(folder):
        start = f"{bucket.url}/{_key(folder)}".rstrip("/") + "/"
        return sorted({path.removeprefix(start).partition("/")[0] for path in list_below(folder)})
    if not exists(folder):
        return []
    if not is_remote(folder):
        return sorted(os.listdir(folder))
    return sorted(name.rstrip("/") for name in _gfile().listdir(folder))


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


def _find_bucket(path: str) -> Bucket | None:
    """Return the bucket of an address that Arrow reads; None for a path on a disk and for TensorFlow's."""
    scheme = path.partition("://")[0]
    if scheme == "s3" or (scheme == "gs" and os.environ.get(EMULATOR_VARIABLE)):
        return _open_bucket(path.split("/")[2], scheme, frozenset(os.environ.items()))
    return None


@functools.lru_cache(8)
def _open_bucket(name: str, scheme: str, environment: frozenset[tuple[str, str]]) -> Bucket:
    from pyarrow import fs  # noqa: F401 - it ends its threads at exit: no bucket may be open then

    atexit.register(_open_bucket.cache_clear)
    return Bucket(scheme, name, dict(environment))


def _key(path: str) -> str:
    found = parse_url(path)
    assert found is not None
    return found[2]


def open_binary(path: str) -> BinaryIO:
    """Open a file to read bytes."""
    if bucket := _find_bucket(path):
        with tempfile.NamedTemporaryFile() as copy:
            bucket.download(_key(path), Path(copy.name))
            return open(copy.name, "rb")
    return _open(path, "rb")


def _open(path: str, mode: Literal["rb", "wb"]) -> BinaryIO:
    return cast(BinaryIO, _gfile().GFile(path, mode)) if is_remote(path) else open(path, mode)


def read_bytes(path: str) -> bytes:
    """Return the content of a file."""
    with open_binary(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Return the content of a text file, in UTF-8."""
    return read_bytes(path).decode("utf-8")


def exists(path: str) -> bool:
    """Return whether a file or folder exists."""
    if bucket := _find_bucket(path):
        return bool(bucket.stored(_key(path)))
    return bool(_gfile().exists(path)) if is_remote(path) else os.path.exists(path)


def stamp(paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """Return the bytes and the time of change (ns) of each file; None for one that is not there.

    Of objects that Arrow reads the bytes are 0, and the folder that they are all in is listed once.
    """
    if paths and (bucket := _find_bucket(paths[0])):
        keys = [_key(path) for path in paths]
        stored = bucket.stored(os.path.commonpath(keys))
        for key in keys:
            if key not in stored:  # Also where the folder's own name is that of an object, too.
                stored |= bucket.stored(key)
        return [(0, stored[key] * 10**9) if key in stored else None for key in keys]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_stamp_one, paths))


def _stamp_one(path: str) -> tuple[int, int] | None:
    if is_remote(path):
        import tensorflow as tf

        try:
            status = tf.io.gfile.stat(path)
        except tf.errors.NotFoundError:
            return None
        return int(status.length), int(status.mtime_nsec)
    try:
        local = os.stat(path)
    except FileNotFoundError:
        return None
    return local.st_size, local.st_mtime_ns


@contextlib.contextmanager
def _writing(path: str) -> Iterator["_Written"]:
    """Open a file to write; what was written before an error or Ctrl-C does not stay."""
    if bucket := _find_bucket(path):
        with tempfile.NamedTemporaryFile() as copy:
            yield _Written(cast(BinaryIO, copy))
            copy.flush()
            bucket.upload(Path(copy.name), _key(path))
        return
    if not is_in_bucket(path):
        with replace_file(Path(path)) as temporary, temporary.open("wb") as written:
            yield _Written(written)
        return
    file = _Written(_open(path, "wb"))
    try:
        yield file
    except BaseException:
        # TensorFlow cannot give up an upload: what there is of it becomes an object. It begins with the
        # first byte; until then an earlier object is still there.
        with contextlib.suppress(Exception):
            file.close()
        if file.has_begun or not is_remote(path):
            with contextlib.suppress(Exception):
                remove(path)
        raise
    if not file.has_begun:
        # Otherwise TensorFlow makes no object of an empty file.
        file.write(b"")
    file.close()


class _Written:
    """A file that knows whether anything was written to it.

    Attributes:
        has_begun: Whether there was a write, of which nothing may have arrived.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self.has_begun = False
        self.close = file.close

    def write(self, content: bytes) -> int:
        self.has_begun = True
        return self._file.write(content)


def copy_tree(source: str, target: str, last: str) -> None:
    """Copy the files below a folder, `last` of them after all others."""
    names = sorted(
        (os.path.relpath(path, source) for path in list_below(source)), key=lambda name: name == last
    )
    for name in names:
        path = os.path.join(target, name)
        if not is_remote(target):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_binary(os.path.join(source, name)) as read, _writing(path) as written:
            shutil.copyfileobj(read, written)


def put(source: str, path: str) -> None:
    """Copy a file of this disk to a path, all of it or nothing; creates the folder."""
    if not is_remote(path):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    with open(source, "rb") as read, _writing(path) as written:
        shutil.copyfileobj(read, written)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yield a path on this disk; what is written there is at `path` afterwards, all of it or nothing."""
    if not is_remote(path):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(target) as temporary:
            yield str(temporary)
        return
    with tempfile.TemporaryDirectory() as folder:
        here = os.path.join(folder, os.path.basename(path))
        yield here
        put(here, path)


def remove(path: str) -> None:
    """Remove a file."""
    if bucket := _find_bucket(path):
        bucket.delete(_key(path))
    elif is_remote(path):
        _gfile().remove(path)
    else:
        os.remove(path)


def remove_tree(folder: str) -> None:
    """Remove a folder with all that is in it."""
    if bucket := _find_bucket(folder):
        for key in bucket.stored(_key(folder)):
            bucket.delete(key)
    elif is_remote(folder):
        _gfile().rmtree(folder)
    else:
        shutil.rmtree(folder)


def write_text(path: str, text: str) -> None:
    """Write a text file in UTF-8, all of it or nothing; creates its folder."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Write a file, all of it or nothing; creates its folder."""
    if not is_remote(path):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
        return
    if not _find_bucket(path):
        _gfile().makedirs(os.path.dirname(path))
    with _writing(path) as file:
        file.write(content)
