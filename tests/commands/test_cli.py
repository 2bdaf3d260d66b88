"""The command: what it answers to right and wrong usage, and how fast."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.commands.main import COMMANDS, main
from pipeline.recipe.load import recipe_names

HEAVY = ("tensorflow", "tfx", "apache_beam", "numpy", "PIL", "pydantic", "yaml", "rich")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from pipeline.commands.main import main\n"
        "try: main(['--help'])\n"
        f"finally: print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.strip().splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example_and_stands_in_the_readme(command: str) -> None:
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert "Example:" in shown.output
    assert f"mirante {command}" in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_recipes_lists_each_with_its_first_line() -> None:
    shown = invoke("recipes")
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.output.splitlines() if line[0] != " "] == recipe_names()
    assert any("scikit-learn" in line for line in shown.output.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "mnits"), "did you mean 'mnist'?"),
        (("run", "digits", "--root", ""), "expected a path, got an empty text"),
        (
            ("run", "mnist", "--data", "ftp://a/b"),
            "ftp://a/b: expected a folder, gs://BUCKET/FOLDER or s3://BUCKET/FOLDER",
        ),
        (
            ("lr-find", "digits", "--low", "1", "--high", "0.1"),
            "--low: expected less than --high (0.1), got 1",
        ),
        (("run", "digits", "--gpu", "2", "--no-gpu"), "--no-gpu: expected no --gpu next to it, got --gpu 2"),
        (("ingest", "folder", "", "out"), "expected a path, got an empty text"),
        (("inspect", "l.csv", "--images", ""), "expected a path, got an empty text"),
        (("ingest", "folder", "https://a.org/b.zip", "out"), "https://a.org/b.zip: expected a folder, gs://"),
        (("run", "digits", "--set", "training.epoch=3"), "did you mean 'epochs'?"),
        (
            ("run", "digits", "--set", "training.epochs=many"),
            "training.epochs: expected a whole number",
        ),
        (("run", "digits", "--set", "training.epochs"), "expected key.sub=value"),
        (("run", "digits", "--set", "model.name=alexnet"), "model.name: there is no 'alexnet'"),
        (
            ("run", "mnist"),
            "The source idx needs an INPUT: a folder, a .zip or a .tar(.gz); "
            "`mirante run` takes it by --data, a Kubeflow run by data_root",
        ),
        (("run", "mnist", "--data", "/nowhere/at/all"), "INPUT /nowhere/at/all does not exist"),
        (("predict", "/nowhere/at/all", "image.png"), "/nowhere/at/all: no model there"),
        (("ingest", "folder", "/nowhere/at/all", "OUT"), "/nowhere/at/all"),
        (("ingest", "fodler", ".", "OUT"), "folder"),
        (("ingest", "folder", ".", "OUT", "--splits", "train"), "expected name=value"),
        (("ingest", "folder", ".", "OUT", "--splits", "train=nan,test=0.5"), "expected name=value"),
        (("ingest", "folder", ".", "OUT", "--splits", "train=0.5,train=0.5"), "expected name=value"),
        (("ingest", "folder", ".", "OUT", "--max-reject-share", "nan"), "nan is no number from 0 to 1"),
        (("ingest", "folder", ".", "OUT", "--max-reject-share", "inf"), "not in the range 0<=x<=1"),
        (("ingest", "folder", ".", "OUT", "--shards", "9" * 30), "not in the range 1<=x<=99999"),
        (("ingest", "folder", ".", "OUT", "--resize", "100000"), "not in the range 1<=x<=65535"),
        (("predict", "MODEL", "x.png", "--min-score", "nan"), "nan is no number from 0 to 1"),
        (("run", "digits", "--gpu", "9" * 30), "not in the range 1<=x<=1024"),
        (("frobnicate",), "No such command"),
        (("run",), "Missing argument"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_do(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = invoke(*arguments)
    assert shown.exit_code == 2, shown.output
    assert said in re.sub(r"\s+", " ", shown.output)


def test_without_gpus_tensorflow_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    # It ends where the recipe is read.
    assert invoke("run", "no_such_recipe", "--no-gpu").exit_code == 2
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_refused_data_exits_3_with_json_and_a_list_of_what_was_refused(tmp_path: Path) -> None:
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    (tmp_path / "raw" / "cat" / "one.jpg").write_text("no image")
    shown = invoke("ingest", "folder", str(tmp_path / "raw"), str(tmp_path / "out"), "--json")
    assert shown.exit_code == 3, shown.output
    result = json.loads(shown.stdout.splitlines()[-1])
    assert "rejects.csv" in result["error"]
    assert "cat/one.jpg" in (tmp_path / "out" / "rejects.csv").read_text()
    assert not list((tmp_path / "out").glob("train-*"))


def test_ingest_reports_json(tmp_path: Path) -> None:
    shown = invoke("ingest", "digits", "-", str(tmp_path / "out"), "--shards", "2", "--json")
    assert shown.exit_code == 0, shown.output
    result = json.loads(shown.stdout.splitlines()[-1])
    assert sum(split["images"] for split in result["splits"].values()) == 1797
    assert result["splits"]["train"]["shards"] == 2
    assert result["splits"]["train"]["classes"] == 10
    assert result["rejected"] == 0
    assert Path(result["rejects_file"]).is_absolute()


def test_weights_without_their_normalization_are_refused() -> None:
    shown = invoke("run", "cats_vs_dogs", "--data", ".", "--set", "transform.normalization=zero_one")
    assert shown.exit_code == 2
    assert "expect minus_one_one, got zero_one" in shown.output


def test_an_interrupt_that_is_lost_in_a_destructor_comes_again() -> None:
    script = """
import os, signal, time
from components.base import interrupts

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

interrupts._AGAIN_SECS = 0.2
with interrupts.interruptible():
    dying = Dying()
    del dying  # "Exception ignored in"
    print("went on", flush=True)
    time.sleep(30)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout == "went on\n"
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
