"""One run at a time uses a pipeline root on Kubeflow: a lease that its tasks keep in the metadata store.

The tasks of a run are processes that follow each other, on machines that share nothing but the root and the
metadata store. So the lease is an entry in the store, with the run, task and host that hold it and the time
at which they were last heard of. A lease ends when its run does, and when it was not heard of for a while:

    a task runs           it is heard of every BEAT_SECS; gone after GONE_SECS
    between two tasks     a pod may wait long for its machine; gone after WAIT_SECS
    a task failed         at once
    a task waits to be    as if it ran, counted from when it is tried again in the same pod
    tried again
    a pod was ended       as if it ran: another pod of the run may take its place, or the run has failed

Every holder is an entry of its own, numbered upwards. Names of entries are unique in ML Metadata, so of
several runs that take over at the same time one succeeds.
"""

import contextlib
import dataclasses
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from components.base.errors import MiranteError

BEAT_SECS = 15.0
GONE_SECS = 120.0
WAIT_SECS = 900.0
_MAX_PUTS = 10

_TYPE = "mirante.RootLease"
_RUNNING, _WAITING, _ENDED = "running", "waiting", "ended"


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A holder, as the store has it.

    Attributes:
        number: Counts the holders of a root.
        run_id: The run.
        task: The task that was last heard of.
        host: Its pod.
        state: running, waiting or ended.
        heard_of: When, seconds since the epoch; ahead, if the task is tried again then.
        id: The context's in ML Metadata; None for a new one.
    """

    number: int
    run_id: str
    task: str
    host: str
    state: str
    heard_of: float
    id: int | None = None

    def is_alive(self, now: float) -> bool:
        """Return whether the holder may still use the root."""
        limit = {_RUNNING: GONE_SECS, _WAITING: WAIT_SECS, _ENDED: 0.0}[self.state]
        return now - self.heard_of < limit


def find_holder(store: Any) -> str | None:
    """Return the run that uses a root with this metadata store as a lease says; None if none does."""
    alive = [entry for entry in _read_entries(store, None) if entry.is_alive(time.time())]
    return alive[-1].run_id if alive else None


def _read_entries(store: Any, root: str | None) -> list[_Entry]:
    """Return the holders of a root, or of all roots, the oldest first."""
    found = []
    for context in store.get_contexts_by_type(_TYPE):
        of_root, _, number = context.name.rpartition("#")
        if root in (None, of_root):
            values = context.custom_properties
            run_id, task, host, state = (values[key].string_value for key in ("run", "task", "host", "state"))
            heard_of = values["heard_of"].double_value
            found.append(_Entry(int(number), run_id, task, host, state, heard_of, context.id))
    return sorted(found, key=lambda entry: entry.number)


class RootLease:
    """The lease of one task's run on a pipeline root.

    Args:
        connection: The metadata store (`ml_metadata.proto.metadata_store_pb2.ConnectionConfig`).
        root: The pipeline root, as the run's parameter names it.
        run_id: The run.
        task: The task, for other runs' messages.
    """

    def __init__(self, connection: Any, root: str, run_id: str, task: str):
        self._connection = connection
        self._root = root.rstrip("/")
        self._run_id = run_id
        self._task = task
        self._lost_to: _Entry | None = None

    @contextlib.contextmanager
    def held(
        self,
        *,
        ends_run: bool = False,
        tried_again_after: Callable[[BaseException], float | None] = lambda error: None,
    ) -> Iterator[None]:
        """Hold the lease while the task runs.

        Args:
            ends_run: Whether the run is over after this task.
            tried_again_after: Returns the seconds until the task is tried again after an error; None if it
                is not.

        Raises:
            MiranteError: Another run uses the root, or has taken it over meanwhile.
        """
        store = self._open()
        mine = self._take(store)
        stop = threading.Event()
        beat = threading.Thread(target=self._beat, args=(mine, stop), name="root-lease", daemon=True)
        beat.start()
        state, wait_secs = _ENDED if ends_run else _WAITING, 0.0
        try:
            yield
        except KeyboardInterrupt:
            state = _RUNNING
            raise
        except BaseException as e:
            again_after = tried_again_after(e)
            state, wait_secs = (_ENDED, 0.0) if again_after is None else (_RUNNING, again_after)
            raise
        finally:
            stop.set()
            beat.join()
            if self._lost_to is None:
                heard_of = time.time() + wait_secs
                self._put(store, dataclasses.replace(mine, state=state, heard_of=heard_of))
        if self._lost_to is not None:
            raise self._explain_refusal(self._lost_to)

    def _open(self) -> Any:
        from ml_metadata.metadata_store import MetadataStore

        return MetadataStore(self._connection)

    def _take(self, store: Any) -> _Entry:
        """Make this run the holder, or finds that it is."""
        from ml_metadata import errors

        while True:
            last = self._last(store)
            mine = _Entry(1, self._run_id, self._task, socket.gethostname(), _RUNNING, time.time())
            if last is not None and last.run_id == self._run_id:
                mine = dataclasses.replace(mine, number=last.number, id=last.id)
            elif last is not None:
                if last.is_alive(time.time()):
                    raise self._explain_refusal(last)
                mine = dataclasses.replace(mine, number=last.number + 1)
            try:
                return dataclasses.replace(mine, id=self._put(store, mine))
            except errors.AlreadyExistsError:
                continue  # another run took the same number; look who it is

    def _beat(self, mine: _Entry, stop: threading.Event) -> None:
        from ml_metadata import errors

        store = self._open()
        while not stop.wait(BEAT_SECS):
            # A store that is away for a moment is the node's to report, or is back at the next beat.
            with contextlib.suppress(errors.StatusError):
                last = self._last(store)
                if last is not None and last.number != mine.number:
                    self._lost_to = last
                    return
                self._put(store, dataclasses.replace(mine, heard_of=time.time()))

    def _last(self, store: Any) -> _Entry | None:
        """Return the newest holder of the root."""
        return next(reversed(_read_entries(store, self._root)), None)

    def _put(self, store: Any, entry: _Entry) -> int:
        from ml_metadata import errors
        from ml_metadata.proto import metadata_store_pb2

        context = metadata_store_pb2.Context(
            id=entry.id,
            type_id=store.put_context_type(metadata_store_pb2.ContextType(name=_TYPE)),
            name=f"{self._root}#{entry.number}",
        )
        for key, value in (
            ("run", entry.run_id),
            ("task", entry.task),
            ("host", entry.host),
            ("state", entry.state),
        ):
            context.custom_properties[key].string_value = value
        context.custom_properties["heard_of"].double_value = entry.heard_of
        for left in reversed(range(_MAX_PUTS)):
            try:
                (context_id,) = store.put_contexts([context])
                return int(context_id)
            except errors.InternalError:
                # Tasks of one run write at once. ML Metadata retries that by itself, but not on PostgreSQL,
                # which refuses a deadlock or a duplicate key.
                if not left:
                    raise
                time.sleep(random.random() / 10)
        raise AssertionError("the last error was raised")

    def _explain_refusal(self, holder: _Entry) -> MiranteError:
        ago_secs = time.time() - holder.heard_of
        is_ahead = ago_secs < -0.5
        seen = (
            f"tried again in {-ago_secs:.0f} s"
            if is_ahead
            else f"last heard of {max(0.0, ago_secs):.0f} s ago"
        )
        left_secs = max(0.0, (GONE_SECS if holder.state == _RUNNING else WAIT_SECS) - ago_secs)
        return MiranteError(
            f"{self._root} is in use by run {holder.run_id} (task {holder.task} on {holder.host}, {seen}): "
            "wait until that run has ended, or give this one another pipeline_root. If that run was "
            f"terminated, it counts as gone in {left_secs:.0f} s"
        )
