"""The memory that a process may take: that of the machine, or of its container. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Of both versions of control groups: the limit, what is in use, and the name of files among it that may go.
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def measure_memory(root: Path = _ROOT, own: Path = _OWN) -> tuple[int, int]:
    """Return the bytes that this process may have in all, and those that it can take without swapping.

    Args:
        root: Where the control groups are.
        own: Names the groups of this process.
    """
    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    for folder in dict.fromkeys(_list_groups(root, own)):
        for limit_file, usage_file, idle in _FILES:
            try:
                limit = int((folder / limit_file).read_text())  # "max" without one
                used = int((folder / usage_file).read_text()) - _read_stat(folder, idle)
            except (OSError, ValueError):
                continue
            total, available = min(total, limit), min(available, max(0, limit - used))
    return total, available


def _list_groups(root: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's group and of those around it, as far as they can be seen."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        # A container may see its own group as the root.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:count])


def _read_stat(folder: Path, name: str) -> int:
    for line in (folder / "memory.stat").read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
