"""A Python whose programs start with TFX loaded: a server imports it once, and forks for each program.

An import of TFX takes 7 s of CPU, and most tasks of a test less. `quick_python()` takes `-m`, `-c` or a file
as `python` does, and next to it is `mirante`. Programs with `quick_environment()` start others with it
too. Start the real ones where the start matters.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from components.base.imports import without_collector

REPOSITORY = Path(__file__).resolve().parents[2]
# What `mirante run`, a task on Kubeflow and one on Vertex AI load, 7 s of CPU.
IMPORTED = (
    "components.ingest.sources.folder",
    "components.ingest.work",
    "components.models.published",
    "components.trainer.train",
    "kfp.dsl.executor_main",
    "pipeline.commands.ingest",
    "pipeline.commands.run",
    "pipeline.data.prepare",
    "pipeline.definition",
    "pipeline.run.node",
    "pipeline.run.nodes",
    "pipeline.targets.local",
    "rich.progress",
    "tests.make.workers",
    "tfx.components.evaluator.executor",
    "tfx.components.example_validator.executor",
    "tfx.components.statistics_gen.executor",
    "tfx.components.trainer.executor",
    "tfx.components.transform.executor",
)
QUICK = "MIRANTE_TEST_PYTHON"

# The program that the test starts: hands its streams over, passes signals on, and ends as the forked one.
CLIENT = """\
#!{python} -IS
import _signal, _socket, array, json, os, sys
if not {first} and sys.argv[1][0] == "-" and sys.argv[1] not in ("-m", "-c"):
    os.execv({python!r}, [{python!r}] + sys.argv[1:])
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
request = json.dumps([{first} + sys.argv[1:], os.getcwd(), dict(os.environ), os.getpid()]).encode()
streams = _socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [0, 1, 2])
server.sendmsg([len(request).to_bytes(4, "big")], [streams])
while request:
    request = request[server.send(request):]
for number in (_signal.SIGINT, _signal.SIGTERM):
    _signal.signal(number, lambda number, frame: server.send(bytes([number])))
code = int.from_bytes(server.recv(4) or b"F", "big", signed=True)
if code < 0:
    _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def quick_python() -> Path:
    """Return the path of a Python that starts with TFX loaded."""
    folder = Path(tempfile.mkdtemp(prefix="quick-"))
    address = folder / "server"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({listener.fileno()})"],
            cwd=REPOSITORY,
            # Programs have the folders of their own environment, and not those of the first test that asks.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
        )
    for name, first in (("python", []), ("mirante", ["-m", "mirante_command"])):
        path = folder / name
        path.write_text(CLIENT.format(python=sys.executable, address=str(address), first=first))
        path.chmod(0o755)

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return folder / "python"


def quick_mirante() -> Path:
    """Return the path of a `mirante` that starts with TFX loaded."""
    return quick_python().with_name("mirante")


def quick_environment() -> dict[str, str]:
    """Return what has a program start its own processes with TFX loaded; not the workers of an ingest."""
    return {QUICK: str(quick_python())}


def serve(descriptor: int) -> None:
    """Load TFX, fork for each program, and tell how it ended, until standard input ends."""
    with without_collector():
        for name in IMPORTED:
            if importlib.util.find_spec(name.partition(".")[0]):  # kfp is not on Python 3.10
                importlib.import_module(name)
    # The code that results depend on is parsed once, instead of by each program: half a second of an ingest.
    from components.ingest.plan import reader_code
    from pipeline.digests import node_code_digest
    from pipeline.steps import STEPS

    reader_code()
    for step in STEPS:
        if not step.is_resolver:
            node_code_digest(step.id, "classification")
    listener = socket.socket(fileno=descriptor)
    found = _Server(listener).wait_for_program()
    if found is None:
        os._exit(0)  # without the time that TFX takes to end
    _run(*found)


class _Server:
    """Programs by their connections; a program whose test has ended or been killed is killed."""

    def __init__(self, listener: socket.socket):
        self._listener = listener
        self._programs: dict[socket.socket, int] = {}
        self._ended, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._ended, False)
        self._descriptors = (self._ended, wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._waited_for = selectors.DefaultSelector()
        for source in (listener, 0, self._ended):
            self._waited_for.register(source, selectors.EVENT_READ)

    def wait_for_program(self) -> Any | None:
        """Return what to run, in the process of a program; None at the end of the server."""
        while True:
            for key, _ in self._waited_for.select():
                source = key.fileobj
                if source == 0:
                    for pid in self._programs.values():
                        _send(pid, signal.SIGKILL)
                    return None
                if source == self._ended:
                    os.read(self._ended, 4096)
                    self._tell_ends()
                elif source is self._listener:
                    if (request := self._start()) is not None:
                        return request
                elif source in self._programs:
                    self._pass_on(source)

    def _start(self) -> Any | None:
        connection, _ = self._listener.accept()
        head, ancillary, *_ = connection.recvmsg(4, socket.CMSG_SPACE(12))
        if not ancillary:
            connection.close()
            return None
        streams = array.array("i", ancillary[0][2])
        size, text = int.from_bytes(head, "big"), b""
        while len(text) < size and (part := connection.recv(size - len(text))):
            text += part
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._waited_for.close()
            for each in (connection, self._listener, *self._programs):
                each.close()
            for each in self._descriptors:
                os.close(each)
            return json.loads(text), streams
        for stream in streams:
            os.close(stream)
        self._programs[connection] = pid
        self._waited_for.register(connection, selectors.EVENT_READ)
        return None

    def _pass_on(self, connection: socket.socket) -> None:
        try:
            signals = connection.recv(64)
        except ConnectionError:
            signals = b""
        pid = self._programs[connection]
        if not signals:
            self._waited_for.unregister(connection)
        for number in signals or [signal.SIGKILL]:
            _send(pid, number)

    def _tell_ends(self) -> None:
        for connection, pid in list(self._programs.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):  # the test has ended
                    connection.sendall(code.to_bytes(4, "big", signed=True))
                with contextlib.suppress(KeyError):
                    self._waited_for.unregister(connection)
                connection.close()
                del self._programs[connection]


def _send(pid: int, number: int) -> None:
    """Send a signal to a program. Ctrl-C and the end of the test reach what it has started, too."""
    # A program that has just begun has no group yet.
    for send in (os.kill,) if number == signal.SIGTERM else (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            send(pid, number)
            break


def _run(request: tuple[list[str], str, dict[str, str], int], streams: array.array[int]) -> None:
    """Be the program: with its streams, its folder and environment, and its view of the file systems."""
    arguments, folder, environment, client = request
    sys.orig_argv = [sys.executable, *arguments]
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for name, flag in (("user", 0x10000000), ("mnt", 0x00020000)):
        _enter(f"/proc/{client}/ns/{name}", f"/proc/self/ns/{name}", flag)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = environment.get(QUICK, sys.executable)
    tempfile.tempdir = None  # as the environment has it
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(write_through="PYTHONUNBUFFERED" in environment)  # type: ignore[union-attr]
    given = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    base = [entry for entry in sys.path if entry and entry not in given]
    kind, *rest = arguments
    if kind not in ("-m", "-c"):
        sys.argv = arguments
        sys.path[:] = [str(Path(kind).resolve().parent), *given, *base]
        _customize(given)
        runpy.run_path(kind, run_name="__main__")
        return
    sys.path[:] = [folder if kind == "-m" else "", *given, *base]
    _customize(given)
    sys.argv = [kind, *rest[1:]]
    if kind == "-m":
        sys.modules.pop(rest[0], None)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(rest[0], "<string>", "exec"), main.__dict__)


def _customize(folders: list[str]) -> None:
    """Import what Python imports at its start where PYTHONPATH has it."""
    if any(Path(folder, "sitecustomize.py").is_file() for folder in folders):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")


def _enter(theirs: str, own: str, flag: int) -> None:
    """Join a name space of the process that asked, unless it is the server's own."""
    if os.readlink(theirs) == os.readlink(own):
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(theirs, os.O_RDONLY)
    if libc.setns(descriptor, flag):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), theirs)
    os.close(descriptor)
