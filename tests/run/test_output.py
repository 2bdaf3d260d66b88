"""Standard output that is closed, full, or a pipe that nobody reads: what is done stays done."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from rich.table import Table

from components.base.errors import UsageError
from pipeline.run.console import Redacted, make_console
from pipeline.run.output import check_can_write, end_output, hold_standard_streams, quote
from tests.failures import MIRANTE
from tests.make.commands import mirante
from tests.make.folders import write_images, write_photos

pytestmark = pytest.mark.stack_free

FULL = "standard output cannot be written: No space left on device"
CLOSED = "standard output cannot be written: it is closed"


def shell(command: str, here: Path) -> tuple[int, list[str]]:
    """The exit code of a command in a shell, and the lines of its standard error."""
    script = f"{shlex.quote(str(MIRANTE))} {command}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], cwd=here, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("command", ["recipes", "--help"])
@pytest.mark.parametrize(("to", "said"), [("> /dev/full", FULL), (">&-", CLOSED)])
def test_one_line_is_said_of_what_is_lost(command: str, to: str, said: str, tmp_path: Path) -> None:
    code, lines = shell(f"{command} {to}", tmp_path)
    assert code == 1
    assert lines == [f"mirante: {said}; what was done is kept, what it would say is lost"]


def test_a_reader_that_has_gone_is_passed_over_in_silence(tmp_path: Path) -> None:
    # The pipe is closed before anything is written to it.
    code, lines = shell("recipes | (exec <&-; sleep 0.1)", tmp_path)
    assert (code, lines) == (1, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "to",
    [
        "> /dev/full",
        ">&-",
        "--json > /dev/full",
        "--json >&-",
    ],
)
def test_an_ingest_is_done_all_the_same(to: str, tmp_path: Path) -> None:
    write_photos(tmp_path)
    code, lines = shell(f"ingest folder photos data --workers 1 {to}", tmp_path)
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == ["mirante"]
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert sum(summary["images"] for summary in manifest["splits"].values()) == 60
    again = mirante("ingest", "folder", "photos", "data", "--json", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")


def test_wrong_usage_keeps_its_exit_code(tmp_path: Path) -> None:
    code, _ = shell("run digts 2> /dev/full", tmp_path)
    assert code == 2


def test_a_stream_that_cannot_be_written_holds_nothing_up() -> None:
    with open("/dev/full", "w") as full:
        stream = Redacted(full)
        assert stream.write("text\n") == 5
        stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert end_output(0) == 1
    hold_standard_streams()  # as the next command of this process does
    assert end_output(0) == 0


def test_a_path_stays_whole_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2))
    path = "/home/me/" + 30 * "folder/" + "1795358001"
    table.add_row("pushed model", path)
    table.add_row("blessed", "yes")
    make_console(to_stderr=False).print(table)
    assert [line.rstrip() for line in capfd.readouterr().out.splitlines()] == [
        f"  pushed model    {path}",
        "  blessed         yes",
    ]


def test_where_no_file_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path, "image.png")
    with pytest.raises(
        UsageError, match=r"^-o image\.png/x\.yaml: cannot be written: image\.png is no folder"
    ):
        check_can_write(Path("image.png/x.yaml"), "-o")
    with pytest.raises(UsageError, match=r"^-o .*: cannot be written: it is a folder; give the name"):
        check_can_write(tmp_path, "-o")
    check_can_write(Path("new/folder/x.yaml"), "-o")
    assert not (tmp_path / "new").exists()


def test_commands_can_be_pasted() -> None:
    words = ("mirante", "predict", "runs/Meine Pets/serving", "it's.png")
    assert shlex.split(quote(*words)) == list(words)
