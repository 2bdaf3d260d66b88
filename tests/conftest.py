"""What every test may use, and the rules for the tests on real data."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from components.base.imports import without_collector
from tests.make.beam import hurry_beam

DEFAULT_REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# How many modules may be loaded before they are kept out of the collector's rounds.
_LOADED = pytest.StashKey[int]()
# Set by `make test-real-data`: there, a test that skips has checked nothing and counts as failed.
SKIP_IS_FAILURE = os.environ.get("MIRANTE_REQUIRE_REAL_DATA") == "1"


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder with the real image sets; tests marked `real_data` skip when there is none."""
    folder = Path(os.environ.get("MIRANTE_TEST_DATA") or DEFAULT_REAL_DATA)
    if not folder.is_dir():
        pytest.skip(f"needs the real image sets, and {folder} is no folder: set MIRANTE_TEST_DATA to theirs")
    return folder.resolve()


@pytest.fixture
def inline_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `ingest` work in this process, for tests that read and write a few images."""
    from components.ingest import run
    from tests.make.workers import InlinePool

    monkeypatch.setattr(run, "WorkerPool", InlinePool)


@pytest.fixture
def worker_processes(inline_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `ingest` start its processes all the same, in a file that asks for `inline_workers`."""
    from components.ingest import run
    from components.ingest.workers import WorkerPool

    monkeypatch.setattr(run, "WorkerPool", WorkerPool)


def pytest_configure() -> None:
    """Sets what TensorFlow reads once, and what children inherit."""
    # A shell starts its background jobs with SIGINT ignored, and so were what tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Each of the hundreds of processes that tests start would compile our modules anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # As the commands have it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # XLA on a CPU takes minutes to optimise networks of depthwise convolutions, and seconds to compile them.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files marked `long` first, so that the test processes end together.

    `--dist loadfile` keeps to this order with `--no-loadscope-reorder` alone.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Imports TensorFlow, Beam and TFX as the commands do."""
    with without_collector():
        found = yield
    if "apache_beam" in sys.modules:
        hurry_beam()
    session.stash[_LOADED] = len(sys.modules) + 100
    return found


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Keeps what tests have imported out of the collector's rounds, as `without_collector` does."""
    if nextitem is not None and nextitem.path != item.path and len(sys.modules) > item.session.stash[_LOADED]:
        item.session.stash[_LOADED] = len(sys.modules) + 100
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Keep what is left out of the collector's last round, which runs while Python ends.

    Processes that had loaded Transform graphs crashed there, after all their tests had passed; the cause is
    not known.
    """
    gc.collect()
    gc.freeze()


def _fail_instead_of_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if SKIP_IS_FAILURE and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which is a failure here: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_instead_of_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_instead_of_skip(report)
    return report
