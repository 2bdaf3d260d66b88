"""Groups that the user names: kept in one split, and an option that says nothing is refused."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.base.errors import UsageError
from components.ingest import IngestConfig, ingest
from components.ingest.groups import column_of
from tests.ingest.test_looks import encoded, photo, splits_of

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 images of 20 patients in two classes; a patient has images of both."""
    for number in range(60):
        path = tmp_path / "in" / f"class{number % 2}" / f"patient{number // 3}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number, (9, 8)), format="PNG"))
    return tmp_path / "in"


def test_a_patient_is_in_one_split(folder: Path, tmp_path: Path) -> None:
    result = ingest("folder", folder, tmp_path / "out", IngestConfig(group_by=r"(patient\d+)_"))
    by_patient = collections.defaultdict(set)
    for path, split in splits_of(tmp_path / "out").items():
        by_patient[path.partition("_")[0].rpartition("/")[2]].add(split)
    assert len(by_patient) == 20
    assert {len(found) for found in by_patient.values()} == {1}
    assert not [one for one in result.warnings if "group" in one]
    # Without it, most patients are in several.
    ingest("folder", folder, tmp_path / "other")
    assert splits_of(tmp_path / "other") != splits_of(tmp_path / "out")


def test_images_in_no_group_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / "class0" / "someone.png").write_bytes(encoded(photo(99, (9, 8)), format="PNG"))
    result = ingest("folder", folder, tmp_path / "out", IngestConfig(group_by=r"(patient\d+)_"))
    assert (
        "group_by: 1 image is in no group (the first: class0/someone.png); each counts by itself."
        in result.warnings
    )


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (r"(person\d+)_", "expected paths that it matches, got none in"),
        ("(patient)", "expected several groups, got all 60 images"),
        ("patient", "expected such a column with a value in it, got none in"),
    ],
)
def test_an_option_that_says_nothing_is_refused(
    folder: Path, tmp_path: Path, group_by: str, expected: str
) -> None:
    with pytest.raises(UsageError, match="group_by: ") as caught:
        ingest("folder", folder, tmp_path / "out", IngestConfig(group_by=group_by))
    assert expected in str(caught.value)


def test_the_option_is_checked_when_it_is_read() -> None:
    assert column_of("patient id") == "patient id"
    assert column_of("(a)") is None
    with pytest.raises(ValidationError, match="expected one group in parentheses, got 2"):
        IngestConfig(group_by="(a)(b)")
    with pytest.raises(ValidationError, match="expected a regular expression"):
        IngestConfig(group_by="(a")
