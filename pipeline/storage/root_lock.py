"""One process at a time uses a pipeline root on this machine."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from components.base.disk_full import disk_full_error
from components.base.errors import MiranteError, UsageError


@contextlib.contextmanager
def lock_root(root: Path) -> Iterator[None]:
    """Hold the root's lock, which ends with the process, however that ends.

    Raises:
        UsageError: The root is a file, or below one.
        MiranteError: Another process holds the lock, or nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = open(root / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 - closed below
    except (FileExistsError, NotADirectoryError) as e:
        raise UsageError(f"--root {root}: {e.filename} is no folder; give another one") from e
    except OSError as e:
        if disk_full_error(e, [root]):
            raise
        raise MiranteError(f"--root {root} cannot be written: {e.strerror}; give another one") from e
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise MiranteError(
                f"{root} is in use by another run (process {holder}): wait for it, or give another --root"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
