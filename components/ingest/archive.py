"""Archives as INPUT: .zip and .tar (also compressed), unpacked once into the staging folder.

Members that would land outside it (absolute names, ".."), links and devices are refused, not skipped: an
archive that has them is not what its user thinks it is.
"""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO

from components.errors import DataRefusedError, MiranteError
from components.ingest.files import is_litter

# Archives of pictures hardly shrink, uncompressed ones (IDX, BMP, PNM) shrink 2 to 20 times. What unpacks to
# more than a hundred times its size, and to more than a GiB, is a bomb or was not meant for this.
MAX_EXPANSION = 100
MIN_EXPANDED_BYTES = 1 << 30
_COPY_BYTES = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)
# Not the archive's fault.
_MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)

_Member = tuple[str, IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether the file's content is that of a .zip or .tar(.gz, .bz2, .xz)."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except _DAMAGED:
        return True  # compressed, and cut off: unpack says so


def unpack(archive: Path, folder: Path) -> Path:
    """Unpacks archive into folder, unless folder holds it already; returns the folder of its files.

    Raises DataRefusedError for a damaged archive, a member that is not a plain file or folder inside of it,
    one that unpacks to too much, or names that this file system cannot hold. MiranteError if there is no
    room.
    """
    status = archive.stat()
    identity = [ascii(str(archive)), status.st_size, status.st_mtime_ns]
    done = folder / "unpacked.json"
    root = folder / "files"
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == identity:
        return root
    shutil.rmtree(folder, ignore_errors=True)
    root.mkdir(parents=True)
    left = max(MIN_EXPANDED_BYTES, MAX_EXPANSION * status.st_size)
    limit = left
    try:
        with closing(_members(archive)) as members:
            for name, content in members:
                target = root / name
                if content is None:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    while data := content.read(_COPY_BYTES):
                        left -= len(data)
                        if left < 0:
                            raise DataRefusedError(
                                f"{archive}: unpacks to more than {limit} bytes from {status.st_size}, which "
                                "pictures "
                                "do not. If it is sound, unpack it yourself and give the folder."
                            )
                        out.write(data)
    except _DAMAGED as error:
        raise DataRefusedError(f"{archive}: damaged or cut off ({error}); get it again.") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise DataRefusedError(
            f"{archive}: one of its names is both a file and a folder ({error.filename}); unpack it yourself "
            "and give "
            "the folder."
        ) from error
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else None
        if code in _MACHINE_ERRORS:
            raise MiranteError(f"{archive}: cannot be unpacked into {root}: {error}") from error
        # bz2 has no error of its own: it raises OSError, without a number.
        what = "damaged or cut off" if code is None else "cannot be unpacked here"
        raise DataRefusedError(
            f"{archive}: {what} ({error}); get it again, or unpack it yourself and give the folder."
        ) from error
    done.write_text(json.dumps(identity), encoding="utf-8")
    return root


def _members(archive: Path) -> Generator[_Member, None, None]:
    return _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)


def _zip_members(archive: Path) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            name = _safe(archive, info.filename)
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, info.filename, "is a link or a device")
            if info.flag_bits & 1:
                raise _refused(archive, info.filename, "is encrypted")
            if _is_wanted(name):
                if info.is_dir():
                    yield name, None
                else:
                    try:
                        content = file.open(info)
                    except NotImplementedError as error:
                        raise _refused(archive, info.filename, f"cannot be unpacked: {error}") from error
                    with content:
                        yield name, content


def _tar_members(archive: Path) -> Generator[_Member, None, None]:
    with tarfile.open(archive) as file:
        for info in file:
            name = _safe(archive, info.name)
            if not (info.isreg() or info.isdir()):
                raise _refused(archive, info.name, "is a link or a device")
            if _is_wanted(name):
                yield name, None if info.isdir() else file.extractfile(info)


def _is_wanted(name: str) -> bool:
    return bool(name) and not any(is_litter(part) for part in name.split("/"))


def _safe(archive: Path, name: str) -> str:
    """The member's relative name, "/" between folders (archives made on Windows have a backslash)."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    has_drive = len(plain) > 1 and plain[1] == ":" and plain[0].isalpha()
    if plain.startswith("/") or has_drive or ".." in parts or "\0" in plain:
        raise _refused(archive, name, "would land outside the folder it is unpacked to")
    return "/".join(parts)


def _refused(archive: Path, name: str, why: str) -> DataRefusedError:
    return DataRefusedError(
        f"{archive}: its member {name!r} {why}. Such archives are not unpacked: make one of plain files and "
        "folders, or "
        "unpack it yourself and give the folder."
    )
