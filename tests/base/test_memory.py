"""How much memory a process may take in a container, by both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from components.base.memory import measure_memory

pytestmark = pytest.mark.stack_free
MIB = 1 << 20


def write_group(folder: Path, version: int, limit: str, used: int, idle: int) -> None:
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if version == 1
        else ("memory.max", "memory.current", "inactive_file")
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"active_file 12345\n{names[2]} {idle}\n")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("path", ["/", "/pods/one", "/../../host/pods/one"])
def test_a_limit_of_the_own_group_counts_without_files_that_may_go(
    version: int, path: str, tmp_path: Path
) -> None:
    top = tmp_path / "memory" if version == 1 else tmp_path
    below = [part for part in path.split("/") if part not in ("", "..")]
    write_group(top.joinpath(*below), version, str(100 * MIB), 70 * MIB, 30 * MIB)
    own = tmp_path / "own"
    own.write_text(f"9:cpuset:/elsewhere\n4:memory:{path}\n" if version == 1 else f"0::{path}\n")
    assert measure_memory(tmp_path, own) == (100 * MIB, 60 * MIB)


def test_the_least_limit_of_all_groups_around_counts(tmp_path: Path) -> None:
    write_group(tmp_path / "pods" / "one", 2, str(100 * MIB), 90 * MIB, 0)
    write_group(tmp_path / "pods", 2, str(80 * MIB), 95 * MIB, 0)
    write_group(tmp_path, 2, "max", 0, 0)
    (tmp_path / "own").write_text("0::/pods/one\n")
    # More in use than allowed, as while the limit is lowered.
    assert measure_memory(tmp_path, tmp_path / "own") == (80 * MIB, 0)


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    total, available = measure_memory(tmp_path, tmp_path / "own")
    assert total == psutil.virtual_memory().total
    assert 0 < available <= total
    write_group(tmp_path, 2, "max", 5, 0)
    # Version 1 has a very large number instead.
    write_group(tmp_path / "memory", 1, str(2**63 - 4096), 5, 0)
    (tmp_path / "own").write_text("4:memory:/\n0::/\nodd\n")
    assert measure_memory(tmp_path, tmp_path / "own")[0] == total
