"""What Mirante removes: nothing that it has not made and marked."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from components.base.errors import UsageError
from components.base.owned import MARK, is_marked, mark, note, root_facts, root_id
from components.ingest import IngestConfig, ingest
from pipeline.data.examples import describe, write_sample
from pipeline.data.spans import remove_others
from pipeline.recipe.load import load_recipe
from pipeline.run.nodes import prepare_data
from pipeline.targets.local import redirect_temporary_files
from tests.make.folders import write_photos

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

# What file systems allow in names, and programs read as something else.
NAMES = [
    "run[1]",
    "run*",
    "run?",
    "a b",
    "é",
    "%2e%41",
    "-rf",
    "{SPAN}",
    "#1",
    "$HOME",
    "a\nb",
    "back\\slash",
    "'\"",
    "~",
]


def tree(folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    """The SHA-256 of every file below a folder; folders are there too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] not in without
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_mark_is_of_its_owner(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    owner = root_id(root)
    assert root_id(root) == owner
    note(root, more=1)
    assert root_facts(root)["more"] == 1
    mark(root / "data" / "span-1", owner)
    assert is_marked(root / "data" / "span-1", owner)
    assert not is_marked(root / "data" / "span-1", root_id(tmp_path / "other"))
    assert not is_marked(root / "data", owner)
    moved = root.rename(tmp_path / "moved")
    assert root_id(moved) == owner
    (moved / "data" / "span-1" / MARK).write_text("[1]")
    assert not is_marked(moved / "data" / "span-1", owner)


@pytest.mark.parametrize("name", NAMES)
def test_only_marked_spans_are_removed(name: str, tmp_path: Path) -> None:
    root, owner = tmp_path / name, "1"
    for number in range(4):
        (root / "data" / f"span-{number}").mkdir(parents=True)
        (root / "data" / f"span-{number}" / "a").write_text("")
    mark(root / "data" / "span-0", owner)
    mark(root / "data" / "span-1", owner)
    mark(root / "data" / "span-2", "2")
    mark(root / "data" / "mine", owner)
    remove_others(root / "data", [root / "data" / "span-1"], owner)
    assert sorted(path.name for path in (root / "data").iterdir()) == ["mine", "span-1", "span-2", "span-3"]


def run_data(root: Path, path: Path | str) -> None:
    recipe = load_recipe("folder", ["model.weights=null"], str(path))
    prepare_data(recipe, root, Console(quiet=True))


def test_photos_in_a_folder_data_stay(tmp_path: Path) -> None:
    """`mirante run folder --data other --root .` where ./data has spans of photos."""
    write_photos(tmp_path, classes=("cats", "dogs"))
    for number in (1, 2):
        shutil.copytree(tmp_path / "photos", tmp_path / "data" / f"span-{number}")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=r"data: expected what a run .*\(span-1, span-2\); give"):
        run_data(tmp_path, tmp_path / "photos")
    assert tree(tmp_path, without=(MARK,)) == before
    # Spans elsewhere, one of which would be ingested to where the photos are.
    shutil.copytree(tmp_path / "data", tmp_path / "incoming")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=r"data/span-2: expected what a run .*\(cats, dogs\)"):
        run_data(tmp_path, tmp_path / "incoming" / "span-{SPAN}")
    shutil.rmtree(tmp_path / "incoming" / "span-2")
    (tmp_path / "incoming" / "span-1").rename(tmp_path / "incoming" / "span-3")
    run_data(tmp_path, tmp_path / "incoming" / "span-{SPAN}")
    assert is_marked(tmp_path / "data" / "span-3", root_id(tmp_path))
    for number in (1, 2):
        assert tree(tmp_path / "data" / f"span-{number}") == tree(tmp_path / "photos")


def test_ingested_spans_in_a_folder_data_stay(tmp_path: Path) -> None:
    """`mirante ingest folder raw/N data/span-N` for each N, then `--data 'data/span-{SPAN}' --root .`."""
    photos = write_photos(tmp_path, classes=("cats", "dogs"))
    for number in (1, 2):
        ingest("folder", photos, tmp_path / "data" / f"span-{number}", IngestConfig())
    before = tree(tmp_path)
    run_data(tmp_path, tmp_path / "data" / "span-{SPAN}")
    assert tree(tmp_path, without=(MARK, "digests.json")) == before
    with pytest.raises(UsageError, match="give another --root"):
        run_data(tmp_path, photos)
    assert tree(tmp_path, without=(MARK, "digests.json")) == before


def test_own_ingested_data_are_replaced(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, classes=("cats", "dogs"))
    shutil.copytree(photos, tmp_path / "more")
    root = tmp_path / "root"
    run_data(root, photos)
    # A root of an earlier version has no marks.
    (root / "data" / MARK).unlink()
    run_data(root, photos)
    run_data(root, tmp_path / "more")
    (root / "data" / MARK).unlink()
    with pytest.raises(UsageError, match="give another --root"):
        run_data(root, photos)


@pytest.mark.parametrize("name", NAMES)
def test_temporary_files_of_others_stay(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    (root / ".tmp" / "mine").mkdir(parents=True)
    mark(root / ".tmp-2", root_id(root))  # of a run that was killed
    with redirect_temporary_files(root):
        assert Path(tempfile.gettempdir()).parent == root
        (Path(tempfile.gettempdir()) / "a").touch()
        assert not (root / ".tmp-2").exists()
    assert sorted(path.name for path in root.iterdir()) == [".tmp", MARK]
    assert (root / ".tmp" / "mine").is_dir()


def test_an_image_of_the_same_name_stays(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, classes=("cats", "dogs"))
    ingest("folder", photos, tmp_path / "data", IngestConfig())
    examples = describe(tmp_path / "data", load_recipe("folder", ["model.weights=null"], str(photos)).data)
    (tmp_path / "sample.png").write_bytes(b"mine")
    path = Path(write_sample(examples, tmp_path))
    assert path.name.startswith("sample-")
    assert (tmp_path / "sample.png").read_bytes() == b"mine"
    (tmp_path / "sample.png").unlink()
    assert write_sample(examples, tmp_path) == str(tmp_path / "sample.png")
    # Its own is replaced.
    (tmp_path / "sample.png").write_bytes(b"older")
    note(tmp_path, sample_sha256=hashlib.sha256(b"older").hexdigest())
    assert write_sample(examples, tmp_path) == str(tmp_path / "sample.png")


@pytest.mark.parametrize("name", NAMES)
def test_files_are_found_whatever_the_folder_is_called(name: str, tmp_path: Path) -> None:
    from components.base.records import list_files

    folder = tmp_path / name
    for other in (folder, tmp_path / "run1"):
        (other / "below").mkdir(parents=True)
        (other / "b").touch()
        (other / "a").touch()
    assert list_files(str(folder)) == [f"{folder}/a", f"{folder}/b"]


@pytest.mark.parametrize("name", NAMES)
def test_finished_checkpoints_are_removed_whatever_the_folder_is_called(name: str, tmp_path: Path) -> None:
    from components.trainer.checkpoints import Checkpoints

    for folder in (tmp_path / name, tmp_path / "run1"):
        folder.mkdir()
        for file in ("ckpt-1.index", "ckpt-1.data-00000-of-00001", "mine"):
            (folder / file).touch()
    Checkpoints(str(tmp_path / name)).finish()
    assert [path.name for path in (tmp_path / name).iterdir()] == ["mine"]
    assert len(list((tmp_path / "run1").iterdir())) == 3
