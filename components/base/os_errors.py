"""Errors for what the operating system refuses: what, where, and what to do.

Python, SQLite, ML Metadata, TensorFlow or a worker process may have noticed it.
"""

import errno
import os
import resource
from collections.abc import Iterable
from pathlib import Path

from components.base.disk_full import disk_full_error
from components.base.errors import MiranteError, walk_causes

_NO_PERMISSION = "you have no permission: change its owner or mode, or give another folder"
# By error number, the meaning and the remedy.
_BY_NUMBER = {
    errno.EROFS: "the file system is read-only: give a folder on another one",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EFBIG: "the file is larger than is allowed: raise the limit (ulimit -f unlimited), or give a "
    "folder on a file system for large files",
    errno.ENOLCK: "the file system has no locks: give a folder on a local disk, or have the server's locks "
    "turned on (NFS: lockd)",
    errno.ENOSYS: "the file system cannot do this: give a folder on a local disk",
    errno.EOPNOTSUPP: "the file system cannot do this: give a folder on a local disk",
    errno.EIO: "the disk, or the connection to it, fails: look into the system's log (dmesg), and give a "
    "folder on another one",
    errno.ESTALE: "the server has lost the file: mount its file system again",
    errno.EMFILE: "too many files are open at a time: raise the limit (ulimit -n 4096)",
    errno.ENFILE: "too many files are open on this machine: end other programs, or raise fs.file-max",
    errno.ENOMEM: "memory is short: end other programs, or take a machine with more",
}
# The same for paths on the command line. Within a run, these errors are faults of Mirante.
_BY_NUMBER_OF_ARGUMENTS = {
    errno.ENAMETOOLONG: "the name is too long: give a shorter one",
    errno.ENOTDIR: "a part of the path is a file: give another folder",
    errno.EISDIR: "it is a folder: give the name of a file",
    errno.ENOENT: "there is no such file or folder: check the path",
    errno.EEXIST: "something of that name is there: give another one",
    errno.ELOOP: "its links lead in a circle: correct them",
}
# Texts of libraries that do not pass the number on, in the order in which they are looked for.
_BY_WORDS = {
    "database is locked": (
        "another program has the metadata store open, or its file system has no locks: wait for that program "
        "(`fuser {store}` names it), or give a --root on a local disk"
    ),
    "disk image is malformed": "the metadata store is damaged: run the same command again, which takes the "
    "copy of the last run back",
    "disk I/O error": "the disk of the metadata store fails: look into the system's log (dmesg)",
    "attempt to write a readonly database": "the metadata store cannot be written: change its owner or mode",
    "unable to open database file": "the metadata store cannot be opened: is its folder yours to write to?",
    "Too many open files": _BY_NUMBER[errno.EMFILE],
    "Read-only file system": _BY_NUMBER[errno.EROFS],
    "File too large": _BY_NUMBER[errno.EFBIG],
    "Input/output error": _BY_NUMBER[errno.EIO],
    "No locks available": _BY_NUMBER[errno.ENOLCK],
    "Cannot allocate memory": _BY_NUMBER[errno.ENOMEM],
}
# The digits recipe maps 3.1 GiB on two cores, more with every core.
LEAST_ADDRESS_SPACE_BYTES = 4 * 2**30


def describe_os_error(error: OSError) -> str:
    """Return an error of the operating system as what, where, and what to do."""
    explained = explain_os_error(error, [])
    return str(explained) if explained is not None else str(error)


def explain_os_error(error: BaseException, folders: Iterable[Path]) -> MiranteError | None:
    """Return an error that says what the system refused, where, and what to do; None for other errors.

    Args:
        error: The error; its causes count too.
        folders: Folders that were written to; they need not exist. Empty for the files of a command.
    """
    folders = list(folders)
    if folders and (full := disk_full_error(error, folders)):
        return full
    if isinstance(error, MiranteError):
        return None  # it says what to do
    remedies = _BY_NUMBER if folders else {**_BY_NUMBER, **_BY_NUMBER_OF_ARGUMENTS}
    for cause in walk_causes(error):
        if not isinstance(cause, OSError) or cause.errno not in remedies:
            continue
        if cause.filename is not None or not folders:
            where = os.fsdecode(cause.filename) if isinstance(cause.filename, str | bytes) else "a file"
        else:
            where = str(folders[0])
        what = cause.strerror or os.strerror(cause.errno or 0)
        return MiranteError(f"{where}: {what}: {remedies[cause.errno or 0]}")
    for other in walk_causes(error):
        for words, remedy in _BY_WORDS.items():
            if words in str(other):
                where = str(folders[0]) if folders else "a file"
                return MiranteError(f"{where}: {words}: {remedy.format(store=f'{where}/metadata.sqlite')}")
    return None


def check_address_space() -> None:
    """Refuse a limit of memory under which TensorFlow ends the process without a message.

    Raises:
        MiranteError: `ulimit -v` is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE_BYTES:
        raise MiranteError(
            f"memory is limited to {limit / 2**30:.1f} GiB (ulimit -v), expected at least "
            f"{LEAST_ADDRESS_SPACE_BYTES / 2**30:.0f} GiB, which TensorFlow maps: take the limit away "
            "(ulimit -v unlimited), or limit the container or the cgroup instead"
        )
