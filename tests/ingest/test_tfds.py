"""The source tfds, on data sets that tensorflow_datasets itself prepares here."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds
import yaml
from click.testing import CliRunner
from PIL import Image
from tensorflow_datasets.core.download import downloader

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, IngestResult, ingest, read_manifest
from components.ingest.sources import tfds as source
from pipeline.commands.main import main
from pipeline.data import prepare as data
from pipeline.data.examples import describe
from pipeline.recipe.load import load_recipe

pytestmark = pytest.mark.usefixtures("inline_workers")

NAMES = ["zebra", "ant"]  # not sorted: the labels are the data set's own
PLAIN = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=NAMES)}
NAMED = {**PLAIN, "file_name": tfds.features.Text()}
Examples = dict[str, list[dict[str, Any]]]


def picture(number: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (number % 256, number // 256, 9)).save(buffer, format=kind)
    return buffer.getvalue()


def example(number: int, label: int | None = None, kind: str = "PNG", **more: Any) -> dict[str, Any]:
    label = number % 2 if label is None else label
    return {"image": io.BytesIO(picture(number, kind)), "label": label, **more}


def builder_class(
    name: str,
    examples: Callable[[tfds.download.DownloadManager], Examples],
    features: dict[str, Any] = PLAIN,
    supervised: Any = ("image", "label"),
) -> type[tfds.core.GeneratorBasedBuilder]:
    """A data set of that name, which is known in this process by its code."""

    def _info(self: Any) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=supervised,
            disable_shuffling=True,
        )

    def _split_generators(self: Any, manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(found) for split, found in examples(manager).items()}

    def _generate_examples(self: Any, found: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(found)

    body = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": _info,
        "_split_generators": _split_generators,
        "_generate_examples": _generate_examples,
    }
    return type("".join(map(str.title, name.split("_"))), (tfds.core.GeneratorBasedBuilder,), body)


def prepare(data_dir: Path, name: str, examples: Examples, *more: Any, **others: Any) -> Path:
    """The folder of a data set that is prepared, and whose code is known no longer."""
    with tfds.core.registered.skip_registration():
        made = builder_class(name, lambda _: examples, *more, **others)
    builder = made(data_dir=os.fspath(data_dir))
    builder.download_and_prepare()
    return Path(builder.data_dir)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """shapes/1.0.0: train 40 and test 20 images, every third a JPEG, with file names."""
    kinds = {0: "JPEG", 1: "PNG", 2: "PNG"}
    examples = [example(n, kind=kinds[n % 3], file_name=f"{NAMES[n % 2]}/{n}") for n in range(60)]
    return prepare(
        tmp_path_factory.mktemp("tfds"), "shapes", {"train": examples[:40], "test": examples[40:]}, NAMED
    )


@pytest.fixture
def data_dir(shapes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """TFDS_DATA_DIR, with shapes in it; the current folder is another one."""
    monkeypatch.setenv("TFDS_DATA_DIR", os.fspath(shapes.parents[1]))
    monkeypatch.chdir(tmp_path)
    return shapes.parents[1]


def run(given: str | Path, output: Path, **options: Any) -> IngestResult:
    return ingest("tfds", Path(given), output, IngestConfig(**{"workers": 1, **options}))


def records(output: Path) -> dict[str, tuple[str, int, str, bytes]]:
    """`image/filename` -> split, label, class, image."""
    found = {}
    for shard in sorted(output.glob("*-of-*")):
        for record in read_records(shard):
            values = parse_example(record)
            found[values["image/filename"][0].decode()] = (
                shard.name.partition("-")[0],
                values["image/class/label"][0],
                values["image/class/text"][0].decode(),
                values["image/encoded"][0],
            )
    return found


def rejects(output: Path) -> dict[str, str]:
    lines = (output / "rejects.csv").read_text(encoding="utf-8").splitlines()[1:]
    return {path: reason.strip('"') for path, _, reason in (line.partition(",") for line in lines)}


def sums(output: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in output.iterdir() if p.is_file()}


def test_by_name_with_bytes_labels_and_splits_kept(data_dir: Path, tmp_path: Path) -> None:
    result = run("shapes", tmp_path / "out", splits={"train": 1})
    assert result.class_names == NAMES
    assert {split: summary.images for split, summary in result.splits.items()} == {"train": 40, "test": 20}
    kinds = {0: "JPEG", 1: "PNG", 2: "PNG"}
    assert records(tmp_path / "out") == {
        f"{NAMES[n % 2]}/{n}": (
            "train" if n < 40 else "test",
            n % 2,
            NAMES[n % 2],
            picture(n, kinds[n % 3]),
        )
        for n in range(60)
    }


@pytest.mark.slow
def test_name_version_and_folder_are_the_same(data_dir: Path, shapes: Path, tmp_path: Path) -> None:
    run("shapes", tmp_path / "a")
    run("shapes:1.0.0", tmp_path / "b", workers=2)
    run(shapes, tmp_path / "c")
    assert set(run(shapes, tmp_path / "c").splits) == {"train", "eval", "test"}
    assert sums(tmp_path / "a") == sums(tmp_path / "b") == sums(tmp_path / "c")


def test_a_second_run_does_nothing_until_a_file_changes(shapes: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shapes, tmp_path / "shapes" / "1.0.0")
    assert not run(copy, tmp_path / "out").unchanged
    before = sums(tmp_path / "out")
    assert run(copy, tmp_path / "out").unchanged
    os.utime(copy / "shapes-train.tfrecord-00000-of-00001", ns=(1, 1))
    assert not run(copy, tmp_path / "out").unchanged
    after = sums(tmp_path / "out")
    assert {n for n in after if before[n] != after[n]} == {"inputs.csv.gz"}  # it has the time


@pytest.mark.slow
def test_a_second_run_by_name_needs_no_tensorflow(data_dir: Path, tmp_path: Path) -> None:
    run("shapes", tmp_path / "out")
    script = (
        "import sys; from pathlib import Path; from components.ingest import IngestConfig, ingest\n"
        "assert not [n for n in sys.modules if n.startswith('tensorflow')]\n"
        "result = ingest('tfds', Path('shapes'), Path('out'), IngestConfig(workers=1))\n"
        "print(result.unchanged, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True False"]


@pytest.mark.slow
def test_a_folder_above_and_an_archive(shapes: Path, tmp_path: Path) -> None:
    packed = tmp_path / "shapes.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in shapes.iterdir():
            archive.write(path, f"shapes/1.0.0/{path.name}")
    run(shapes.parent, tmp_path / "a")
    run(packed, tmp_path / "b")
    assert len(records(tmp_path / "a")) == 60
    assert records(tmp_path / "a") == records(tmp_path / "b")


@pytest.mark.slow
def test_images_without_names_unlabelled_ones_and_splits_of_other_names(tmp_path: Path) -> None:
    folder = prepare(
        tmp_path / "tfds",
        "odd_ones",
        {
            "train": [example(1), example(2, -1), example(3)],
            "extra": [example(4), example(5)],
            "validation": [example(6)],
        },
    )
    result = run(folder, tmp_path / "a", max_reject_share=0.5, splits={"train": 1})
    assert result.rejected == 2
    assert {path: split for path, (split, *_) in records(tmp_path / "a").items()} == {
        "odd_ones/train#0": "train",
        "odd_ones/train#2": "train",
        "odd_ones/validation#0": "eval",
    }
    assert rejects(tmp_path / "a") == {
        "odd_ones/extra": "all 2 images of this split: it is not one of train, eval, test by its name; "
        "--split-names extra=train (in a recipe data.split_names) takes them in",
        "odd_ones/train#1": "unlabelled: its class is -1 (odd_ones/train#1)",
    }
    run(folder, tmp_path / "b", max_reject_share=0.5, split_names={"extra": "test"})
    read = records(tmp_path / "b")
    assert read["odd_ones/extra#1"][:3] == ("test", 1, "ant")
    assert list(rejects(tmp_path / "b")) == ["odd_ones/train#1"]


def test_emnist_is_set_upright(tmp_path: Path) -> None:
    on_its_side = io.BytesIO()
    Image.frombytes("L", (3, 2), bytes([1, 2, 3, 4, 5, 6])).save(on_its_side, format="PNG")
    examples = [{"image": io.BytesIO(on_its_side.getvalue()), "label": label} for label in (0, 1)]
    features = {**PLAIN, "image": tfds.features.Image(shape=(2, 3, 1))}
    folder = prepare(tmp_path, "emnist", {"train": examples}, features)
    for options, expected in (({}, [1, 4, 2, 5, 3, 6]), ({"transpose": False}, [1, 2, 3, 4, 5, 6])):
        output = tmp_path / f"out{len(options)}"
        assert (
            "EMNIST's images are on their sides"
            in run(folder, output, splits={"train": 1}, **options).warnings[0]
        )
        for *_, encoded in records(output).values():
            with Image.open(io.BytesIO(encoded)) as image:
                assert list(image.tobytes()) == expected


def test_no_split_of_a_known_name(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "tfds", "whole_ones", {"full": [example(1), example(2)]})
    with pytest.raises(UsageError, match=r"none of its splits has a known name: full.*full=train"):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = run(folder, tmp_path / "out", split_names={"full": "train"}, splits={"train": 1})
    assert result.splits["train"].images == 2


def test_file_names_that_repeat_are_told_apart(tmp_path: Path) -> None:
    broken = {"image": io.BytesIO(picture(2)[:-20]), "label": 0, "file_name": "1.png"}
    examples = [example(1, file_name="1.png"), broken, example(3, file_name="")]
    folder = prepare(tmp_path / "tfds", "twins", {"train": examples}, NAMED)
    result = run(folder, tmp_path / "out", max_reject_share=0.5, splits={"train": 1})
    assert result.splits["train"].images == 2
    assert sorted(records(tmp_path / "out")) == ["1.png", "twins/train#2"]
    assert list(rejects(tmp_path / "out")) == ["1.png"]


def test_classes_without_an_image_keep_their_place(tmp_path: Path) -> None:
    features = {**PLAIN, "label": tfds.features.ClassLabel(num_classes=11)}
    folder = prepare(tmp_path / "tfds", "numbers", {"train": [example(10, 10), example(2, 2)]}, features)
    result = run(folder, tmp_path / "out", splits={"train": 1})
    assert result.class_names == [str(n) for n in range(11)]
    assert {label for _, label, _, _ in records(tmp_path / "out").values()} == {2, 10}


def test_supervised_keys_tell_which_of_several(tmp_path: Path) -> None:
    features = {
        **PLAIN,
        "mask": tfds.features.Image(shape=(None, None, 1)),
        "species": tfds.features.ClassLabel(names=["x", "y", "z"]),
        "head": tfds.features.BBoxFeature(),
    }
    mask = Image.new("L", (5, 4))
    packed = io.BytesIO()
    mask.save(packed, format="PNG")
    more = {"mask": packed, "species": 2, "head": tfds.features.BBox(0.0, 0.0, 1.0, 1.0)}
    examples = {"train": [example(1, **more)]}
    folder = prepare(tmp_path / "tfds", "pets", examples, features)
    run(folder, tmp_path / "out", splits={"train": 1})
    assert records(tmp_path / "out") == {"pets/train#0": ("train", 1, "ant", picture(1))}
    packed.seek(0)
    examples = {"train": [example(1, **more)]}
    folder = prepare(tmp_path / "tfds", "mute_pets", examples, features, supervised=None)
    with pytest.raises(UsageError, match=r"is the image .* several \(image, mask\), and .* label: Class"):
        run(folder, tmp_path / "out2")


@pytest.mark.parametrize(
    ("name", "features", "made", "said"),
    [
        ("no_class", {"image": PLAIN["image"]}, lambda n: {"image": io.BytesIO(picture(n))}, "is the class"),
        ("no_image", {"label": PLAIN["label"]}, lambda n: {"label": n % 2}, "is the image"),
        (
            "boxes",
            {"image": PLAIN["image"], "labels": tfds.features.Sequence(PLAIN["label"])},
            lambda n: {"image": io.BytesIO(picture(n)), "labels": [0, 1]},
            "is the class .* found none. It has image: Image, labels: Sequence",
        ),
    ],
)
def test_data_sets_of_another_kind(
    name: str, features: dict[str, Any], made: Callable[[int], Any], said: str, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "tfds", name, {"train": [made(1)]}, features, supervised=None)
    with pytest.raises(UsageError, match=said):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_prepared_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    builder_class("made_here", lambda _: {"train": [example(n) for n in range(4)]})
    result = run("made_here", tmp_path / "out", splits={"train": 1})
    assert result.splits["train"].images == 4
    assert (tmp_path / "tfds" / "made_here" / "1.0.0" / "dataset_info.json").is_file()
    assert capsys.readouterr().out == ""  # standard output is the command's own
    assert run("made_here", tmp_path / "out", splits={"train": 1}).unchanged


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    # Nothing listens there, with a network and without; its ten attempts take over three minutes.
    monkeypatch.setattr(downloader, "MAX_RETRIES", 0)
    builder_class("far_away", lambda manager: {"train": [manager.download("http://127.0.0.1:1/x.zip")]})
    with pytest.raises(MiranteError, match=r"not prepared in .*far_away/1\.0\.0,(.|\n)*tfds build far"):
        run("far_away", tmp_path / "out")
    shown = CliRunner().invoke(main, ["ingest", "tfds", "far_away", str(tmp_path / "out"), "--json"])
    assert shown.exit_code == 1
    assert "127.0.0.1" in json.loads(shown.stdout.splitlines()[-1])["error"]
    assert not (tmp_path / "out").exists()
    # An output that cannot be used is refused before anything is downloaded.
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"letter\.txt"):
        run("far_away", tmp_path / "full")


def test_names_that_lead_nowhere(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cats_and_dogs: .*nothing .* is prepared in .*mean 'cats_vs_dogs'"):
        run("cats_and_dogs", tmp_path / "out")
    with pytest.raises(UsageError, match=r"shapes:2\.0\.0"):
        run("shapes:2.0.0", tmp_path / "out")
    with pytest.raises(UsageError, match=r"mnist:0\.0\.1: .*cannot be loaded at version 0\.0\.1"):
        run("mnist:0.0.1", tmp_path / "out")
    with pytest.raises(UsageError, match=r"no-such-place does not exist, and is no name of a data set"):
        run("no-such-place", tmp_path / "out")
    with pytest.raises(UsageError, match=r"needs an INPUT: .* or the name of a data set"):
        ingest("tfds", None, tmp_path / "out")


def test_folders_that_are_none(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "my-pictures").mkdir()
    with pytest.raises(UsageError, match=r"found none\. Give such a folder"):
        run(tmp_path / "my-pictures", tmp_path / "out")
    for version in ("1.0.0", "2.0.0"):
        shutil.copytree(shapes, tmp_path / "several" / version)
    with pytest.raises(UsageError, match=r"found 2 of them \(1\.0\.0/, 2\.0\.0/\)"):
        run(tmp_path / "several", tmp_path / "out")
    old = shutil.copytree(shapes, tmp_path / "old")
    (old / "features.json").unlink()
    with pytest.raises(UsageError, match=r"no features\.json .* below 4"):
        run(old, tmp_path / "out")


@pytest.mark.parametrize("cut", [7, None])
def test_a_damaged_set_is_refused(cut: int | None, shapes: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shapes, tmp_path / "copy")
    shard = copy / "shapes-train.tfrecord-00000-of-00001"
    # Within a record, and all of them: the last would be an empty, valid file.
    shard.write_bytes(shard.read_bytes()[:-cut] if cut else b"")
    with pytest.raises(DataRefusedError, match=r"the split train cannot be read to its end"):
        run(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_the_library(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'tensorflow-datasets"):
        run("shapes", tmp_path / "out")


def test_names_and_paths(
    shapes: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mnist", "emnist/letters", "mnist:3.0.1", "emnist/letters:3.*.*", "oxford_iiit_pet"):
        assert source.is_name(name)
    for path in ("/mnist", "mnist.zip", "../mnist", "a/b/c", "~/mnist", "mnist:new", str(shapes)):
        assert not source.is_name(path)
    # A neighbouring folder counts if there is something in it to read.
    (tmp_path / "mnist").mkdir()
    assert source.is_name("mnist")
    (tmp_path / "mnist" / "3.0.1").mkdir()
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").touch()
    assert not source.is_name("mnist")


def test_a_recipe_takes_a_name(data_dir: Path, shapes: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    values = {
        "name": "mine",
        "data": {"source": "tfds", "path": "shapes"},
        "evaluation": {"thresholds": {"accuracy": 0.5}},
    }
    recipe.write_text(yaml.safe_dump(values))
    by_name = load_recipe(str(recipe))
    assert by_name.data.path == "shapes"
    prepared = data.prepare(by_name.data, tmp_path / "root")
    folder = prepared.folder
    assert prepared.ingested is not None
    assert describe(folder, by_name.data).class_names == tuple(NAMES)
    # The shards of a prepared set are called like contract data; they are read as what they are.
    by_folder = load_recipe(str(recipe), data_path=os.path.relpath(shapes))
    assert by_folder.data.path == str(shapes)
    again = data.prepare(by_folder.data, tmp_path / "root").ingested
    assert again is not None
    assert again.unchanged
    # Contract data stays contract data.
    contract = load_recipe(str(recipe), data_path=str(folder))
    assert data.prepare(contract.data, tmp_path / "root2") == data.Prepared(folder, None)
    assert load_recipe(str(recipe), ["data.source=folder"]).data.path == str(tmp_path / "shapes")


def test_the_command(data_dir: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["ingest", "tfds", "shapes", "out", "--json"])
    assert shown.exit_code == 0, shown.output
    splits = json.loads(shown.stdout)["splits"]
    assert sum(split["images"] for split in splits.values()) == 60
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.input == str(data_dir / "shapes" / "1.0.0")
