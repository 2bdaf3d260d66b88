"""Attempts of a Kubeflow task, in its own pod: retries that hold however the cluster retries pods.

Kubeflow Pipelines passes a package's retries on to Argo, whose administrator may narrow them: as installed,
Argo retries only lost pods. So a task that failed starts its own process anew, with the same arguments. Each
attempt has a fresh interpreter and fresh memory, as in a new pod. The count of failed attempts is in the
environment, and in the run's folder for the pod that replaces a lost one.
"""

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from components.base.errors import DataRefusedError, MiranteError, NotBlessedError, UsageError
from components.base.paths import write_atomically
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow.plan import run_folder

# The package sets it for a task that has retries.
RETRIES = "MIRANTE_RETRIES"
_FAILED = "MIRANTE_FAILED_ATTEMPTS"
# Another attempt gets the same answer.
_FINAL = (UsageError, DataRefusedError, NotBlessedError)


@dataclasses.dataclass(frozen=True)
class Retries:
    """The retries of a task.

    Attributes:
        retries: Attempts after the first one.
        backoff_secs: Seconds before the first retry.
        backoff_factor: Factor by which the wait grows with each retry.
        backoff_max_secs: Most seconds before a retry.
    """

    retries: int = 0
    backoff_secs: int = 0
    backoff_factor: float = 1.0
    backoff_max_secs: int = 0

    def wait_secs(self, failed: int) -> float:
        """Return the seconds to wait after the attempt of this number, counted from 1."""
        # A large power of a float overflows.
        factor = self.backoff_factor ** min(failed - 1, 60)
        return min(self.backoff_secs * factor, float(self.backoff_max_secs))


def _read_retries(text: str) -> Retries:
    """Return the retries that a package gives.

    Raises:
        UsageError: It is something else.
    """
    try:
        retries = Retries(**json.loads(text))
        # A wait that is no number of seconds.
        if not all(retries.wait_secs(failed) >= 0 for failed in (1, 2)):
            raise ValueError
        return dataclasses.replace(retries, retries=int(retries.retries))
    except (ValueError, TypeError, OverflowError) as e:
        raise UsageError(
            f"{RETRIES}: expected the JSON that `mirante compile` writes for `retries`, got {text}; take the "
            "variable out of `env` in kubeflow.defaults and kubeflow.tasks"
        ) from e


class Attempts:
    """The attempts of one task of a run.

    Args:
        environment: The task's variables.
        root: The pipeline root, as the run's parameter names it.
        run_id: The run.
        task: The task's nodes.
        mirror: The buckets.

    Raises:
        UsageError: The variable of the retries is not as the package sets it.
    """

    def __init__(self, environment: Mapping[str, str], root: str, run_id: str, task: str, mirror: Mirror):
        self._retries = _read_retries(environment.get(RETRIES) or "{}")
        given = environment.get(_FAILED) or ""
        self._given = int(given) if given.isdecimal() else 0
        self._place = root, run_id, f"attempts-{task.replace(', ', '_')}.json"
        self._mirror = mirror
        self._failed: int | None = None

    @property
    def failed(self) -> int:
        """The number of attempts that have failed, in this pod or in a lost one."""
        if self._failed is None:
            self._failed = max(self._given, self._read() if self._retries.retries else 0)
        return self._failed

    def describe(self) -> str:
        """Return which attempt this is, for the log; nothing for a task that has only one."""
        all_of_them = self._retries.retries + 1
        return f"attempt {self.failed + 1} of {all_of_them}" if all_of_them > 1 else ""

    def wait_after(self, error: BaseException) -> float | None:
        """Return the seconds until the task is tried again after this error; None if it is not."""
        # `log_task` leaves an interrupt, or an exit of the process, as it is.
        is_final = isinstance(error, _FINAL) or not isinstance(error, Exception)
        if is_final or self.failed >= self._retries.retries:
            return None
        return self._retries.wait_secs(self.failed + 1)

    def begin_next(self, console: Any, message: str, wait_secs: float) -> NoReturn:
        """Log why this attempt failed, wait, and start the next one in place of this process."""
        console.print(
            f"\nmirante: {self.describe()} failed: {message}\nmirante: the next begins in {wait_secs:.0f} s",
            markup=False,
            soft_wrap=True,
        )
        self._write(self.failed + 1)
        time.sleep(wait_secs)
        sys.stdout.flush()
        sys.stderr.flush()
        environment = {**os.environ, _FAILED: str(self.failed + 1)}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)

    def end(self) -> None:
        """Forget the attempts of a task that is done, or has failed for the last time.

        A run that a user retries has all of them again.
        """
        if self.failed:
            self._write(0)

    def _path(self) -> Path:
        root, run_id, name = self._place
        return run_folder(self._mirror.local(root), run_id) / name

    def _read(self) -> int:
        # Without the root the task itself fails, and says why.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, MiranteError):
            path = self._path()
            self._mirror.fetch(str(path))
            return int(json.loads(path.read_text(encoding="utf-8"))["failed"])
        return 0

    def _write(self, failed: int) -> None:
        with contextlib.suppress(OSError, MiranteError):
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps({"failed": failed}).encode())
            self._mirror.send(str(path))
