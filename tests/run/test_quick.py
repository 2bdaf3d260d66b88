"""The Python of tests that starts with TFX loaded: its programs are as those of another Python."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.make.quick import quick_python

pytestmark = pytest.mark.slow

TOLD = """
import os, sys
print(sys.argv, os.getcwd(), os.environ["ONE"], sys.stdin.read(), "tfx" in sys.modules)
print("wrong", file=sys.stderr)
import there
sys.exit(there.CODE)
"""


def test_a_program_has_its_streams_folder_and_environment(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text("CODE = 7")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "program.py").write_text(TOLD)
    for given, argv in (
        (["-c", TOLD, "a b"], ["-c", "a b"]),
        (["-m", "program", "a b"], [str(tmp_path / "folder" / "program.py"), "a b"]),
        (["program.py", "a b"], ["program.py", "a b"]),
    ):
        done = subprocess.run(
            [quick_python(), *given],
            cwd=tmp_path / "folder",
            env={"ONE": "1", "PYTHONPATH": str(tmp_path)},
            input="given",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == f"{argv} {tmp_path}/folder 1 given True\n", done.stderr
        assert (done.returncode, done.stderr) == (7, "wrong\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_program_is_interrupted_and_killed(number: signal.Signals, tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    process = subprocess.Popen([quick_python(), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    forked = psutil.Process(int(process.stdout.readline()))
    os.kill(process.pid, number)
    assert process.wait(timeout=10) == -number
    until = time.monotonic() + 10
    while forked.is_running():
        assert time.monotonic() < until
        time.sleep(0.01)
    process.communicate()
