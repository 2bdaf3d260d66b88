"""What is said when a file system is full, whoever noticed: Python, SQLite, TensorFlow, a worker process."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from components.errors import MiranteError, causes

_SAID = ("No space left on device", "database or disk is full", "Disk quota exceeded")


def disk_full_error(error: BaseException, folders: Iterable[Path]) -> MiranteError | None:
    """An error that says which file system is full, None where that is not what `error` comes from.

    Args:
        error: What was raised; what it was raised from is looked at too.
        folders: Where was written to; they need not exist.
    """
    if not any(_is_disk_full(cause) for cause in causes(error)):
        return None
    places = [_existing(folder) for folder in folders]
    place = min(places, key=lambda place: shutil.disk_usage(place).free)
    usage = shutil.disk_usage(place)
    free, total = (f"{size / 2**20:,.1f}" for size in (usage.free, usage.total))
    return MiranteError(
        f"too little space on {_mount_point(place)}, the file system of {place}: {free} of {total} MiB are "
        "free, and more was needed. Make room there and run the same command again: what is finished is "
        "kept, and it goes on from here"
    )


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(error) for words in _SAID)


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _mount_point(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if os.path.ismount(path))
