"""Paths that TFX, Beam and TensorFlow can read as nothing but a path.

They make patterns of paths (`os.path.join(folder, "*")`) without quoting them, to read and also to remove
files. In a root called `run[1]` they would look into its neighbour `run1`. So they are given a link to it.
"""

import hashlib
import os
import re
from pathlib import Path

from components.base.errors import MiranteError

_NOT_PLAIN = re.compile(r"[*?\[\]\\\x00-\x1f\x7f]")


def is_plain(path: str | Path) -> bool:
    """Return whether a path as a pattern matches that path and nothing else, in every library."""
    return _NOT_PLAIN.search(str(path)) is None


def plain_path(path: Path) -> Path:
    """Return an absolute path that leads to a folder and is plain; the folder's own where that is plain.

    It is the same in every run: a link in the user's cache folder, or else in /tmp, named after the path.

    Raises:
        MiranteError: The link cannot be made.
    """
    path = Path(os.path.abspath(path))
    if is_plain(path):
        return path
    name = f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}-{re.sub(r'[^A-Za-z0-9]+', '-', path.name)}"
    problem: OSError | None = None
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_uid != os.getuid():
                continue
            return _link(folder / name, path)
        except OSError as e:
            problem = e
    raise MiranteError(
        f"{path}: TFX reads *, ?, [, ] and \\ in a path as a pattern, and no link without them can be made "
        f"in {' or '.join(map(str, _folders()))}"
        + (f" ({problem.strerror})" if problem else "")
        + "; rename the folder, or set XDG_CACHE_HOME to a folder that can be written"
    )


def _folders() -> list[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mirante" / "paths"
    return [folder for folder in (cache, Path(f"/tmp/mirante-{os.getuid()}/paths")) if is_plain(folder)]


def _link(link: Path, path: Path) -> Path:
    if not (link.is_symlink() and os.readlink(link) == str(path)):
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.symlink_to(path)
        temporary.replace(link)
    return link
