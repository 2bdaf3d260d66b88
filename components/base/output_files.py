"""Remembers the files of a node's outputs, so that a later node never reads a damaged one.

A cached result can be damaged by a full disk, a crash, or a copy that was cut short. ML Metadata keeps the
size, time and SHA-256 of each file with the artifact. A file with the same size and time is not read again.
"""

import json
import os
from pathlib import Path

from components.base.content import file_sha256

# Custom property of an artifact: {path in its folder: [bytes, time of change in ns, SHA-256]}.
FILES = "mirante_files"


def measure_outputs(folder: str) -> str:
    """Read all files of an artifact, and return the text with which `find_damage` compares them."""
    measured = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            status = path.stat()
            measured[str(path.relative_to(folder))] = [status.st_size, status.st_mtime_ns, file_sha256(path)]
    return json.dumps(measured)


def find_damage(folder: str, measured: str) -> str | None:
    """Describe the first file that has changed; None if none has. Added files do not count."""
    for name, (size_bytes, mtime_ns, sha256) in json.loads(measured).items():
        path = Path(folder, name)
        try:
            status = path.stat()
            if status.st_size != size_bytes:
                return f"{path} has {status.st_size:,} bytes, and {size_bytes:,} were written"
            if status.st_mtime_ns != mtime_ns and file_sha256(path) != sha256:
                return f"{path} has other content than what was written"
        except FileNotFoundError:
            return f"{path} is missing"
        except OSError as e:
            return f"{path} cannot be read: {os.strerror(e.errno) if e.errno else e}"
    return None
