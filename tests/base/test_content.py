"""Digests of files, and when they are computed again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from components.base import content
from components.base.content import FileDigests, file_sha256, weights_sha256

pytestmark = pytest.mark.stack_free


def old(path: Path, secs: int = 3600) -> None:
    """Give a file a time of change in the past; only the time of its entry is now."""
    os.utime(path, (path.stat().st_atime - secs, path.stat().st_mtime - secs))


def test_a_digest_is_remembered_with_the_file_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SETTLED_SECS", -1.0)
    path, memory = tmp_path / "a", tmp_path / "memory.json"
    path.write_bytes(b"abc")
    digests = FileDigests(memory)
    assert digests.of(path) == hashlib.sha256(b"abc").hexdigest() == file_sha256(path)
    digests.save()
    # The remembered digest is returned, not computed: this one is wrong.
    memory.write_text(memory.read_text().replace(file_sha256(path), "0" * 64))
    assert FileDigests(memory).of(path) == "0" * 64
    for change in (
        lambda: path.write_bytes(b"abcd"),
        lambda: old(path),
        lambda: (tmp_path / "b").write_bytes(path.read_bytes()) and os.replace(tmp_path / "b", path),
    ):
        FileDigests(memory).of(path)
        change()
        digests = FileDigests(memory)
        assert digests.of(path) == file_sha256(path)
        digests.save()


def test_a_file_of_just_now_is_not_trusted(tmp_path: Path) -> None:
    path, memory = tmp_path / "a", tmp_path / "memory.json"
    path.write_bytes(b"abc")
    old(path)
    digests = FileDigests(memory)
    digests.of(path)
    digests.save()
    assert not memory.exists()


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    for text in ("", "[]", '{"x": 1}', "{"):
        (tmp_path / "memory.json").write_text(text)
        assert FileDigests(tmp_path / "memory.json").of(tmp_path / "a") == file_sha256(tmp_path / "a")


def test_weights_count_by_their_content_also_in_a_folder_and_as_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "model[1]"
    folder.mkdir()
    for name in ("ckpt-3.index", "ckpt-3.data-00000-of-00001"):
        (folder / name).write_bytes(name.encode())
    (folder / "ckpt-30.index").write_bytes(b"of another checkpoint")
    given = [str(folder), str(folder / "ckpt-3"), str(folder / "ckpt-3.index")]
    before = [weights_sha256(weights) for weights in given]
    assert None not in before
    assert len(set(before)) == 3
    (folder / "ckpt-30.index").write_bytes(b"new")
    assert [weights_sha256(weights) for weights in given[1:]] == before[1:]
    assert weights_sha256(given[0]) != before[0]
    (folder / "ckpt-3.data-00000-of-00001").write_bytes(b"trained on")
    assert weights_sha256(given[1]) != before[1]
    assert weights_sha256(given[2]) == before[2] == file_sha256(folder / "ckpt-3.index")
    assert [weights_sha256(weights) for weights in (None, "imagenet", str(tmp_path / "none"))] == [None] * 3
