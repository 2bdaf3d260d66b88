"""The table of all benchmarks: every benchmark has a row, and one that failed says so."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.bench import Part, format_page, run_part, write_into
from benchmarks.memory import fit_exponent
from benchmarks.table import ROWS_VARIABLE, Row, describe_row, format_table, note_row, read_rows

pytestmark = pytest.mark.stack_free


def cells(row: Row, part: str = "ingest") -> list[str]:
    """Return the last line of the table of a row."""
    return [cell.strip() for cell in format_table({part: [row]}).splitlines()[-1].strip("|").split("|")]


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            Row("whole run", "s", [3.0, 1.0, 2.0], "plain TFX", [4.0], 0.5),
            ["ingest: whole run", "2 s (1 to 3)", "plain TFX: 4 s", "0.50", "at most 0.5", "yes"],
        ),
        (
            Row("copy", "images/s", [1878.0], "bare loop", [2200.0, 2400.0], 0.85, is_least=True),
            [
                "ingest: copy",
                "1,878 images/s",
                "bare loop: 2,300 images/s (2,200 to 2,400)",
                "0.82",
                "at least 0.85",
                "**missed**",
            ],
        ),
        (Row("copy", "s", [1.0], "tf.io", [2.0]), ["ingest: copy", "1 s", "tf.io: 2 s", "0.50", "", ""]),
        (
            Row("growth", "exponent", [1.0512], limit=1.05),
            ["ingest: growth", "1.05 exponent", "", "", "at most 1.05", "**missed**"],
        ),
        (
            Row("copy", "s", peer="grain", limit=1, failed="No module named 'grain'"),
            ["ingest: copy", "No module named 'grain'", "grain", "", "at most 1", "**failed**"],
        ),
        (Row("copy", "s"), ["ingest: copy", "nothing was measured", "", "", "", "**failed**"]),
        (Row("copy", "s", [1.0], "tf.io", []), ["ingest: copy", "nothing was measured", "tf.io"]),
        (Row("copy", "s", [math.nan]), ["ingest: copy", "a value is not finite"]),
        (Row("copy", "s", [1.0], "tf.io", [0.0]), ["ingest: copy", "the peer took no time"]),
    ],
)
def test_a_row_says_what_was_measured_and_whether_the_goal_is_reached(row: Row, shown: list[str]) -> None:
    assert cells(row)[: len(shown)] == shown
    assert cells(row)[-1] == (shown[-1] if len(shown) == 6 else "**failed**")
    assert json.loads(json.dumps(describe_row(row), allow_nan=False))["reached"] == cells(row)[-1].strip("*")


def test_a_benchmark_without_rows_is_shown_as_failed() -> None:
    table = format_table({"ingest": [], "növ|e": [Row("a", "s", [1.0])]}).splitlines()
    assert table[2:] == [
        "| ingest | nothing was measured |  |  |  | **failed** |",
        "| növ\\|e: a | 1 s |  |  |  |  |",
    ]


def write_program(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Part:
    """Make a program of benchmarks that does nothing else."""
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").touch()
    (folder / "benchmarks" / "made.py").write_text(code)
    monkeypatch.setattr(bench, "REPOSITORY", folder)
    return Part("made", ("--all",), ("--few",))


NOTES = f'import os; open(os.environ[{ROWS_VARIABLE!r}], \'a\').write(\'{{"what": "a", "ours": [1.0]}}\\n\');'


@pytest.mark.parametrize(
    ("code", "problems"),
    [
        (f"{NOTES} import sys; sys.exit(1)", [""]),  # a goal is missed
        (f"{NOTES} raise SystemExit(2)", ["", "exit code 2: -m benchmarks.made --few"]),
        (f"{NOTES} import time; time.sleep(60)", ["", "no end after 1 s: -m benchmarks.made --few"]),
        ("print('done')", ["no rows, exit code 0: -m benchmarks.made --few"]),
    ],
)
def test_a_program_that_fails_has_a_row(
    code: str, problems: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that sleeps needs no more; the others start Python on a machine that may be busy.
    limit_secs = 1 if "sleep" in code else 60
    rows = run_part(write_program(tmp_path, monkeypatch, code), True, tmp_path / "log", limit_secs)
    assert [row.problem for row in rows] == problems


def test_parts_are_kept_and_go_into_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = write_program(tmp_path, monkeypatch, NOTES)
    monkeypatch.setattr(bench, "PARTS", {"one": program, "two": program, "long": Part("made", quick=None)})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{bench._MARKS[0]}\nold\n{bench._MARKS[1]}\nafter\n")
    assert bench.main(["two", "--out", str(tmp_path / "out")]) == 0
    (tmp_path / "benchmarks" / "made.py").write_text("raise SystemExit(3)")
    assert bench.main(["one", "--quick", "--out", str(tmp_path / "out"), "--into", str(page)]) == 1
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {part: each["quick"] for part, each in found["parts"].items()} == {"one": True, "two": False}
    text = page.read_text()
    assert text.startswith("before\n<!-- The table")
    assert text.endswith(" -->\nafter\n")
    assert "old" not in text
    assert "| one | exit code 3: -m benchmarks.made --few |" in text
    assert "| two: a | 1 |" in text
    assert format_page(found) in text
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="expected the lines"):
        write_into(page, text)


def test_rows_are_noted_for_the_runner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("à", "s", [1.0, 2.0], "peer", [3.0], 0.5)
    note_row(row)
    monkeypatch.setenv(ROWS_VARIABLE, str(tmp_path / "rows"))
    assert read_rows(tmp_path / "rows") == []
    note_row(row)
    assert [each.what for each in read_rows(tmp_path / "rows")] == ["à"]
    assert read_rows(tmp_path / "rows")[0].value == row.value == 0.5


@pytest.mark.parametrize(
    ("counts", "costs", "exponent"),
    [([10, 100], [2.0, 20.0], 1.0), ([10, 100, 1000], [1.0, 100.0, 10_000.0], 2.0), ([10, 100], [3, 3], 0.0)],
)
def test_the_exponent_of_growth(counts: list[int], costs: list[float], exponent: float) -> None:
    assert fit_exponent(counts, costs) == pytest.approx(exponent)


@pytest.mark.parametrize(("counts", "costs"), [([10], [1.0]), ([10, 100], [0.0, 1.0]), ([], [])])
def test_nothing_grows_without_two_costs(counts: list[int], costs: list[float]) -> None:
    assert math.isnan(fit_exponent(counts, costs))
