"""What is said when the operating system refuses something."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from components.base import disk_full
from components.base.errors import MiranteError
from components.base.os_errors import explain_os_error
from tests.failures import MIRANTE, arguments
from tests.small_disk import SmallDisk


def said(error: BaseException, folder: Path) -> str:
    explained = explain_os_error(error, [folder])
    assert explained is not None
    assert explained.exit_code == 1
    return str(explained)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "the file system is read-only: give a folder on another one"),
        (errno.EACCES, "you have no permission: change its owner or mode"),
        (errno.EFBIG, "the file is larger than is allowed: raise the limit (ulimit -f unlimited)"),
        (errno.ENOLCK, "the file system has no locks: give a folder on a local disk"),
        (errno.ENOSYS, "the file system cannot do this: give a folder on a local disk"),
        (errno.EIO, "the disk, or the connection to it, fails"),
        (errno.EMFILE, "too many files are open at a time: raise the limit (ulimit -n 4096)"),
        (errno.ENOMEM, "memory is short"),
    ],
)
def test_what_where_and_what_to_do(number: int, remedy: str, tmp_path: Path) -> None:
    named = OSError(number, os.strerror(number), "/data/x")
    assert said(named, tmp_path).startswith(f"/data/x: {os.strerror(number)}: {remedy}")
    assert said(OSError(number, os.strerror(number)), tmp_path).startswith(
        f"{tmp_path}: {os.strerror(number)}: "
    )


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("database is locked", "another program has the metadata store open"),
        ("database disk image is malformed", "the metadata store is damaged: run the same command again"),
        ("disk I/O error", "the disk of the metadata store fails"),
        ("mkdir failed: Too many open files [24]", "too many files are open at a time"),
    ],
)
def test_what_libraries_hand_on_as_words(words: str, remedy: str, tmp_path: Path) -> None:
    error = RuntimeError("Beam failed")
    error.__cause__ = RuntimeError(f"INTERNAL: {words}")
    assert remedy in said(error, tmp_path)
    assert said(error, tmp_path).startswith(f"{tmp_path}: ")


def test_other_errors_keep_their_words(tmp_path: Path) -> None:
    assert explain_os_error(ValueError("no"), [tmp_path]) is None
    assert explain_os_error(FileNotFoundError(errno.ENOENT, "No such file", "x"), [tmp_path]) is None
    error = MiranteError("weights.h5 cannot be read: give another")
    error.__cause__ = PermissionError(errno.EACCES, "denied")
    assert explain_os_error(error, [tmp_path]) is None


Usage = namedtuple("Usage", "total used free")
Files = namedtuple("Files", "f_files f_favail")


@pytest.mark.parametrize(
    ("number", "free_mib", "inodes", "expected"),
    [
        (errno.ENOSPC, 0.5, 100, "0.5 of 50.0 MiB are free, and more was needed. Make room there and run"),
        (
            errno.ENOSPC,
            50.0,
            100,
            "it was full when it was written to. Now 50.0 of 50.0 MiB are free",
        ),
        (
            errno.ENOSPC,
            40.0,
            0,
            "none of its 1,000 inodes is free (`df -i` shows them)",
        ),
        (errno.EDQUOT, 40.0, 100, "your quota is used up"),
    ],
)
def test_a_full_disk_is_told_by_what_is_short(
    number: int, free_mib: float, inodes: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No test can make a file system in exactly this state.
    free = int(free_mib * 2**20)
    monkeypatch.setattr(disk_full.shutil, "disk_usage", lambda _: Usage(50 * 2**20, 50 * 2**20 - free, free))
    monkeypatch.setattr(disk_full.os, "statvfs", lambda _: Files(1000, inodes))
    assert expected in said(OSError(number, os.strerror(number)), tmp_path)


def lines(command: list[str], here: Path) -> tuple[int, list[str]]:
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.returncode, [line for line in done.stderr.splitlines() if line]


@pytest.mark.parametrize(
    "command", ["mirante ingest digits - disk/data", "mirante run digits --root disk/root"]
)
def test_a_read_only_file_system(command: str, tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", size_mib=16) as disk:
        remount = ["mount", "-o", "remount,ro", str(tmp_path / "disk")]
        subprocess.run(disk.command(remount, tmp_path), check=True)
        code, told = lines(disk.command(arguments(command), tmp_path), tmp_path)
    assert code == 1
    assert len(told) == 1
    assert told[0].startswith("mirante: ")
    assert "read-only" in told[0].lower()


@pytest.mark.slow
def test_a_limit_of_file_sizes_at_ingest(tmp_path: Path) -> None:
    script = f"ulimit -f 100; exec {MIRANTE} ingest digits - data --json"
    code, told = lines(["bash", "-c", script], tmp_path)
    assert code == 1
    assert len(told) == 1
    assert (
        "File too large: the file is larger than is allowed: raise the limit (ulimit -f unlimited)" in told[0]
    )
    assert not list((tmp_path / "data").glob("train-*"))
    shutil.rmtree(tmp_path / "data")


@pytest.mark.slow
def test_a_limit_of_memory_is_told_before_tensorflow_ends_the_process(tmp_path: Path) -> None:
    script = f"ulimit -v 2097152; exec {MIRANTE} run digits --root root --json"
    code, told = lines(["bash", "-c", script], tmp_path)
    assert code == 1
    assert "memory is limited to 2.0 GiB (ulimit -v), expected at least" in told[-1]
    (result,) = (tmp_path / "root" / "runs").glob("*/result.json")
    assert "memory is limited to 2.0 GiB" in result.read_text()
