"""The log of a Kubeflow task: begins with what runs, and ends with one clear error if there is one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from components.base.errors import MiranteError, UsageError
from components.base.interrupts import interruptible
from components.base.os_errors import explain_os_error
from components.base.redact import redact
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow.attempts import Attempts

# Kubernetes shows what a container leaves here as the reason of its end, and Argo and `kubectl` pass it on.
_REASON = Path("/dev/termination-log")
# More is cut off by Kubernetes.
_MOST_CHARS = 1000
# Kubernetes sets it in every container.
_IN_A_POD = "KUBERNETES_SERVICE_HOST"


@contextlib.contextmanager
def log_task(what: str, run_id: str, pipeline_root: str, mirror: Mirror) -> Iterator[tuple[Any, Attempts]]:
    """Give the body a console for the task's log and its attempts, and end the process where it fails.

    The log has the buckets' addresses in place of the local copies' paths.

    Args:
        what: The nodes of the task.
        run_id: The run.
        pipeline_root: As it was given.
        mirror: The buckets.

    Raises:
        SystemExit: The body failed; the last line of the log says why.
    """
    # Before TensorFlow is loaded: without its own messages, with its faster kernels, as in `mirante run`.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from pipeline.run.console import ConsoleHandler, Redacted, make_console

    console = make_console(to_stderr=False, worded=mirror.shown, whole_lines=True)
    try:
        attempts = Attempts(os.environ, pipeline_root, run_id, what, mirror)
    except UsageError as e:
        fail_task(console, str(e), e.exit_code, mirror)
    version = importlib.metadata.version("mirante")
    told = "  ".join(filter(None, (f"mirante {version}", what, attempts.describe())))
    console.print(f"{told}  run {run_id} in {pipeline_root}", soft_wrap=True, markup=False)
    logging.getLogger().setLevel(logging.WARNING)
    own = logging.getLogger("mirante")
    own.setLevel(logging.INFO)
    handler = ConsoleHandler(console)
    # What libraries print, and Python's tracebacks.
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)  # type: ignore[assignment]
    own.addHandler(handler)
    own.propagate = False  # kfp's executor logs everything that reaches the root once more
    try:
        # SIGTERM is how Kubernetes ends a pod: the Trainer then keeps a checkpoint and removes its workers.
        with interruptible():
            yield console, attempts
    except KeyboardInterrupt:
        fail_task(console, "interrupted; the task continues from here when it is tried again", 130, mirror)
    except Exception as e:  # noqa: BLE001 - the last line of the log says it
        message, code = _explain(e, what, pipeline_root)
        if (wait_secs := attempts.wait_after(e)) is not None:
            attempts.begin_next(console, message, wait_secs)
        attempts.end()
        if attempts.failed:
            message = f"{message} ({attempts.describe()})"
        fail_task(console, message, code, mirror)
    else:
        attempts.end()
        console.print(f"{what}: done", markup=False, soft_wrap=True)
    finally:
        sys.stdout, sys.stderr = streams
        own.removeHandler(handler)
        own.propagate = True


def _explain(error: Exception, what: str, pipeline_root: str) -> tuple[str, int]:
    """Return why a task failed, and its exit code; print the traceback of an unexpected error."""
    if isinstance(error, MiranteError):
        return str(error), error.exit_code
    traceback.print_exc()
    if explained := explain_os_error(error, [Path(pipeline_root)]):
        return f"{what}: {explained}", explained.exit_code
    return f"{what} failed: {type(error).__name__}: {error} (the whole story is above)", 1


def fail_task(console: Any, message: str, code: int, mirror: Mirror) -> NoReturn:
    """End the process of a task with the one line that says why, for its log and for Kubernetes."""
    sys.stdout.flush()
    sys.stderr.flush()
    console.print(f"\nmirante: {message}", markup=False, soft_wrap=True)
    if _IN_A_POD in os.environ:
        with contextlib.suppress(OSError):
            _REASON.write_text(mirror.shown(redact(f"mirante: {message}"))[:_MOST_CHARS], encoding="utf-8")
    sys.exit(code)
