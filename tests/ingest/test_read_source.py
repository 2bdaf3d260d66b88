"""Reading the bytes of images: whole files, and parts of files with many."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.ingest.reading import read_source

pytestmark = pytest.mark.stack_free


def test_threads_read_from_several_files_with_many_images(tmp_path: Path) -> None:
    """A descriptor that one thread closes while another reads is that of another file."""
    files = [tmp_path / name for name in ("train", "tëst", "empty")]
    for number, file in enumerate(files[:2]):
        file.write_bytes(bytes([number]) * 1000)
    files[2].touch()

    def read(number: int) -> bytes:
        return read_source(os.fsencode(files[number % 3]), number % 990, 10)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(6000)))
    assert found == [(bytes([0]) * 10, bytes([1]) * 10, b"")[number % 3] for number in range(6000)]


def test_a_file_that_is_not_there_is_opened_when_it_is(tmp_path: Path) -> None:
    file = os.fsencode(tmp_path / "late")
    with pytest.raises(FileNotFoundError):
        read_source(file, 0, 1)
    (tmp_path / "late").write_bytes(b"ab")
    assert [read_source(file, place, 1) for place in (0, 1)] == [b"a", b"b"]
    assert read_source(file, None, 0) == b"ab"
