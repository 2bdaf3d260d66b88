"""Sends a folder of checkpoints to a bucket while another thread writes to it."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import MiranteError
from components.base.object_store import Bucket
from pipeline.storage.copies import WHOLE_BY, files_below, key_below

_LOOK_SECS = 5.0
_logger = logging.getLogger("mirante.buckets")


@contextlib.contextmanager
def follow(bucket: Bucket, key: str, folder: Path) -> Iterator[None]:
    """Send what is written and removed in a folder while the body runs.

    What cannot be sent is tried again with the next change. It fails nothing, it is only a warning.

    Args:
        bucket: The bucket.
        key: The folder's in the bucket; both are equal at the start.
        folder: The local one.
    """
    follower = Follower(bucket, key, folder)
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECS):
            follower.try_send()
        follower.try_send()

    # Not a daemon: an interrupted process ends when the last checkpoint is sent. It is sent by the
    # thread, which no interrupt reaches: they are repeated (`components.base.interrupts`), and would end it.
    thread = threading.Thread(target=look, name="checkpoints to the bucket")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Follower:
    """Brings a bucket's folder up to a local one that another thread writes to.

    At its start both are equal. The bucket's is whole at any time: `checkpoint` names files that are there.
    """

    def __init__(self, bucket: Bucket, key: str, folder: Path):
        self._bucket = bucket
        self._key = key
        self._folder = folder
        self._sent = self._look()
        self._warned = False

    def try_send(self) -> None:
        """Send what has changed, all of it where nothing changes meanwhile."""
        try:
            self._send()
            self._warned = False
        except (MiranteError, OSError) as e:
            if not self._warned:
                _logger.warning("checkpoints are not in the bucket yet, and will be tried again: %s", e)
            self._warned = True

    def _look(self) -> dict[Path, tuple[int, int]]:
        """Return the size and time of each file that is there now, by path below the folder."""
        found = {}
        for file in files_below(self._folder):
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                found[file.relative_to(self._folder)] = status.st_size, status.st_mtime_ns
        return found

    def _send(self) -> None:
        here = self._look()
        signs = {}
        for path in here:
            if path.name in WHOLE_BY:
                with contextlib.suppress(FileNotFoundError):
                    signs[path] = (self._folder / path).read_bytes()
        for path, seen in here.items():
            if path in signs or self._sent.get(path) == seen:
                continue
            try:
                self._bucket.upload(self._folder / path, key_below(self._key, path))
            except FileNotFoundError:
                return  # superseded meanwhile
            self._sent[path] = seen
        now = self._look()
        if any(now.get(path) != seen for path, seen in here.items()):
            return  # what was read may be of two times
        for path, content in signs.items():
            if self._sent.get(path) != here[path]:
                self._bucket.upload(content, key_below(self._key, path))
                self._sent[path] = here[path]
        for path in [path for path in self._sent if path not in here]:
            self._bucket.delete(key_below(self._key, path))
            del self._sent[path]
