"""Archives as INPUT: .zip and .tar (also compressed), unpacked once into the staging folder.

Members that would land outside it (absolute names, ".."), links and devices are refused, not skipped: an
archive that has them is not what its user thinks it is. A name that is there twice is read once: the last one
replaces the others, as unpacking tools do, and the user gets a warning for each of the others.
"""

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

from components.base.content import stamp_number
from components.base.errors import DataRefusedError, MiranteError
from components.ingest.left_out import litter_reason
from components.ingest.tar_headers import bound_headers

# Archives of images hardly shrink, uncompressed ones (IDX, BMP, PNM) shrink 2 to 20 times. What unpacks to
# more than a hundred times its size, and to more than a GiB, is a bomb or was not meant for this.
MAX_EXPANSION = 100
MIN_EXPANDED_BYTES = 1 << 30
_COPY_BYTES = 1 << 20
# What the libraries raise for damage: zipfile and tarfile have classes for some of it only.
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError,
    ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, AttributeError,
)  # fmt: skip
# Not the archive's fault.
_MACHINE_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.EFBIG,
)  # fmt: skip

_Member = tuple[str, int, IO[bytes] | None]
Unpacked = tuple[Path, list[str], list[tuple[str, str]]]


def is_archive(path: Path) -> bool:
    """Return whether the file's content is that of a .zip or .tar(.gz, .bz2, .xz)."""
    try:
        if _is_zip(path):
            return True
        with tarfile.open(path, tarinfo=bound_headers(str(path))):
            return True
    except tarfile.TarError:
        return False
    except (DataRefusedError, *_DAMAGED):
        return True  # compressed, and cut off, or hostile: unpack says so
    except OSError as error:
        return error.errno is None  # bz2's word for damage


def _is_zip(path: Path) -> bool:
    """Return whether the file is a .zip, or the beginning of one that is cut off."""
    if zipfile.is_zipfile(path):
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpacks archive into folder, unless folder holds it already.

    Returns:
        The folder of its files, the names that were replaced by a later member of that name, and what was
        left out of it, (path, reason).

    Raises:
        DataRefusedError: A damaged archive, a member that is not a plain file or folder inside of it, one
            that unpacks to too much, or names that this file system cannot hold.
        MiranteError: There is no room.
    """
    status = archive.stat()
    identity = [ascii(str(archive)), stamp_number(status)]
    done = folder / "unpacked.json"
    root = folder / "files"
    if done.exists():
        told = json.loads(done.read_text(encoding="utf-8"))
        if isinstance(told, dict) and told["archive"] == identity:
            return root, told["repeated"], [tuple(pair) for pair in told["left_out"]]
    shutil.rmtree(folder, ignore_errors=True)
    root.mkdir(parents=True)
    repeated: list[str] = []
    left_out: dict[str, str] = {}
    try:
        _unpack_members(archive, status.st_size, root, repeated, left_out)
    except DataRefusedError:
        raise
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise DataRefusedError(
            f"{archive}: one of its names is both a file and a folder ({error.filename}); unpack it yourself "
            "and give the folder"
        ) from error
    except OSError as error:
        if error.errno in _MACHINE_ERRORS:
            raise MiranteError(f"{archive}: cannot be unpacked into {root}: {error}") from error
        # bz2 has no error of its own: it raises OSError, without a number.
        what = "damaged or cut off" if error.errno is None else "cannot be unpacked here"
        raise DataRefusedError(
            f"{archive}: {what} ({error}); get it again, or unpack it yourself and give the folder"
        ) from error
    except _DAMAGED as error:
        why = str(error) or type(error).__name__
        raise DataRefusedError(f"{archive}: damaged or cut off ({why}); get it again") from error
    told = {"archive": identity, "repeated": repeated, "left_out": sorted(left_out.items())}
    done.write_text(json.dumps(told), encoding="utf-8")
    return root, repeated, sorted(left_out.items())


def _unpack_members(
    archive: Path, size_bytes: int, root: Path, repeated: list[str], left_out: dict[str, str]
) -> None:
    limit = max(MIN_EXPANDED_BYTES, MAX_EXPANSION * size_bytes)
    left = limit
    with closing(_members(archive, limit)) as members:
        for name, told_bytes, content in members:
            if not name:
                continue
            litter = _litter(name)
            if litter is not None:
                left_out[litter[0] + ("" if litter[0] == name and content is not None else "/")] = litter[1]
            # What is left out takes time, too, where the archive has to be unpacked to come behind it.
            if told_bytes > left:
                raise _too_much(archive, limit, size_bytes)
            if litter is not None:
                left -= told_bytes
                continue
            target = root / name
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_file():
                repeated.append(name.encode("utf-8", "backslashreplace").decode())
            with target.open("wb") as out:
                while data := content.read(_COPY_BYTES):
                    left -= len(data)
                    if left < 0:
                        raise _too_much(archive, limit, size_bytes)
                    out.write(data)


def _too_much(archive: Path, limit: int, size_bytes: int) -> DataRefusedError:
    return DataRefusedError(
        f"{archive}: unpacks to more than {limit} bytes from {size_bytes}, which images do not. If it is "
        "sound, unpack it yourself and give the folder"
    )


def _litter(name: str) -> tuple[str, str] | None:
    """Return the first folder (or the file) of a member's name that no source looks at, and why."""
    parts = name.split("/")
    for at, part in enumerate(parts, start=1):
        if reason := litter_reason(part):
            return "/".join(parts[:at]).encode("utf-8", "backslashreplace").decode(), reason
    return None


def _members(archive: Path, limit: int) -> Generator[_Member, None, None]:
    return _zip_members(archive) if _is_zip(archive) else _tar_members(archive, limit)


def _zip_members(archive: Path) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            name = _safe(archive, _zip_name(info))
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, info.filename, "is a link or a device")
            if info.flag_bits & 1:
                raise _refused(archive, info.filename, "is encrypted")
            if info.is_dir():
                yield name, 0, None
                continue
            try:
                content = file.open(info)
            except NotImplementedError as error:
                raise _refused(archive, info.filename, f"cannot be unpacked: {error}") from error
            with content:
                # The size that a header tells is checked when it is read; none is unpacked to be skipped.
                yield name, 0, content


_UTF8_FLAG = 0x800


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the member's name; bytes that are UTF-8 are UTF-8, also where the flag for it was forgotten."""
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar_members(archive: Path, limit: int) -> Generator[_Member, None, None]:
    with tarfile.open(archive, tarinfo=bound_headers(str(archive))) as file:
        while (info := file.next()) is not None:
            # Else memory grows with the number of members.
            file.members.clear()  # type: ignore[attr-defined]
            if file.offset > limit + tarfile.RECORDSIZE + info.size:
                raise _too_much(archive, limit, archive.stat().st_size)
            name = _safe(archive, info.name)
            if not (info.isreg() or info.isdir()):
                raise _refused(archive, info.name, "is a link or a device")
            yield name, info.size, None if info.isdir() else file.extractfile(info)


def _safe(archive: Path, name: str) -> str:
    """Return the member's relative name, "/" between folders (archives made on Windows have a backslash)."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    has_drive = len(plain) > 1 and plain[1] == ":" and plain[0].isalpha()
    if plain.startswith("/") or has_drive or ".." in parts or "\0" in plain:
        raise _refused(archive, name, "would land outside the folder it is unpacked to")
    return "/".join(parts)


def _refused(archive: Path, name: str, why: str) -> DataRefusedError:
    return DataRefusedError(
        f"{archive}: its member {name[:200]!r} {why}. Such archives are not unpacked: make one of plain "
        "files and folders, or unpack it yourself and give the folder"
    )
