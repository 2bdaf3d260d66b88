"""What is shown while something takes its time: on a terminal alone, with the time that is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.run.console import progress_bar, show_working
from pipeline.run.nodes import read_usual_secs

pytestmark = pytest.mark.stack_free


def terminal(path: Path, is_terminal: bool = True) -> Console:
    return Console(file=path.open("w"), force_terminal=is_terminal, width=100)


@pytest.mark.parametrize(
    ("usual_secs", "said"), [(None, "0:00:00"), (90.4, "about 90 s left"), (0.0, "took 0 s before")]
)
def test_a_terminal_shows_what_is_under_way(tmp_path: Path, usual_secs: float | None, said: str) -> None:
    with show_working(terminal(tmp_path / "out"), "Trainer running", usual_secs):
        pass
    shown = (tmp_path / "out").read_text()
    assert "Trainer running" in shown
    assert said in shown


def test_elsewhere_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with show_working(terminal(tmp_path / "out", False), "Trainer running", 3.0):
        print("kept")
    with progress_bar(terminal(tmp_path / "bar", False)) as progress:
        progress("predict", 1, 2)
        print("kept too")
    assert (tmp_path / "out").read_text().strip() == (tmp_path / "bar").read_text().strip() == ""
    assert capsys.readouterr().out == "kept\nkept too\n"


def test_answers_stay_on_standard_output_below_a_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar(terminal(tmp_path / "bar")) as progress:
        progress("predict", 1, 2)
        print("an answer")
    assert capsys.readouterr().out == "an answer\n"
    assert "1/2" in (tmp_path / "bar").read_text()


def test_the_usual_time_is_that_of_the_last_execution(tmp_path: Path) -> None:
    def write(run_id: str, **components: tuple[str, float]) -> None:
        folder = tmp_path / "runs" / run_id
        folder.mkdir(parents=True)
        outcomes: dict[str, Any] = {
            node: {"status": status, "seconds": seconds} for node, (status, seconds) in components.items()
        }
        (folder / "result.json").write_text(json.dumps({"components": outcomes}))

    assert read_usual_secs(tmp_path) == {}
    write("20260101T000000.000", Trainer=("completed", 30.0), Evaluator=("completed", 5.0))
    write("20260102T000000.000", Trainer=("completed", 20.0), Evaluator=("failed", 1.0))
    write("20260103T000000.000", Trainer=("cached", 0.1))
    (tmp_path / "runs" / "20260104T000000.000").mkdir()
    (tmp_path / "runs" / "20260104T000000.000" / "result.json").write_text("[")
    assert read_usual_secs(tmp_path) == {"Trainer": 20.0, "Evaluator": 5.0}
