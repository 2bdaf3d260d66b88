"""`mirante doctor`, and what a shell completes."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from pipeline.commands.main import main
from pipeline.run.machine import OK, OPTIONAL, PROBLEM, WARNING, Finding, look_at_machine, look_at_recipe

pytestmark = pytest.mark.stack_free


def look(folder: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in look_at_machine(folder)}


def test_this_machine_has_what_it_needs(tmp_path: Path) -> None:
    found = look(tmp_path / "runs" / "to be made")
    for what in ("mirante", "packages", "processor", "disk", "kubeflow", "wandb"):
        assert found[what].state == OK, found[what]
    assert f"tfx {importlib.metadata.version('tfx')}, " in found["packages"].text
    assert found["disk"].text.endswith(f"free in {tmp_path}")
    assert "dev" not in found


def test_packages_that_are_missing_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "numpy>=1",
        "click>=999",
        "no-such-package",
        "not-for-this-python; python_version < '3'",
        "pillow>=11; extra == 'photos'",
        "pillow>=999; extra == 'heic'",
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requirements)
    found = look(tmp_path)
    assert found["packages"].state == PROBLEM
    assert found["packages"].text.startswith("click>=999, no-such-package are missing or of another version;")
    assert found["heic"] == Finding("heic", OPTIONAL, "not installed: pip install 'pillow>=999'")
    assert found["dicom"].state == OK  # it asks for nothing here


@pytest.mark.parametrize(
    ("script", "state", "text"),
    [
        (None, OPTIONAL, "none found (no nvidia-smi); training uses the processor"),
        ("echo 'NVIDIA H200, 143771 MiB'", WARNING, "NVIDIA H200, 143771 MiB, but without CUDA's packages"),
        ("echo 'driver mismatch'; exit 9", WARNING, "nvidia-smi fails: driver mismatch; check the driver"),
    ],
)
def test_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, state: str, text: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    found = look(tmp_path)["gpu"]
    assert (found.state, found.text[: len(text)]) == (state, text)


def test_a_recipe_that_lacks_something(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "name: mine\ntransform: {normalization: imagenet_caffe}\nmodel: {name: vgg16, weights: gone.h5}\n"
        "evaluation: {thresholds: {accuracy: 0.5}}\n"
    )
    done = CliRunner().invoke(main, ["doctor", str(recipe), "--root", str(tmp_path), "--json"])
    last = json.loads(done.stdout)[-1]
    assert (done.exit_code, last["what"], last["state"]) == (1, "recipe", PROBLEM)
    assert "gone.h5" in last["text"]
    shown = CliRunner().invoke(main, ["doctor", "digits", "--root", str(tmp_path)])
    assert (shown.exit_code, shown.stdout.splitlines()[-1].split()) == (
        0, ["recipe", "ok", "digits:", "this", "machine", "has", "what", "it", "needs"],
    )  # fmt: skip
    assert all(len(line) <= 80 for line in shown.stdout.splitlines() if str(tmp_path) not in line)


def test_a_recipe_whose_data_or_weights_are_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "name: mine\ndata: {source: folder%s}\nmodel: {name: %s}\n"
        "transform: {height_px: 96, width_px: 96, channels: 3, normalization: minus_one_one}\n"
        "evaluation: {thresholds: {accuracy: 0.5}}\n"
    )
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text % (", path: gone", "cifar_resnet"))
    assert look_at_recipe(str(recipe)).text == f"INPUT {tmp_path}/gone does not exist: check the path"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for scheme in ("http", "https"):  # nothing listens there
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    recipe.write_text(text % ("", "mobilenet_v2, weights: imagenet"))
    found = look_at_recipe(str(recipe))
    assert found.state == PROBLEM
    assert "the weights of mobilenet_v2 are not on this machine and cannot be downloaded" in found.text


def test_a_shell_completes_commands_options_and_recipes() -> None:
    shell = BashComplete(main, {}, "mirante", "_MIRANTE_COMPLETE")

    def complete(words: list[str], begun: str) -> list[str]:
        return [item.value for item in shell.get_completions(words, begun) if item.type == "plain"]

    assert complete([], "co") == ["compare", "compile"]
    assert complete(["run"], "dig") == ["digits", "digits_multilabel"]
    assert complete(["doctor"], "cats") == ["cats_vs_dogs"]
    assert "--no-cache" in complete(["run", "digits"], "--")
