"""The error for a full file system, noticed by Python, SQLite, TensorFlow or a worker process."""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from components.base.errors import MiranteError, walk_causes


class DiskFullError(MiranteError):
    """A file system is full; the message says which one, and how much was free at that time."""


_SAID = ("No space left on device", "database or disk is full", "Disk quota exceeded")
# With more than this free, a file system is not full any more.
_ROOM_BYTES, _ROOM_SHARE = 32 * 2**20, 0.2


def disk_full_error(error: BaseException, folders: Iterable[Path]) -> MiranteError | None:
    """Return an error that says which file system is full; None if `error` has another cause.

    Call it where the error is caught first, since it measures the free space.

    Args:
        error: The error; its causes count too.
        folders: Folders that were written to; they need not exist.
    """
    found = list(walk_causes(error))
    for cause in found:
        if isinstance(cause, DiskFullError):
            return cause
    if not any(_is_disk_full(cause) for cause in found):
        return None
    places = [_find_existing(folder) for folder in folders]
    place = min(places, key=lambda place: shutil.disk_usage(place).free)
    where = f"{_find_mount_point(place)}, the file system of {place}"
    again = "run the same command again: what is finished is kept, and it continues from here"
    if any(isinstance(cause, OSError) and cause.errno == errno.EDQUOT for cause in found):
        return DiskFullError(
            f"too little space on {where}: your quota is used up (`quota` shows it). Remove files of yours "
            f"there, or ask for more, and {again}"
        )
    usage, files = shutil.disk_usage(place), os.statvfs(place)
    free, total = (f"{size / 2**20:,.1f}" for size in (usage.free, usage.total))
    if files.f_files and not files.f_favail:
        return DiskFullError(
            f"too many files on {where}: none of its {files.f_files:,} inodes is free (`df -i` shows them), "
            f"and {free} of {total} MiB are. Remove files there and {again}"
        )
    if usage.free > max(_ROOM_BYTES, usage.total * _ROOM_SHARE):
        return DiskFullError(
            f"too little space on {where}: it was full when it was written to. Now {free} of {total} MiB are "
            f"free: if that is enough, {again}"
        )
    return DiskFullError(
        f"too little space on {where}: {free} of {total} MiB are free, and more was needed. Make room there "
        f"and {again}"
    )


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(error) for words in _SAID)


def _find_existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _find_mount_point(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if os.path.ismount(path))
