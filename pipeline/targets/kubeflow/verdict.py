"""Whether a run pushed its model, and the task that fails a run which did not.

Kubeflow drops the outputs of a task that fails. So the Pusher's task succeeds whatever it finds, and gives
the verdict as a text. Another task fails, which Kubeflow starts only if nothing was pushed.
"""

import os
from typing import NoReturn

from components.base.errors import NotBlessedError
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow.log import fail_task

# The verdict on a model that was pushed. Every other one says why it was not.
PUSHED = "pushed"


def refuse(verdict: str) -> NoReturn:
    """End a run that pushed nothing.

    Raises:
        SystemExit: Always; the last line of the log is the verdict.
    """
    from pipeline.run.console import make_console

    fail_task(make_console(to_stderr=False), verdict, NotBlessedError.exit_code, Mirror(os.environ))
