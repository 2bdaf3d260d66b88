"""Importing TensorFlow, Beam and TFX without the garbage collector in the way."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Keeps the garbage collector out, which else goes through all that is loaded again and again.

    That is a third or more of the CPU time of these imports (`make bench-node-start`). What is
    loaded stays out of its rounds for good.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
