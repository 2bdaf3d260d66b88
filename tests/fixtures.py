"""Expensive objects that several test modules share: `pytest_plugins = ["tests.fixtures"]` asks for them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.make import graphs


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], graphs.Tiny]:
    """Gives a tiny split and its Transform graph by the number of channels; made once a session."""
    return functools.cache(lambda channels: graphs.make_tiny(tmp_path_factory.mktemp("tiny"), channels))


@pytest.fixture(scope="session")
def export(
    tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable[[int], graphs.Tiny]
) -> Callable[[int], graphs.Exported]:
    """Gives an exported model of the tiny split by the number of channels; made once a session."""
    return functools.cache(
        lambda channels: graphs.export_tiny(
            make_tiny(channels), tmp_path_factory.mktemp("exported") / "model"
        )
    )
