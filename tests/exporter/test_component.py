"""The Exporter: writes a blessed model in the formats of the recipe, or ends the run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tfx.types.experimental import simple_artifacts

from components.base.errors import NotBlessedError, UsageError
from components.base.outcome import Output, RunResult, Serving
from components.exporter import formats, outcome
from components.exporter.component import Exporter
from components.exporter.config import ExportConfig
from components.exporter.facts import read_exports
from components.exporter.formats import FORMATS, Format
from pipeline.pages import make_page
from tests.make.graphs import Exported, Tiny, blessed_inputs

pytest_plugins = ["tests.fixtures"]


@pytest.fixture
def inputs(export: Callable[[int], Exported], make_tiny: Callable[[int], Tiny], tmp_path: Path) -> Any:
    """The artifacts that the node reads, both blessings given."""
    return blessed_inputs(make_tiny(3), export(3), tmp_path)


def run(inputs: Any, folder: Path, max_drop: float = 1.0) -> Output:
    """Execute the node; return its artifact."""
    exports = simple_artifacts.File()
    exports.uri = str(folder)
    folder.mkdir()
    settings = ExportConfig(formats=("known",), max_drop=max_drop).model_dump_json()
    Exporter.EXECUTOR_SPEC.executor_class().Do(inputs, {"exports": [exports]}, {"settings": settings})
    properties = {key: value.int_value for key, value in exports.mlmd_artifact.custom_properties.items()}
    return Output(exports.uri, properties)


def test_a_blessed_model_is_exported_and_a_run_ends_with_too_great_a_loss(
    inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format whose answers are known: converters take seconds."""

    def load(folder: Path) -> Any:
        # The labels are 0, 1, 2, 0, ...
        return lambda pixels: {"probabilities": np.eye(3, dtype=np.float32)[(np.arange(len(pixels)) + 1) % 3]}

    known = SimpleNamespace(
        convert=lambda model, calibration, folder: (folder / "m").write_text("ß"), load=load
    )
    monkeypatch.setitem(FORMATS, "known", Format("known", "m", "answers that are known"))
    monkeypatch.setitem(sys.modules, "components.exporter.formats.known", known)
    done = run(inputs, tmp_path / "exports")
    (facts,) = read_exports(done.uri)
    assert (facts["value"], facts["test_images"]) == (0.0, 12)
    result = RunResult("digits", "1", str(tmp_path))
    found = outcome.read_outcome({"exports": done}, result, Serving("", ()))
    assert found.note == f"exported as known: {done.uri}"
    assert result.exports == [{"folder": f"{done.uri}/known", **facts}]
    page = make_page("Exporter", {"exports": done}, "classification", ("a", "b", "c"))
    assert "could not be made" not in page.html
    for shown in ("0.0000", f"{facts['original_value']:.4f}", "accuracy on 12 test images"):
        assert shown in page.html
    shutil.rmtree(done.uri)
    page = make_page("Exporter", {"exports": done}, "classification", ("a", "b", "c"))
    assert "The exports were removed since" in page.html
    assert "not blessed" not in page.html
    with pytest.raises(
        NotBlessedError, match=r"export\.max_drop: expected at most 0, got .* known has accuracy"
    ):
        run(inputs, tmp_path / "refused", max_drop=0.0)
    assert list((tmp_path / "refused").iterdir()) == []
    inputs["model_blessing"][0].set_int_custom_property("blessed", 0)
    left = run(inputs, tmp_path / "left out")
    assert read_exports(left.uri) == []
    result = RunResult("digits", "1", str(tmp_path))
    assert outcome.read_outcome({"exports": left}, result, Serving("", ())).note == ""
    assert result.exports is None
    shutil.rmtree(left.uri)  # a bucket has no empty folder
    assert (
        "not blessed, so it was not exported"
        in make_page("Exporter", {"exports": left}, "classification", ("a",)).html
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["onx"], "expected some of tflite, .*got 'onx'; did you mean 'onnx'"),
        ([], "at least 1 item"),
        (["onnx", "onnx"], "expected each format once, got onnx, onnx"),
    ],
)
def test_formats_are_known_and_given_once(names: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ExportConfig(formats=names)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "known", Format("known", "m", "", ("no_such_package",)))
    with pytest.raises(
        UsageError, match="known: expected the package no_such_package, which is not installed"
    ):
        formats.check_formats(["known"])
