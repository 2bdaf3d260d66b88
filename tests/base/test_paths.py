"""Paths in buckets, and files that appear whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from components.base.paths import gcs_mount, is_in_bucket, is_remote, replace_file, write_atomically

pytestmark = pytest.mark.stack_free


def test_an_address_is_remote() -> None:
    assert is_remote("gs://bucket/file")
    assert not is_remote("/gcs/bucket/file")


def test_a_bucket_is_known_by_address_mount_and_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRANTE_BUCKETS", raising=False)
    assert gcs_mount() == "/gcs/"
    assert is_in_bucket("s3://bucket/file")
    assert is_in_bucket("/gcs/bucket/file")
    assert not is_in_bucket("/data/gcs/bucket/file")
    monkeypatch.setenv("MIRANTE_BUCKETS", "/data")
    assert gcs_mount() == "/data/gcs/"
    assert is_in_bucket("/data/s3/bucket/file")
    assert not is_in_bucket("/gcs/bucket/file")


def test_a_written_file_has_all_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "grün\r\n")
    assert path.read_bytes() == b"gr\xc3\xbcn\r\n"
    write_atomically(path, b"new", sync=True)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


def half(temporary: Path) -> None:
    temporary.write_text("half")
    assert temporary.suffix == ".yaml"
    raise OSError("the disk is full")


def test_a_file_stays_as_it_was_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"), replace_file(path) as temporary:
        half(temporary)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_a_file_has_the_permissions_that_the_process_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "ä" * 125 + ".json"  # 255 bytes
    write_atomically(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]
