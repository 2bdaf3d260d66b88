"""Expensive objects that several test modules share: `pytest_plugins = ["tests.fixtures"]` asks for them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.make import graphs


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the processes of this run of pytest share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def make_tiny(run_folder: Path) -> Callable[[int], graphs.Tiny]:
    """Gives a tiny split and its Transform graph by the number of channels; made once a run."""
    return functools.cache(lambda channels: graphs.make_tiny(run_folder / f"tiny-{channels}", channels))


@pytest.fixture(scope="session")
def export(run_folder: Path, make_tiny: Callable[[int], graphs.Tiny]) -> Callable[[int], graphs.Exported]:
    """Gives an exported model of the tiny split by the number of channels; made once a run."""
    return functools.cache(
        lambda channels: graphs.export_tiny(make_tiny(channels), run_folder / f"exported-{channels}")
    )
