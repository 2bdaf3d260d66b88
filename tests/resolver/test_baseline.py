"""Data that would replace the served model by one that does not answer what it answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.serving_folder import ServedModel, check_can_push
from components.resolver.baseline import check_replaces

pytestmark = pytest.mark.stack_free

SERVED = ServedModel(17, "serving/17", "classification", ("cat", "dog"))


def check(
    classes: tuple[str, ...], retired: tuple[str, ...] = (), task: str = "classification"
) -> str | None:
    return check_replaces("photos", task, classes, SERVED, retired)


def test_equal_classes_are_nothing_to_tell() -> None:
    assert check(("cat", "dog")) is None
    assert check_replaces("photos", "classification", ("cat", "dog"), None, ()) is None


def test_a_new_class_is_told_and_another_order_is_nothing_to_tell() -> None:
    assert check(("cat", "dog", "owl")) == (
        "version 17 knows other classes (new: owl): evaluation.max_regression compares both models on the 2 "
        "common classes: cat, dog; evaluation.thresholds judge the next model on all of its classes"
    )
    assert check(("dog", "cat")) is None


def test_too_few_common_classes_are_told() -> None:
    assert check(("cat", "owl"), ("dog",)) == (
        "version 17 knows other classes (new: owl; given up: dog): the next model cannot be compared with "
        "it, so that evaluation.max_regression compares nothing and the thresholds alone decide"
    )


def test_a_class_that_has_gone_is_refused_unless_it_is_retired() -> None:
    with pytest.raises(
        DataRefusedError, match=r"photos: .* 2 classes .* serving/17, got none of 1: dog; add"
    ):
        check(("cat", "owl"))
    for retired in (("dog",), ("*",)):
        assert "(new: owl; given up: dog)" in (check(("cat", "owl"), retired) or "")


def test_other_data_are_refused() -> None:
    with pytest.raises(
        DataRefusedError, match=r"2 classes .*, got none of 2: cat, dog; .* give another --root"
    ):
        check(("monarch", "swallowtail"))


def test_another_task_is_refused() -> None:
    with pytest.raises(
        DataRefusedError, match=r"expected data for classification, .*, got task detection; for other data"
    ):
        check(("cat", "dog"), task="detection")
    assert "is for classification, and the data for detection" in (
        check(("cat", "dog"), ("*",), "detection") or ""
    )


# --- a destination that cannot be written


def test_a_destination_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_can_push(str(tmp_path / "not" / "there"))
    assert list(tmp_path.iterdir()) == []


def test_a_destination_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"push.destination: .*file/serving: .*file is not a folder"):
        check_can_push(str(tmp_path / "file" / "serving"))


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder that nobody can write to")
def test_a_destination_that_cannot_be_written_is_told() -> None:
    said = rf"push.destination: /proc/sys/serving: user {os.getuid()} cannot write to /proc/sys: "
    with pytest.raises(MiranteError, match=said):
        check_can_push("/proc/sys/serving")
