"""Run `mirante` without its start-up: a server imports the command once and forks for every call.

The process of a call has its own folder, environment and streams, and ends as `mirante` itself does. Start
`mirante` as a program where the start matters: interrupts, limits of the shell, PYTHONPATH.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import multiprocessing
import multiprocessing.connection
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.base.imports import without_collector
from tests.make.quick import REPOSITORY, quick_python

# What the commands load before they know that all is well, and what an ingest of a few images loads.
IMPORTED = (
    "components.evaluator.evaluation",
    "components.ingest.examine",
    "components.ingest.looks",
    "components.ingest.sources.coco",
    "components.ingest.sources.csv_boxes",
    "components.ingest.sources.digits",
    "components.ingest.sources.folder",
    "components.ingest.sources.list_choice",
    "components.ingest.sources.voc",
    "components.ingest.work",
    "components.model_stores.store",
    "components.models.published",
    "components.pages.charts",
    "components.prediction.asked",
    "components.tasks.classification.recipe",
    "defusedxml.ElementTree",
    "numpy",
    "pipeline.api",
    "pipeline.commands.ingest",
    "pipeline.commands.inspect",
    "pipeline.commands.main",
    "pipeline.commands.predict",
    "pipeline.commands.run",
    "pipeline.data.prepare",
    "pipeline.report.make",
    "pipeline.run.nodes",
    "pipeline.storage.metadata_store",
    "rich.progress",
)


# Programs for `quick_python`: what has an ingest start no worker processes, and `mirante` with it.
INLINE_INGEST = """
from components.ingest import run
from tests.make.workers import InlinePool
run.WorkerPool = InlinePool
"""
INLINE_MIRANTE = f"""
{INLINE_INGEST}
import sys
sys.argv[0] = "mirante"
from mirante_command import main
main()
"""


def unwrap(text: str) -> str:
    """Return what a command has printed as one line, whatever lines of 80 columns it was broken into."""
    return " ".join(text.split())


def find_long_lines(text: str) -> list[str]:
    """Return the lines of over 80 columns that no path, and no command to paste, makes so long."""
    return [
        line
        for line in text.splitlines()
        if len(line) - sum(len(word) for word in line.split() if "/" in word) > 80
        and not re.search(r"(^|\s)\S*mirante [a-z]+ ", line)
    ]


def mirante(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, runs_nodes: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `mirante ARGUMENTS...`, an ingest without worker processes; return its code and what it wrote.

    Args:
        arguments: Of the command.
        cwd: Its folder.
        env: Its environment.
        runs_nodes: Whether nodes of a pipeline will run, so that TFX is best loaded once for all calls.
    """
    if runs_nodes:
        command = [str(quick_python()), "-c", INLINE_MIRANTE, *arguments]
        return subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        streams = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (stdout, stderr)]
        server = _server()
        server.send((arguments, str(cwd or Path.cwd()), dict(env or os.environ), streams))
        code: int = server.recv()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(
            ["mirante", *arguments], code, stdout.read().decode(), stderr.read().decode()
        )


@functools.cache
def _server() -> multiprocessing.connection.Connection[object, int]:
    ours, theirs = multiprocessing.Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            cwd=REPOSITORY,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve(descriptor: int) -> None:
    """Import the command, and fork for each request until the other end is closed."""
    with without_collector():
        for name in IMPORTED:
            importlib.import_module(name)
    from PIL import Image

    from components.ingest import run
    from components.ingest.plan import reader_code
    from mirante_command import main
    from tests.make.workers import InlinePool

    Image.preinit()
    run.WorkerPool = InlinePool
    # The code that a result depends on is parsed once, instead of by each call: half a second of an ingest.
    reader_code()

    connection: multiprocessing.connection.Connection[
        int, tuple[Sequence[str], str, dict[str, str], list[str]]
    ]
    connection = multiprocessing.connection.Connection(descriptor)
    while True:
        try:
            arguments, folder, environment, streams = connection.recv()
        except EOFError:
            os._exit(0)
        child = os.fork()
        if child == 0:
            break
        connection.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    connection.close()
    for number, path in enumerate(streams, start=1):
        opened = os.open(path, os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["mirante", *arguments]
    main()
