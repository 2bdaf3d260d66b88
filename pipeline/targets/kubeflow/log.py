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

from components.base.errors import MiranteError
from components.base.os_errors import explain_os_error
from pipeline.run.interrupts import interruptible
from pipeline.storage.mirror import Mirror


@contextlib.contextmanager
def log_task(what: str, run_id: str, pipeline_root: str, mirror: Mirror) -> Iterator[Any]:
    """Give the body a console for the task's log, and end the process where it fails.

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

    console = make_console(to_stderr=False, worded=mirror.shown)
    version = importlib.metadata.version("mirante")
    console.print(f"mirante {version}  {what}  run {run_id} in {pipeline_root}", soft_wrap=True, markup=False)
    logging.getLogger().setLevel(logging.WARNING)
    own = logging.getLogger("mirante")
    own.setLevel(logging.INFO)
    handler = ConsoleHandler(console, whole=True)
    # What libraries print, and Python's tracebacks.
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)  # type: ignore[assignment]
    own.addHandler(handler)
    own.propagate = False  # kfp's executor logs everything that reaches the root once more
    try:
        # SIGTERM is how Kubernetes ends a pod: the Trainer then keeps a checkpoint and removes its workers.
        with interruptible():
            yield console
    except KeyboardInterrupt:
        _fail(console, "interrupted; the task continues from here when it is tried again", 130)
    except MiranteError as e:
        _fail(console, str(e), e.exit_code)
    except Exception as e:  # noqa: BLE001 - the last line of the log says it
        traceback.print_exc()
        if explained := explain_os_error(e, [Path(pipeline_root)]):
            _fail(console, f"{what}: {explained}", explained.exit_code)
        _fail(console, f"{what} failed: {type(e).__name__}: {e} (the whole story is above)", 1)
    else:
        console.print(f"{what}: done", markup=False, soft_wrap=True)
    finally:
        sys.stdout, sys.stderr = streams
        own.removeHandler(handler)
        own.propagate = True


def _fail(console: Any, message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    console.print(f"\nmirante: {message}", markup=False, soft_wrap=True)
    sys.exit(code)
