"""A small file system, to fill it: a tmpfs in a mount namespace, which needs no rights on most systems."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

_MOUNT = 'mount -t tmpfs -o "size=$1" none "$0" && echo mounted && exec sleep infinity'
_IN_FOLDER = 'cd "$0" && exec "$@"'


class SmallDisk:
    """Mounted at `folder` for the commands that are run by `command`, and for nobody else.

    Skips the test where neither root's nor a user's mount namespaces are available.
    """

    def __init__(self, folder: Path, size_mib: int):
        folder.mkdir(parents=True)
        as_root = os.geteuid() == 0
        self._enter = [] if as_root else ["--user", "--preserve-credentials"]
        unshare = ["unshare", "--mount", *([] if as_root else ["--map-root-user"])]
        self._holder = subprocess.Popen(
            [*unshare, "sh", "-c", _MOUNT, str(folder), f"{size_mib}m"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "mounted\n":
            pytest.skip(f"no file system can be mounted here: {self._holder.stderr.read().strip()}")
        # The same folder, as seen from outside.
        self.inside = Path(f"/proc/{self._holder.pid}/root{folder}")
        self._ballast = self.inside / "ballast"

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.kill()
        self._holder.wait()

    def command(self, arguments: Sequence[str], folder: Path) -> list[str]:
        """The command that runs `arguments` in `folder` with the file system mounted."""
        enter = ["nsenter", "--target", str(self._holder.pid), "--mount", *self._enter]
        return [*enter, "sh", "-c", _IN_FOLDER, str(folder), *arguments]

    def fill(self, leave_kib: int) -> None:
        """Leaves no more free than this."""
        usage = os.statvfs(self.inside)
        free = usage.f_bavail * usage.f_frsize
        self._ballast.write_bytes(bytes(max(0, free - leave_kib * 1024)))

    def make_room(self) -> None:
        """Frees what was filled."""
        self._ballast.unlink()
