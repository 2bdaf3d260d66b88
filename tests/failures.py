"""The failures that a user can cause: what is done, and the row of docs/failures.md that tells what happens.

A row holds the exit code and what `mirante` says. tests/commands/test_failures.py does what each row
says and compares the end of the command with it; where they differ it prints the row as it should be.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from pipeline.recipe.load import RECIPES
from tests.make import boxes
from tests.make.commands import mirante
from tests.make.folders import write_images, write_mnist, write_photos
from tests.make.images import make_png
from tests.make.weights import write_weights_file

PAGE = Path(__file__).resolve().parents[1] / "docs" / "failures.md"
MIRANTE = Path(sys.executable).with_name("mirante")
# How the folder that a command is run in is called on the page.
HERE = "/home/me"
HAVE_JSON = ("ingest", "run", "predict", "submit")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the page; `said` holds `{...}` for what differs from time to time."""

    what: str
    command: str
    code: int
    said: str

    def __str__(self) -> str:
        return f"| {self.what} | `{self.command}` | {self.code} | {self.said} |"


def rows() -> dict[str, Row]:
    """The rows of the page by what is wrong."""
    found = re.findall(r"^\| (.+?) \| `(.+?)` \| (\d+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {what: Row(what, command, int(code), said) for what, command, code, said in found}


@dataclasses.dataclass(frozen=True)
class Ended:
    """The end of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The last line of standard output; None where there is none."""
        lines = self.stdout.splitlines()
        return json.loads(lines[-1]) if lines else None


def arguments(command: str) -> list[str]:
    """Return the arguments of a command as a user types it, with --json if it has that option."""
    _, name, *rest = shlex.split(command)
    return [str(MIRANTE), name, *rest, *(["--json"] if name in HAVE_JSON else [])]


def run(command: str, here: Path, *, runs_nodes: bool = False) -> Ended:
    """Run a command in a folder, see `tests.make.commands.mirante`."""
    done = mirante(*arguments(command)[1:], cwd=here, runs_nodes=runs_nodes)
    return Ended(done.returncode, done.stdout, done.stderr)


def said(ended: Ended, here: Path) -> str:
    """The message that a command ended with, as a cell of the page."""
    text = ended.stderr.replace(str(here), HERE).replace(str(RECIPES), "{recipes}").strip()
    _, begin, message = f"\n{text}".rpartition("\nmirante: ")
    lines = (begin + message if begin else text).strip().splitlines()
    return "<br>".join(line.strip() for line in lines if line.strip()).replace("|", "\\|")


def check(what: str, ended: Ended, here: Path) -> None:
    """Compare the end of a command with its row, and with what --json promises."""
    row = rows()[what]
    actual = dataclasses.replace(row, code=ended.code, said=said(ended, here))
    pattern = re.sub(r"\\{[a-z ]+\\}", ".+", re.escape(row.said).replace(r"\ ", " "))
    told = f"in {PAGE.name} is\n{row}\nand it should be\n{actual}\n{ended.stderr}"
    assert (actual.code, bool(re.fullmatch(pattern, actual.said))) == (row.code, True), told
    assert "Traceback" not in ended.stderr
    if row.code == 2:
        assert ended.stdout == ""
    elif row.command.split()[1] == "predict":
        assert all("error" in answer for answer in ended.json)
    else:
        assert f"mirante: {ended.json['error']}" in ended.stderr


# --- what is there before


def broken_recipe(here: Path) -> None:
    (here / "mine.yaml").write_text("name: [mine\n")


def recipe_in_a_folder(here: Path) -> None:
    write_photos(here)
    (here / "conf").mkdir()
    (here / "conf" / "belt.yaml").write_text(
        "name: belt\ndata: {path: photos}\nevaluation: {thresholds: {accuracy: 0.5}}\n"
    )


def a_key_twice(here: Path) -> None:
    (here / "mine.yaml").write_text("name: mine\ntask: detection\nname: other\n")


def text_file(here: Path) -> None:
    (here / "notes.txt").write_text("no archive\n")


def no_images(here: Path) -> None:
    (here / "photos" / "cats").mkdir(parents=True)


def all_rejects(here: Path) -> None:
    for number in range(2):
        write_images(here, f"photos/cats/{number}.png")
        (here / "photos" / "cats" / f"{number}.png").write_text("no image")


def a_cut_image(here: Path) -> None:
    write_photos(here)
    (here / "photos" / "cats" / "7.png").write_bytes(make_png(7)[:60])


def one_class(here: Path) -> None:
    write_photos(here, classes=("cats",))


def no_train_split(here: Path) -> None:
    write_images(here / "photos", *(f"test/{name}/{n}.png" for name in ("cats", "dogs") for n in range(20)))


def unknown_label(here: Path) -> None:
    write_images(here / "photos", *(f"train/{name}/{n}.png" for name in ("cats", "dogs") for n in range(60)))
    write_images(
        here / "photos", *(f"test/{name}/{n}.png" for name in ("cats", "dogs", "owls") for n in range(9))
    )


def no_test_images(here: Path) -> None:
    write_images(
        here / "photos", *(f"train/{name}/{n}.png" for name in ("cats", "dogs", "owls") for n in range(60))
    )
    write_images(here / "photos", *(f"test/{name}/{n}.png" for name in ("cats", "dogs") for n in range(9)))


def small_class(here: Path) -> None:
    write_images(here / "photos", *(f"{name}/{n}.png" for name in ("cats", "dogs") for n in range(60)))
    write_images(here / "photos", "owls/0.png", "owls/1.png")


def damaged_archive(here: Path) -> None:
    write_photos(here)
    with zipfile.ZipFile(here / "whole.zip", "w") as file:
        for path in sorted((here / "photos").rglob("*.png")):
            file.write(path, path.relative_to(here))
    content = bytearray((here / "whole.zip").read_bytes())
    content[40:60] = bytes(20)
    (here / "photos.zip").write_bytes(content)


def idx_files(here: Path) -> None:
    write_mnist(here / "mnist")


def cut_idx_file(here: Path) -> None:
    write_mnist(here / "mnist", pack=False)
    images = here / "mnist" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-3])


def csv_without_a_class(here: Path) -> None:
    write_images(here / "list", "1.png")
    (here / "list" / "list.csv").write_text("filename,kind,size\n1.png,cat,3\n")


def boxes_of_two_classes(here: Path) -> None:
    """Make images of 40 x 20 pixels with an XML file each."""
    for number in range(60):
        box = (number % 20, 2, number % 20 + 15, 18, ("cat", "dog")[number % 2])
        files = {f"{number}.png": boxes.make_image(number), f"{number}.xml": boxes.make_xml(box)}
        boxes.write_files(here / "boxes", files)


def ingested_boxes(here: Path) -> None:
    boxes_of_two_classes(here)
    ended = run("mirante ingest voc boxes shards", here)
    assert ended.code == 0, ended.stderr


def label_map(text: str) -> Callable[[Path], None]:
    """Boxes, and a label map."""

    def prepare(here: Path) -> None:
        boxes_of_two_classes(here)
        (here / "map.pbtxt").write_text(text)

    return prepare


def boxes_outside(here: Path) -> None:
    boxes_of_two_classes(here)
    (here / "boxes" / "7.xml").write_text(boxes.make_xml((40, 2, 50, 18, "dog"), (3, 2, 9, 18, "dog")))


def boxes_in_shares(here: Path) -> None:
    _boxes(here, (0.25, 0.25, 0.5, 0.75, "cat"))


def boxes_swapped(here: Path) -> None:
    # On images of 40 x 20 pixels.
    _boxes(here, (2, 24, 9, 38, "cat"))


def _boxes(here: Path, box: boxes.Box, more: str = "") -> None:
    for number in range(4):
        xml = boxes.make_xml(box, more=more)
        boxes.write_files(here / "boxes", {f"{number}.png": boxes.make_image(number), f"{number}.xml": xml})


def crowds_alone(here: Path) -> None:
    _boxes(here, (2, 2, 9, 18, "cat"), more="<difficult>1</difficult>")


def yolo_layout(here: Path) -> None:
    boxes.write_files(
        here / "photos", {"images/1.png": boxes.make_image(), "labels/1.txt": "0 0.5 0.5 0.1 0.1"}
    )


def cut_coco_file(here: Path) -> None:
    (here / "coco").mkdir()
    (here / "coco" / "instances.json").write_text('{"images": [\n  {"id": 1, "file_name": "1.png"},\n  {"id"')


def cvat_video(here: Path) -> None:
    track = '<track id="0" label="cat"><box frame="0" xtl="1" ytl="1" xbr="2" ybr="2"/></track>'
    boxes.write_files(here / "cvat", {"annotations.xml": f"<annotations>{track}</annotations>"})


def label_studio_in_shares(here: Path) -> None:
    value = {"x": 0.25, "y": 0.25, "width": 0.25, "height": 0.5, "rectanglelabels": ["cat"]}
    tasks = [{"id": 1, "data": {"image": "1.png"}, "annotations": [{"result": [{"value": value}]}]}]
    boxes.write_files(here, {"photos/1.png": boxes.make_image(), "photos/export.json": json.dumps(tasks)})


def csv_with_half_a_box(here: Path) -> None:
    write_images(here / "list", "1.png")
    (here / "list" / "list.csv").write_text("filename,class,xmin,ymin\n1.png,cat,1,2\n")


def values_of(label: int, text: str, seed: int) -> dict[str, bytes | int]:
    """The features of a record of the data contract."""
    return {
        "image/encoded": make_png(seed),
        "image/format": b"png",
        "image/height": 3,
        "image/width": 4,
        "image/filename": f"{text}/{seed}.png".encode(),
        "image/key/sha256": hashlib.sha256(make_png(seed)).hexdigest().encode(),
        "image/class/label": label,
        "image/class/text": text.encode(),
    }


def record(label: int, text: str, seed: int) -> bytes:
    """A record of the data contract."""
    return frame_record(serialize_example(values_of(label, text, seed)))


def shards(here: Path) -> dict[str, bytes]:
    """TFRecords of the data contract, of two classes, in here/shards; their bytes by split."""
    (here / "shards").mkdir()
    made = {
        split: b"".join(record(n % 2, ("cat", "dog")[n % 2], first + n) for n in range(40))
        for split, first in (("train", 0), ("eval", 40), ("test", 80))
    }
    for split, content in made.items():
        (here / "shards" / f"{split}-00000-of-00001").write_bytes(content)
    return made


def label_of_two_names(here: Path) -> None:
    made = shards(here)
    (here / "shards" / "test-00000-of-00001").write_bytes(made["test"] + record(1, "wolf", 200))


def label_out_of_range(here: Path) -> None:
    made = shards(here)
    (here / "shards" / "test-00000-of-00001").write_bytes(made["test"] + record(7, "wolf", 200))


def damaged_shard(here: Path) -> None:
    content = bytearray(shards(here)["train"])
    content[100] ^= 1
    (here / "shards" / "train-00000-of-00001").write_bytes(content)


def missing_shard(here: Path) -> None:
    write_photos(here)
    ended = run("mirante ingest folder photos shards --shards 2", here)
    assert ended.code == 0, ended.stderr
    (here / "shards" / "train-00001-of-00002").unlink()


def replaced_shard(here: Path) -> None:
    write_photos(here)
    ended = run("mirante ingest folder photos shards --shards 1", here)
    assert ended.code == 0, ended.stderr
    shard = here / "shards" / "test-00000-of-00001"
    shard.write_bytes(bytes(shard.stat().st_size))


def others_data(here: Path) -> None:
    write_photos(here)
    (here / "data" / "span-1").mkdir(parents=True)


def others_shards(here: Path) -> None:
    write_photos(here)
    (here / "data").mkdir()
    (here / "data" / "train-00007-of-00009").touch()


def foreign_shard(here: Path) -> None:
    write_photos(here)
    ended = run("mirante ingest folder photos shards --shards 1", here)
    assert ended.code == 0, ended.stderr
    (here / "shards" / "train-00007-of-00009").touch()


def foreign_files(here: Path) -> None:
    write_photos(here)
    (here / "data").mkdir()
    (here / "data" / "thesis.doc").write_text("mine")


def spans(*others: str) -> Callable[[Path], None]:
    """Photos of cats and dogs in two spans, and more folders."""

    def prepare(here: Path) -> None:
        write_photos(here)
        for name in ("span-1", "span-2"):
            shutil.copytree(here / "photos", here / "belt" / name)
        for name in others:
            (here / "belt" / name).mkdir()

    return prepare


def a_span_without_owls(here: Path) -> None:
    spans()(here)
    serve(here / "runs" / "folder" / "serving", "cats", "dogs", "owls")


def a_class_that_has_gone(here: Path) -> None:
    write_photos(here)
    serve(here / "runs" / "folder" / "serving", "cats", "dogs", "owls")


def other_data(here: Path) -> None:
    write_photos(here, classes=("monarchs", "swallowtails"))
    serve(here / "runs" / "folder" / "serving", "cats", "dogs")


def a_detector_that_is_served(here: Path) -> None:
    write_photos(here)
    serve(here / "runs" / "folder" / "serving", "cats", "dogs", task="detection")


def serve(folder: Path, *classes: str, task: str = "classification") -> None:
    """Write the files that say which classes a served model knows, and for which task."""
    extra = folder / "17" / "assets.extra"
    extra.mkdir(parents=True)
    (extra / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
    (extra / "task.txt").write_text(f"{task}\n")
    (folder / "17" / "saved_model.pb").touch()


def no_label_and_no_image(here: Path) -> None:
    made = shards(here)
    unlabelled = {name: value for name, value in values_of(1, "dog", 300).items() if "class" not in name}
    damaged = {**values_of(0, "cat", 301), "image/encoded": make_png(301)[:50]}
    more = b"".join(frame_record(serialize_example(values)) for values in (unlabelled, damaged))
    (here / "shards" / "train-00000-of-00001").write_bytes(made["train"] + more)


def no_hdf5(here: Path) -> None:
    write_photos(here)
    (here / "weights.h5").write_text("<html>404 not found</html>")


def weights(layer: str, filters: int) -> Callable[[Path], None]:
    """Photos, and a weights file with one layer."""

    def prepare(here: Path) -> None:
        write_photos(here)
        write_weights_file(here / "weights.h5", {layer: filters})

    return prepare


def root_is_a_file(here: Path) -> None:
    (here / "here").write_text("a file\n")


def damaged_store(here: Path) -> None:
    (here / "root").mkdir()
    (here / "root" / "metadata.sqlite").write_text("not a database " * 100)


def a_model_and_no_image(here: Path) -> None:
    damaged_model(here)
    text_file(here)
    os.mkfifo(here / "queue")


def damaged_model(here: Path) -> None:
    write_images(here, "photo.png")
    (here / "serving" / "1").mkdir(parents=True)
    (here / "serving" / "1" / "saved_model.pb").write_bytes(b"no model")


# What is there before, by what is wrong. None: nothing.
def no_package(here: Path) -> None:
    pytest.importorskip("kfp_server_api")  # on Python 3.10 there is no kfp
    (here / "pipeline.yaml").write_text("name: digits\n")


def a_package(here: Path) -> None:
    pytest.importorskip("kfp_server_api")
    (here / "pipeline.yaml").write_text(
        "pipelineInfo: {name: digits}\n"
        "root:\n"
        "  dag: {tasks: {ingest: {taskInfo: {name: Ingest}}}}\n"
        "  inputDefinitions: {parameters: {overrides: {parameterType: LIST, defaultValue: []}}}\n"
    )


FAST: dict[str, Callable[[Path], object] | None] = {
    "no such recipe": None,
    "a recipe that is not YAML": broken_recipe,
    "unknown key": None,
    "a network of Keras that does not exist": None,
    "layers that do not fit each other": None,
    "an option of another optimiser": None,
    "a language that no class has a name in": None,
    "an engine of Beam without its address": None,
    "an engine that cannot see the files": None,
    "a value of the wrong kind": None,
    "`--set` without a value": None,
    "unknown metric": None,
    "a metric of another task": None,
    "a repeated key": a_key_twice,
    "a value that is not a number": None,
    "a number out of bounds": None,
    "a password in a recipe": None,
    "a secret in a recipe's variables": None,
    "an unset variable in a path": None,
    "a task without cores": None,
    "a package path that cannot be a file": text_file,
    "shares that do not add up": None,
    "no recipe given": None,
    "unknown source": write_photos,
    "no data given": None,
    "an ingest option for ingested data": shards,
    "no such path": None,
    "data that is neither a folder nor an archive": text_file,
    "photos for a recipe of IDX files": write_photos,
    "IDX files for a recipe of photos": idx_files,
    "empty folder": no_images,
    "data that no source reads": no_images,
    "all inputs rejected": all_rejects,
    "too many inputs rejected": a_cut_image,
    "a weight for a class that the data lack": write_photos,
    "one class only": one_class,
    "no train split": no_train_split,
    "unknown label: a class without train images": unknown_label,
    "a class without test images": no_test_images,
    "a class with fewer images than splits": small_class,
    "unknown label: two names for one number": label_of_two_names,
    "unknown label: a number out of range": label_out_of_range,
    "damaged TFRecords": damaged_shard,
    "a shard is missing": missing_shard,
    "a shard was replaced": replaced_shard,
    "a shard that the manifest does not list": foreign_shard,
    "the root holds other data": others_data,
    "output holds other shards": others_shards,
    "damaged archive": damaged_archive,
    "truncated IDX file": cut_idx_file,
    "a CSV without a column of classes": csv_without_a_class,
    "boxes for a classification recipe": boxes_of_two_classes,
    "ingested boxes for a classification recipe": ingested_boxes,
    "images without annotations": write_photos,
    "a label map that cannot be read": label_map("item {\n  id: 1\n  nam: 'cat'\n}\n"),
    "a class that is not in the label map": label_map("item { id: 1 name: 'cat' }"),
    "too many boxes that cannot be used": boxes_outside,
    "boxes in shares where pixels are expected": boxes_in_shares,
    "boxes with x and y swapped": boxes_swapped,
    "boxes that are all marked as difficult": crowds_alone,
    "YOLO's layout read as class folders": yolo_layout,
    "truncated COCO file": cut_coco_file,
    "tracks of a video from CVAT": cvat_video,
    "Label Studio's boxes in shares": label_studio_in_shares,
    "a CSV with half a box": csv_with_half_a_box,
    "output holds other files": foreign_files,
    "no folder matches the placeholders": write_photos,
    "placeholders that exclude each other": None,
    "a missing span": spans(),
    "a folder that is not a span": spans("span-3.part"),
    "a span without a class of the pushed model": a_span_without_owls,
    "a class of the served model that the data lack": a_class_that_has_gone,
    "other data for a root that serves a model": other_data,
    "a served model of another task": a_detector_that_is_served,
    "a destination that cannot be written": write_photos,
    "a custom network that does not exist": None,
    "a path of a recipe that counts from another folder": recipe_in_a_folder,
    "no such weights file": write_photos,
    "a weights file that is not HDF5": no_hdf5,
    "weights of another network": weights("block5_conv3", 512),
    "weights of another width": weights("block_16_project", 160),
    "images too small for the network": write_photos,
    "a network for another task": None,
    "augmentation that does not move boxes": None,
    "root is a file": root_is_a_file,
    "a damaged metadata store": damaged_store,
    "no model": None,
    "predict: not an image": a_model_and_no_image,
    "predict: a pipe": a_model_and_no_image,
    "predict: drawings where no folder can be": a_model_and_no_image,
    "predict: no such file": a_model_and_no_image,
    "boxes: not a folder of records": lambda here: (here / "pets").mkdir(),
    "predict: a language without names": damaged_model,
    "serve: no versions": None,
    "serve: no model is named": None,
    "serve: a model is named twice": None,
    "serve: nothing to listen on": damaged_model,
    "serve: no such file": None,
    "clean: not a root": damaged_model,
    "rollback: nothing older": damaged_model,
    "rollback: no such version": damaged_model,
    "several labels: sampling by class": None,
    "several labels: an augmentation for boxes": None,
    "several labels: slices by class": None,
    "several labels: a name for no class alone": csv_without_a_class,
    "several labels: a source with one class for each image": lambda here: (here / "batches").mkdir(),
    "submit: not a package": no_package,
    "submit: an unknown parameter": a_package,
    "submit: no server answers": a_package,
    "submit: no project": None,
    "submit: no such project": None,
    "submit: no job": None,
}
