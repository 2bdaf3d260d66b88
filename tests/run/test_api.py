"""The functions for Python and notebooks; tests/run/test_digits.py runs the example of the documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import UsageError
from pipeline.api import load_run, read_result

pytestmark = pytest.mark.stack_free


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, pipeline.api; "
        "print({'tensorflow', 'tfx', 'apache_beam', 'keras', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_run_is_checked_before_it_starts(tmp_path: Path) -> None:
    recipe, root = load_run("digits", ["training.epochs=3"], root=tmp_path / "root")
    assert (recipe.training.epochs, root) == (3, tmp_path / "root")
    assert not root.exists()
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        load_run("digitz")


def test_the_result_of_the_newest_run_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a run with a result\.json, got none"):
        read_result(tmp_path)
    for run_id, accuracy in (("20261130T090000.000", 0.5), ("20261130T100000.000", 0.75)):
        folder = tmp_path / "runs" / run_id
        folder.mkdir(parents=True)
        result = {
            "pipeline": "digits",
            "run_id": run_id,
            "root": "r",
            "metrics": {"accuracy": accuracy},
            "new": 1,
        }
        (folder / "result.json").write_text(json.dumps(result))
    assert read_result(tmp_path).metrics["accuracy"] == 0.75
    assert read_result(tmp_path, "20261130T090000.000").metrics["accuracy"] == 0.5
