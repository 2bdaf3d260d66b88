"""Tries one reader on many inputs, with limits of time and memory."""

from __future__ import annotations

import dataclasses
import faulthandler
import logging
import os
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from components.base.errors import MiranteError
from tests.fuzz.seeds import TARGETS, recipe_target
from tests.fuzz.target import Files, Target

CPU_SECONDS = 5
WALL_SECONDS = 120
MEMORY_BYTES = 1 << 30
# Mirante's errors for wrong usage and for refused data; 1 is for failures that no input should cause.
REFUSED = (2, 3)


@dataclasses.dataclass
class Tried:
    """The results of a reader's inputs.

    Attributes:
        reader: Its name. inputs: How many were tried. refused: How many of them were refused.
        memory_mib: The most that the process had resident.
        findings: What should not have been, by kind, each with its first input's number and what was raised.
    """

    reader: str
    inputs: int
    refused: int
    memory_mib: int
    findings: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the form that from_json takes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Tried:
        """The inverse of to_json."""
        return cls(**read)

    def __str__(self) -> str:
        found = "".join(f"\n  {kind}\n    {what}" for kind, what in self.findings.items())
        return (
            f"{self.reader}: {self.inputs} inputs, {self.refused} refused, {self.memory_mib} MiB, "
            f"{len(self.findings)} findings{found}"
        )


class TooSlowError(BaseException):
    """Raised wherever the reader is; not an Exception, since readers may catch those."""


def try_inputs(reader: str, inputs: int, seed: int, *, only: int | None = None) -> Tried:
    """Tries inputs 0 .. inputs - 1 of a seed, or one number alone; call it in a process of its own."""
    target = recipe_target() if reader == "recipe" else TARGETS[reader]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _too_slow)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    tried = Tried(reader, 0, 0, 0, {})
    with tempfile.TemporaryDirectory() as folder:
        for number in range(inputs) if only is None else [only]:
            tried.inputs += 1
            changed = target.change(Random(f"{seed} {reader} {number}"), dict(target.files))
            where = Path(folder) / str(number)
            try:
                write_files(where / "in", changed)
            except (OSError, ValueError):
                continue  # a name that this file system does not have
            try:
                tried.refused += _try(target, where)
            except (Exception, TooSlowError) as error:
                if only is not None:
                    raise
                tried.findings.setdefault(_kind(error), f"number {number}: {error!s:.300}")
            shutil.rmtree(where)
    tried.memory_mib = _most_resident_mib()
    if tried.memory_mib << 20 > MEMORY_BYTES:
        tried.findings["memory"] = f"{tried.memory_mib} MiB"
    return tried


def _most_resident_mib() -> int:
    """The most memory of this program; the kernel's `ru_maxrss` also has that of the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) >> 10


def write_files(folder: Path, files: Files) -> None:
    """Writes files, by path, below a folder that is made."""
    folder.mkdir(parents=True)
    for path, data in files.items():
        file = folder / os.fsdecode(path.encode("utf-8", "surrogateescape"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def _try(target: Target, where: Path) -> bool:
    """Return whether the input was refused; raise what should not have been raised."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
    try:
        target.read(where / "in", where / "out")
    except MiranteError as error:
        if error.exit_code not in REFUSED:
            raise
        return True
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
    return False


def _too_slow(number: int, frame: object) -> None:
    raise TooSlowError(f"more than {CPU_SECONDS} s of CPU")


def _kind(error: BaseException) -> str:
    """An error's type and where it was raised: the same fault is listed once."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/fuzz/" not in frame.filename]
    own = [frame for frame in frames if "/components/" in frame.filename or "/pipeline/" in frame.filename]
    place = (own or frames)[-1] if own or frames else None
    return (
        f"{type(error).__name__} in {place.filename.rpartition('/')[2]}:{place.lineno}"
        if place
        else str(error)
    )
