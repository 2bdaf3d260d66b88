"""CSV tables that a spreadsheet opens as they are meant."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from components.base.table import format_table, read_table, write_table

pytestmark = pytest.mark.stack_free


def test_what_a_spreadsheet_would_run_is_text() -> None:
    names = ["=cmd|' /C calc'!A0.png", "+1-1.png", "-2.5", "@sum.png", "-x", "a=b", "3e5", ""]
    rows = list(csv.reader(format_table(["name"], [[name] for name in names]).splitlines()))
    assert [row[0] if row else "" for row in rows[1:]] == [
        "'=cmd|' /C calc'!A0.png", "'+1-1.png", "-2.5", "'@sum.png", "'-x", "a=b", "3e5", "",
    ]  # fmt: skip


def test_quotes_commas_and_control_characters_stay_in_their_cell(tmp_path: Path) -> None:
    with write_table(tmp_path / "table.csv", ["name", "score"]) as write:
        write(['a "b", c.png', 0.5])
        write(["line\nbreak\t\x1b.png", -1.0])
    content = (tmp_path / "table.csv").read_bytes()
    assert content == b'name,score\n"a ""b"", c.png",0.5\nline\\nbreak\\t\\x1b.png,-1.0\n'


@pytest.mark.parametrize(("name", "mark"), [("cafe", b""), ("café", b"\xef\xbb\xbf")])
def test_letters_beyond_ascii_are_marked_for_excel(name: str, mark: bytes, tmp_path: Path) -> None:
    with write_table(tmp_path / "table.csv", ["name"]) as write:
        write([name])
    content = (tmp_path / "table.csv").read_bytes()
    assert content == mark + f"name\n{name}\n".encode()
    assert format_table(["name"], [[name]]).encode() == content
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_table_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with write_table(tmp_path / "table.csv", ["name"]) as write:
            write(["half"])
            raise KeyboardInterrupt

    (tmp_path / "table.csv").write_text("as it was")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert (tmp_path / "table.csv").read_text() == "as it was"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_table_is_read_as_it_was_written() -> None:
    names = ["=cmd.png", "'=x", "-1", "@eaDir/", "café", "plain", ""]
    rows = read_table(format_table(["name", "score"], [(name, 0.5) for name in names]))
    assert [row["name"] for row in rows] == ["=cmd.png", "=x", "-1", "@eaDir/", "café", "plain", ""]
    assert read_table("name\n") == []
