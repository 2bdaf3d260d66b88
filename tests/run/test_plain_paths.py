"""Links to folders whose names libraries read as patterns."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from pipeline.run.plain_paths import is_plain, plain_path
from tests.base.test_owned import NAMES

pytestmark = pytest.mark.stack_free


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_path_leads_to_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / name
    path = plain_path(folder)
    assert is_plain(path)
    assert (path == folder) == is_plain(folder)
    (folder / "a").mkdir(parents=True)
    assert glob.glob(f"{path}/*") == [f"{path}/a"]
    assert plain_path(folder) == path
    assert path.resolve() == folder.resolve()


def test_a_cache_folder_that_is_not_plain_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "[cache]"))
    path = plain_path(tmp_path / "run*")
    assert is_plain(path)
    assert path.parts[1] == "tmp"
    path.unlink()
