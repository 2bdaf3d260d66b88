"""What commands print fits 80 columns: all but paths and commands to paste, which stay whole."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from components.infra_validator.protocol import TaskAnswers
from components.prediction.answers import as_lines
from pipeline.commands.main import COMMANDS, main
from pipeline.recipe.load import load_recipe
from pipeline.run.console import ConsoleHandler, make_console, print_row
from pipeline.run.nodes import prepare_data
from tests.failures import MIRANTE
from tests.history.test_history import write_run
from tests.make.commands import find_long_lines
from tests.make.folders import write_photos

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


def invoke(*arguments: str) -> str:
    """Return what a command prints, its warnings too."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False).output


def write_odd_photos(folder: Path) -> Path:
    """Write class folders about which there is much to say."""
    photos = write_photos(folder, classes=("a very long name of a class of owls", "cats", "dogs"))
    (photos / "cats" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    (photos / "dogs" / "copy of 1.png").write_bytes((photos / "cats" / "1.png").read_bytes())
    (photos / "notes on these photos.txt").write_text("none")
    (photos / "empty").mkdir()
    return photos


def test_the_rule() -> None:
    path = "/home/me/" + "folder/" * 20
    assert (
        find_long_lines(f"rejected files and why: {path}\nAsk the model:  mirante predict {'a ' * 99}") == []
    )
    assert find_long_lines(f"{'word ' * 17}{path}") == [f"{'word ' * 17}{path}"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str) -> None:
    assert find_long_lines(invoke(name, "--help")) == []


def test_commands_about_data_and_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mirante"])
    photos = write_odd_photos(tmp_path)
    lenient = "--max-reject-share=0.1"
    for arguments in (
        ("ingest", "folder", str(photos), str(tmp_path / "data"), lenient),
        ("ingest", "folder", str(photos), str(tmp_path / "data"), lenient),
        ("inspect", str(photos)),
        ("inspect", str(tmp_path / "data")),
        ("recipes",),
        ("doctor",),
        ("doctor", "cats_vs_dogs"),
    ):
        said = invoke(*arguments)
        assert said
        assert find_long_lines(said) == []


def test_commands_about_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("runs/pets")
    write_run(root, "20261128T031151.131", ["a"])
    write_run(
        tmp_path / "runs/pets", "20261129T031151.131", [f"an image {n}.jpg" for n in range(9)], epochs=9
    )
    for arguments in (("runs",), ("compare", "20261128", "20261129", "--root")):
        said = invoke(*arguments, str(root))
        assert "20261129T031151.131" in said
        assert find_long_lines(said) == []


def test_rows_of_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photos, said = write_odd_photos(tmp_path), io.StringIO()
    console = Console(file=said, width=10_000, soft_wrap=True)
    recipe = load_recipe("folder", ["data.max_reject_share=0.1", "model.weights=null"], str(photos))
    prepare_data(recipe, tmp_path / "root", console)
    print_row(console, "will run", " > ".join(["ImportExampleGen"] * 12))
    record = logging.makeLogRecord(
        {"msg": "training epoch 1/1: " + "loss 0.5335, " * 12, "levelname": "INFO"}
    )
    ConsoleHandler(console).emit(record)
    lines = said.getvalue().splitlines()
    assert find_long_lines(said.getvalue()) == []
    assert "  will run    ImportExampleGen > ImportExampleGen > ImportExampleGen >" in lines
    assert lines[-3].startswith("    training epoch 1/1: loss")
    assert all(line.startswith(("      0.5335", "      loss")) for line in lines[-2:])
    # A log of pods has a record in a line.
    capfd.readouterr()
    log = make_console(to_stderr=False, whole_lines=True)
    ConsoleHandler(log).emit(record)
    print_row(log, "warning", "word " * 40)
    assert len(capfd.readouterr().out.splitlines()) == 2


def test_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """The same lines as in a pipe."""
    photos = write_odd_photos(tmp_path)
    main_end, end = pty.openpty()
    process = subprocess.Popen(
        [MIRANTE, "ingest", "folder", photos.name, "data", "--max-reject-share=0.1", "--workers=1"],
        cwd=tmp_path, stdout=end, stderr=end, env=os.environ | {"COLUMNS": "80", "TERM": "dumb"},
    )  # fmt: skip
    os.close(end)
    shown = b""
    with os.fdopen(main_end, "rb", buffering=0) as terminal:
        while True:
            try:
                shown += terminal.read(4096)
            except OSError:  # the other end is closed
                break
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")
    assert "has\n         the list" in text
    assert find_long_lines(text) == []


def test_answers() -> None:
    """The lines below an answer; the answer itself is one line."""
    task = SimpleNamespace(summarize=lambda predictions, min_score: ["cat 0.9"])
    answer = {"image": "1.png", "predictions": [], "converted": "word " * 20, "warning": "word " * 40}
    lines = as_lines(answer, cast(TaskAnswers, task), None)
    assert lines.startswith(
        "1.png: cat 0.9\n  asked with a PNG of it, since the model refuses the file: word"
    )
    assert find_long_lines(lines) == []
