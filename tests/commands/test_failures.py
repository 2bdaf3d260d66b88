"""What every failure that a user can cause ends with: docs/failures.md, row by row."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests import failures
from tests.failures import Ended, arguments, check, rows, run, said
from tests.make.folders import write_photos
from tests.make.quick import quick_mirante
from tests.small_disk import SmallDisk

pytestmark = [pytest.mark.stack_free, pytest.mark.long]

# Rows whose failure comes while the command runs, by cause: one test below for each.
ARRANGED = {
    "root in use",
    "output in use",
    "published weights without a network to download them",
    "interrupted (Ctrl-C) at ingest",
    "terminated (SIGTERM) at ingest",
    "a worker process is killed",
    "disk full at ingest",
    "disk full at a node",
    "interrupted (Ctrl-C) at a node",
    "threshold not met",
    "the model does not load in time",
    "more GPUs than the machine has",
    "several machines without a cluster",
    "a training that diverges",
    "a training that learns nothing",
    "a model that predicts one class for every image",
    "records without a label or an image",
    "predict: damaged model",
}
INGEST_DIGITS = "mirante ingest digits - data"
# What shards, ML Metadata and the nodes before Trainer take; not what Trainer writes.
LEFT_FOR_NODES_KIB = 4000


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder that commands are run in."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def test_every_row_of_the_page_is_tried() -> None:
    assert set(rows()) == {*failures.FAST, *ARRANGED}


# A run of class folders gets as far as the ingest.
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.slow)
        if what in rows() and rows()[what].command.startswith("mirante run folder --data photos")
        else what
        for what in failures.FAST
    ],
)
def test_failures(what: str, here: Path) -> None:
    prepare = failures.FAST[what]
    if prepare is not None:
        prepare(here)
    check(what, run(rows()[what].command, here), here)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        file.write("4711")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    ("what", "lock"), [("root in use", "shared/.lock"), ("output in use", "data/.ingest/lock")]
)
def test_what_is_in_use(what: str, lock: str, here: Path) -> None:
    with locked(here / lock):
        check(what, run(rows()[what].command, here), here)


def test_no_network_for_published_weights(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = "published weights without a network to download them"
    write_photos(here)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(here / ".keras"))
    check(what, run(rows()[what].command, here), here)


def disturbed(command: list[str], here: Path, disturb: Callable[[subprocess.Popen[str]], bool]) -> Ended:
    """Starts a command and calls `disturb` until it says that it has done its work."""
    process = subprocess.Popen(
        command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not disturb(process):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    stdout, stderr = process.communicate(timeout=60)
    return Ended(process.returncode, stdout, stderr)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*-of-*")}


@functools.cache
def undisturbed() -> dict[str, bytes]:
    """The shards of an ingest of the digits."""
    with tempfile.TemporaryDirectory() as folder:
        assert run(INGEST_DIGITS, Path(folder)).code == 0
        return shards(Path(folder) / "data")


def assert_goes_on(command: str, output: Path, here: Path) -> None:
    """The same command ends well, and with what an undisturbed one makes."""
    again = run(command, here)
    assert again.code == 0, again.stderr
    assert shards(output) == undisturbed()
    assert not (output / ".ingest").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("interrupted (Ctrl-C) at ingest", signal.SIGINT),
        ("terminated (SIGTERM) at ingest", signal.SIGTERM),
    ],
)
def test_an_interrupted_ingest(what: str, number: int, here: Path) -> None:
    def interrupt(process: subprocess.Popen[str]) -> bool:
        began = (here / "data" / ".ingest" / "index.sqlite").exists()
        if began:
            os.killpg(process.pid, number)  # as a terminal does: the workers too
        return began

    check(what, disturbed(arguments(INGEST_DIGITS), here, interrupt), here)
    assert shards(here / "data") == {}
    assert_goes_on(INGEST_DIGITS, here / "data", here)


@pytest.mark.slow
def test_a_killed_worker(here: Path) -> None:
    def kill(process: subprocess.Popen[str]) -> bool:
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                if any("components.ingest" in argument for argument in child.cmdline()):
                    child.kill()
                    return True
        return False

    check("a worker process is killed", disturbed(arguments(INGEST_DIGITS), here, kill), here)
    assert_goes_on(INGEST_DIGITS, here / "data", here)


def on(disk: SmallDisk, command: str, here: Path, *, quick: bool = False) -> Ended:
    """Runs a command that sees the small file system; a quick one starts with TFX loaded."""
    program, *rest = arguments(command)
    whole = disk.command([str(quick_mirante()) if quick else program, *rest], here)
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("leave_kib", [64, 900])
def test_a_full_disk_at_ingest(leave_kib: int, here: Path) -> None:
    what = "disk full at ingest"
    with SmallDisk(here / "disk", size_mib=16) as disk:
        disk.fill(leave_kib)
        check(what, on(disk, rows()[what].command, here), here)
        assert shards(disk.inside / "data") == {}
        disk.make_room()
        assert on(disk, rows()[what].command, here).code == 0
        assert shards(disk.inside / "data") == undisturbed()


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_published(here: Path) -> None:
    with SmallDisk(here / "disk", size_mib=16) as disk:
        assert on(disk, "mirante ingest digits - disk/data", here).code == 0
        before = shards(disk.inside / "data")
        disk.fill(100)
        ended = on(disk, "mirante ingest digits - disk/data --shards 3", here)
        check("disk full at ingest", ended, here)
        assert shards(disk.inside / "data") == before
        disk.make_room()
        assert on(disk, "mirante ingest digits - disk/data", here).code == 0
        assert shards(disk.inside / "data") == before


@pytest.mark.slow
def test_records_without_a_label_or_an_image(here: Path) -> None:
    what = "records without a label or an image"
    failures.no_label_and_no_image(here)
    check(what, run(rows()[what].command, here), here)


@pytest.mark.slow
def test_trainings_that_fail(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another under one root: what is before the Trainer is done once."""
    monkeypatch.setenv("PYTHONPATH", str(here))  # of the networks
    for what in (
        "more GPUs than the machine has",
        "several machines without a cluster",
        "a training that diverges",
        "a training that learns nothing",
    ):
        ended = run(rows()[what].command, here, runs_nodes=True)
        check(what, ended, here)
        assert "GeneratorDataset" not in ended.stderr  # nothing after the message

    # Ctrl-C within a library that makes an error of its own of it, as pybind11 does.
    (here / "eats.py").write_text(
        "import signal\n"
        "def build(config, shape, classes):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        raise RuntimeError('MISMATCH of active exception types') from None\n"
    )
    done = run("mirante run digits --root root --set model.name=eats:build", here, runs_nodes=True)
    assert (done.code, said(done, here)) == (
        130,
        "mirante: interrupted; the same command continues from here",
    )

    # A network that does not look: Evaluator's bounds are met, and it is not blessed.
    (here / "blind.py").write_text(
        "import keras\n"
        "def build(config, shape, classes):\n"
        "    layers = keras.layers\n"
        "    hidden = [layers.Rescaling(0.0), layers.Flatten(), layers.Dense(classes)]\n"
        "    return keras.Sequential([keras.Input(shape), *hidden])\n"
    )
    what = "a model that predicts one class for every image"
    check(what, run(rows()[what].command, here, runs_nodes=True), here)


@pytest.mark.slow
def test_a_damaged_model(here: Path) -> None:
    failures.damaged_model(here)
    check("predict: damaged model", run(rows()["predict: damaged model"].command, here), here)


def interrupt_after(node: str) -> Callable[[subprocess.Popen[str]], bool]:
    """Ctrl-C while the node after this one runs."""

    def interrupt(process: subprocess.Popen[str]) -> bool:
        assert process.stderr is not None
        if f"] {node} " not in process.stderr.readline():
            return False
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        return True

    return interrupt


@pytest.mark.slow
def test_one_run_after_another_that_fails_goes_on(here: Path) -> None:
    """A full disk, then Ctrl-C, then a threshold, then a model that is slow to load: all under one root."""
    command = rows()["disk full at a node"].command
    with SmallDisk(here / "disk", size_mib=200) as disk:
        disk.fill(LEFT_FOR_NODES_KIB)
        full = on(disk, command, here, quick=True)
        check("disk full at a node", full, here)
        done = {node for node, outcome in full.json["components"].items() if outcome["status"] == "completed"}
        assert done
        disk.make_room()

        quick = disk.command([str(quick_mirante()), *arguments(command)[1:]], here)
        interrupted = disturbed(quick, here, interrupt_after("Transform"))
        check("interrupted (Ctrl-C) at a node", interrupted, here)
        assert {interrupted.json["components"][node]["status"] for node in done} == {"cached"}
        ends = {node: outcome["status"] for node, outcome in interrupted.json["components"].items()}
        done = {node for node, status in ends.items() if status in ("completed", "cached")}
        assert set(ends.values()) - {"completed", "cached", "skipped"} <= {"failed"}  # the interrupted one
        assert "Transform" in done

        missed = on(disk, command, here, quick=True)
        check("threshold not met", missed, here)
        assert {missed.json["components"][node]["status"] for node in done} == {"cached"}
        assert missed.json["pushed_model"] is None

        what = "the model does not load in time"
        slow = on(disk, rows()[what].command, here, quick=True)
        check(what, slow, here)
        assert not (disk.inside / "root" / "serving").exists()
