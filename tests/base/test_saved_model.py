"""The files of a pushed model are named in one module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.base import saved_model
from components.base.saved_model import (
    MODEL_FILE,
    class_names_of,
    describe_answers,
    same_fingerprint,
    task_of,
)
from components.ingest.sources import class_order

ROOT = Path(__file__).resolve().parents[2]


def test_no_other_module_names_the_files_of_a_model() -> None:
    names = re.compile(
        r"""["'](assets\.extra|.*labels\.txt|.*task\.txt|saved_model\.pb|fingerprint\.pb|Format-)"""
    )
    files = [
        path for floor in ("components", "pipeline", "kubeflow") for path in (ROOT / floor).rglob("*.py")
    ]
    found = {path for path in files if names.search(path.read_text(encoding="utf-8"))}
    # In raw data, a labels.txt is a list of classes.
    assert found - {Path(class_order.__file__)} == {Path(saved_model.__file__)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for name, content in describe_answers(["cat", "a dog"], "detection").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert class_names_of(str(tmp_path)) == ("cat", "a dog")
    assert task_of(str(tmp_path)) == "detection"


def test_a_model_of_others_has_no_classes_and_an_old_one_is_a_classifier(tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).touch()
    assert class_names_of(str(tmp_path)) is None
    assert task_of(str(tmp_path)) == "classification"


@pytest.mark.parametrize(
    ("ours", "theirs", "is_same"),
    [(b"1", b"1", True), (b"1", b"2", False), (None, None, False), (b"1", None, False)],
)
def test_copies_have_equal_fingerprints(
    ours: bytes | None, theirs: bytes | None, is_same: bool, tmp_path: Path
) -> None:
    for name, content in (("ours", ours), ("theirs", theirs)):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "fingerprint.pb").write_bytes(content)
    assert same_fingerprint(str(tmp_path / "ours"), str(tmp_path / "theirs")) == is_same
