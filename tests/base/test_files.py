"""Copies to a bucket appear whole or not at all, and errors keep what was there and their own words."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest

from components.base import files
from components.base.errors import MiranteError
from components.base.object_store import Bucket

# Opens, but its first byte cannot be read.
UNREADABLE = "/proc/self/mem"


def interrupt_writing(path: str) -> None:
    with files._writing(path) as file:
        file.write(b"part")
        raise KeyboardInterrupt


def test_what_fails_before_its_first_byte_leaves_the_former_object() -> None:
    files.write_bytes("ram://files/former", b"former")
    with pytest.raises(OSError, match="Input/output error"):
        files.put(UNREADABLE, "ram://files/former")
    assert files.read_bytes("ram://files/former") == b"former"
    # Not that there is nothing to remove.
    with pytest.raises(OSError, match="Input/output error"):
        files.put(UNREADABLE, "ram://files/nothing")
    assert not files.exists("ram://files/nothing")


def test_what_fails_after_its_first_byte_does_not_stay() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt_writing("ram://files/part")
    assert not files.exists("ram://files/part")


def test_an_error_is_not_hidden_by_that_of_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def close(self) -> None:
            raise OSError("no space is left")

    monkeypatch.setattr(files, "_open", lambda path, mode: Full())
    with pytest.raises(KeyboardInterrupt):
        interrupt_writing("ram://files/full")
    with pytest.raises(OSError, match="no space"), files._writing("ram://files/full") as file:
        file.write(b"whole")


def test_a_tree_is_copied_with_its_empty_files(tmp_path: Path) -> None:
    for name, content in (("empty", ""), ("last", "1"), ("z", "2")):
        (tmp_path / name).write_text(content)
    files.copy_tree(str(tmp_path), "ram://files/tree", "last")
    below = {os.path.relpath(path, "ram://files/tree"): path for path in files.list_below("ram://files/tree")}
    assert {name: files.read_text(path) for name, path in below.items()} == {
        "empty": "",
        "last": "1",
        "z": "2",
    }


def test_a_copy_that_is_interrupted_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").write_text("content")

    def interrupt(source: BinaryIO, target: BinaryIO) -> None:
        target.write(source.read(3))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", interrupt)
    # On a disk, and in a folder that counts as a bucket.
    for target in (tmp_path / "to", tmp_path / "gcs" / "bucket"):
        monkeypatch.setenv("MIRANTE_BUCKETS", str(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            files.copy_tree(str(tmp_path / "from"), str(target), "file")
        assert list(target.iterdir()) == []


def test_what_tensorflow_says_of_an_address_is_explained() -> None:
    with (
        pytest.raises(MiranteError, match=r"^unknown://b/k: .*unknown.*; check the address"),
        files.explained("unknown://b/k"),
    ):
        files.exists("unknown://b/k")


@pytest.mark.parametrize(
    ("scheme", "environment", "said"),
    [
        ("s3", {}, "set AWS_ENDPOINT_URL, for tasks on Kubeflow by kubeflow.defaults.env"),
        ("s3", {"AWS_ENDPOINT_URL": "http://me:secret@store"}, "AWS_ENDPOINT_URL is http://store; tasks on"),
        ("gs", {}, "it needs a way to storage.googleapis.com"),
        ("gs", {"STORAGE_EMULATOR_HOST": "127.0.0.1:1"}, "STORAGE_EMULATOR_HOST is 127.0.0.1:1; tasks on"),
    ],
)
def test_a_store_that_does_not_answer_is_explained_by_the_variables(
    scheme: str, environment: dict[str, str], said: str
) -> None:
    with (
        pytest.raises(MiranteError, match=f"does not answer .*{re.escape(said)}") as error,
        Bucket(scheme, "b", environment)._explained("k"),
    ):
        raise OSError("CURL error")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("scheme", "said"),
    [("s3", "set AWS_ACCESS_KEY_ID and AWS_SECRET"), ("gs", "set GOOGLE_APPLICATION_CREDENTIALS, or log in")],
)
def test_denied_access_is_explained_by_the_variables(scheme: str, said: str) -> None:
    with (
        pytest.raises(MiranteError, match=rf"^{scheme}://b/k: access is denied .*: {said}.*on Kubeflow"),
        Bucket(scheme, "b", {})._explained("k"),
    ):
        raise OSError("ACCESS_DENIED")
