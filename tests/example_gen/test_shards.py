"""Copies of shards: equal records in equal order, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataRefusedError
from components.base.tfrecord import frame_record, read_records
from components.example_gen.shards import copy_shard, remove_unfinished

pytestmark = pytest.mark.stack_free
RECORDS = [b"second", b"", b"first" * 1000, b"first" * 1000]


def write(path: Path, records: list[bytes]) -> str:
    path.write_bytes(b"".join(map(frame_record, records)))
    return str(path)


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], []])
def test_records_keep_their_bytes_and_their_order(records: list[bytes], tmp_path: Path) -> None:
    source = write(tmp_path / "Übung-00000-of-00001", records)
    once, again = tmp_path / "new" / "a.gz", tmp_path / "new" / "b.gz"
    copy_shard(source, str(once))
    assert list(read_records(once)) == records
    # A copy of the copy; other times and names are not in the bytes.
    copy_shard(str(once), str(again))
    assert again.read_bytes() == once.read_bytes()
    copy_shard(source, str(again))
    assert sorted(path.name for path in again.parent.iterdir()) == ["a.gz", "b.gz"]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-5] + b"?" + data[-4:]])
def test_a_damaged_shard_is_refused_and_nothing_stays(damage: object, tmp_path: Path) -> None:
    source = Path(write(tmp_path / "train-00000-of-00001", RECORDS))
    source.write_bytes(damage(source.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataRefusedError, match=r"train-00000-of-00001, record 3: .*; get the file again"):
        copy_shard(str(source), str(tmp_path / "new" / "a.gz"))
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_killed_worker_left_goes(tmp_path: Path) -> None:
    copies = [
        str(tmp_path / split / f"data-{n}.gz") for split, count in (("a", 2), ("b", 1)) for n in range(count)
    ]
    source = write(tmp_path / "train-00000-of-00001", RECORDS)
    for path in copies:
        copy_shard(source, path)
    for left in ("a/.data-0.0123456789ab.tmp.gz", "b/data-1.gz"):
        (tmp_path / left).write_bytes(b"half")
    remove_unfinished(copies)
    there = sorted(str(path) for split in "ab" for path in (tmp_path / split).iterdir())
    assert there == copies
    remove_unfinished([])
