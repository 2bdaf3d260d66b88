"""The example in the help of every command: it is parsed from there and runs, on made data."""

from __future__ import annotations

import importlib
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands.main import COMMANDS
from tests.kfp_check import check_packages
from tests.make.boxes import ingest_boxes, make_image, make_xml, write_files
from tests.make.commands import mirante, unwrap
from tests.make.detections import make_detections, save_detector
from tests.make.folders import write_images, write_photos
from tests.make.runs import make_run

# Commands whose example needs what a test does not have, and what they say then, as exit code and text: the
# example is right up to there.
ENDS = {
    "export": (2, "no model there"),
    "lr-find": (2, "no IDX files in it"),
    "run": (2, "no IDX files in it"),
    "serve": (2, "no versions there"),
    "submit": (2, "pipeline.yaml: no Kubeflow Pipelines package"),
    "worker": (2, "TF_CONFIG"),
}


def read_examples(command: str) -> list[list[str]]:
    """Return the words of each example of a command, without variables before it and without `mirante`."""
    name = command.replace("-", "_")
    epilog = getattr(importlib.import_module(f"pipeline.commands.{name}"), name).epilog
    lines = epilog.partition("Example:")[2].splitlines()
    examples = [shlex.split(line) for line in lines if line.strip()]
    return [words[words.index("mirante") + 1 :] for words in examples]


def write_run(here: Path) -> None:
    labels, answers = [0, 1], [[0.9, 0.1], [0.2, 0.8]]
    make_run(here / "runs" / "digits", ("cats", "dogs"), labels, answers, pushed_model="serving/1")


def write_store(here: Path) -> None:
    from ml_metadata.metadata_store import MetadataStore

    from pipeline.storage.metadata_store import sqlite_store

    write_run(here)
    MetadataStore(sqlite_store(here / "runs" / "digits"))


def write_boxes(here: Path) -> None:
    files: dict[str, bytes | str] = {"voc/a.png": make_image(), "voc/a.xml": make_xml((1, 2, 3, 4, "dog"))}
    ingest_boxes("voc", write_files(here, files) / "voc", here / "data")


def write_versions(here: Path) -> None:
    for version in ("1", "2"):
        folder = here / "runs" / "digits" / "serving" / version
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(version.encode())


def write_model(here: Path) -> None:
    write_images(here, "photo.jpg", "photos/a.png")
    found = [((0.0, 0.0, 1.0, 1.0), 1, 0.9)]
    save_detector(
        str(here / "runs/digits/serving/1"), [make_detections(found=found, name="00000.jpg")], ("cat", "dog")
    )


def write_package(here: Path) -> None:
    pytest.importorskip("kfp_server_api")  # on Python 3.10 there is no kfp
    (here / "pipeline.yaml").write_text("name: digits\n")


MADE: dict[str, Callable[[Path], object]] = {
    "boxes": write_boxes,
    "clean": write_store,
    "compare": write_run,
    "ingest": write_photos,
    "inspect": write_photos,
    "predict": write_model,
    "report": write_run,
    "rollback": write_versions,
    "lr-find": lambda here: (here / "mnist").mkdir(),
    "run": lambda here: (here / "mnist").mkdir(),
    "runs": write_run,
    "submit": write_package,
}
# These load TensorFlow, or TFX.
SLOW = ("compile", "export", "predict", "report", "worker")


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in COMMANDS]
)
def test_the_example_of_the_help_runs(command: str, tmp_path: Path) -> None:
    MADE.get(command, lambda here: None)(tmp_path)
    # No browser is opened.
    browser = tmp_path / "bin" / "xdg-open"
    browser.parent.mkdir()
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    environment = {**os.environ, "PATH": f"{browser.parent}:{os.environ['PATH']}", "BROWSER": str(browser)}
    examples = read_examples(command)
    assert examples
    for words in examples:
        assert words[0] == command
        done = mirante(*words, cwd=tmp_path, env=environment)
        code, said = ENDS.get(command, (0, ""))
        told = unwrap(done.stdout + done.stderr)
        # This machine may lack what a recipe needs.
        assert done.returncode in ({0, 1} if command == "doctor" else {code}), told
        assert said in told
        assert "Usage:" not in told
        if command == "compile":
            check_packages(tmp_path / words[words.index("-o") + 1])
