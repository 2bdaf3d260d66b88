"""Files of a local folder that is a copy of a bucket's: their keys, their times, and several at a time."""

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.base.saved_model import MODEL_FILE
from schemas import features

# The files that are sent last: a folder of ingested data, of a model that TF Serving takes, of checkpoints or
# of a planned run is whole where they are.
WHOLE_BY = (features.MANIFEST, MODEL_FILE, "checkpoint", "plan.json")
_COPIES_AT_ONCE = 8


def join_name(key: str, name: str) -> str:
    """Return the path of an object below a folder; empty for the object of that very key."""
    return "" if name == key else name.removeprefix(f"{key}/" if key else "")


def key_below(key: str, path: Path) -> str:
    """Return the key of the object at a path below a folder."""
    return key if path == Path() else posixpath.join(key, path.as_posix())


def files_below(path: Path) -> Iterator[Path]:
    """Yield the file at a path, or all files below it except hidden and unfinished ones."""
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".") and "_temp" not in name]
        yield from (
            Path(folder, n) for n in names if not n.startswith(".") and ".tmp" not in n and "_temp" not in n
        )


def remove_others(path: Path, kept: Collection[Path]) -> None:
    """Remove the file at a path, or all files below it, except some and hidden ones; empty folders too."""
    if path.is_file() and path not in kept:
        path.unlink()
    walked = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        walked.append(folder)
        for name in names:
            if not name.startswith(".") and Path(folder, name) not in kept:
                os.unlink(os.path.join(folder, name))
    for folder in reversed(walked):
        if not os.listdir(folder):
            os.rmdir(folder)


def is_copy(path: Path, mtime_secs: int) -> bool:
    """Return whether a file is the copy of an object of that time."""
    try:
        # What was written here has a time with a fraction of a second.
        return path.stat().st_mtime_ns == mtime_secs * 10**9
    except (FileNotFoundError, NotADirectoryError):
        return False


def date_folders(path: str, files: Iterable[Path]) -> None:
    """Give folders the time of their youngest file: checkpoints of other trainings go by that."""
    youngest: dict[Path, float] = {}
    for file in files:
        time = file.stat().st_mtime
        for folder in file.parents:
            if not f"{folder}/".startswith(f"{path}/"):
                break
            youngest[folder] = max(time, youngest.get(folder, 0.0))
    for folder, time in youngest.items():
        os.utime(folder, (time, time))


def do_at_once(do: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call `do` for each item, several at a time; the first error ends it.

    It runs in threads, which no interrupt reaches: what was begun is done.
    """
    with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
        try:
            for future in [pool.submit(do, item) for item in items]:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
