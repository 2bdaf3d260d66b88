"""Imports TensorFlow, Beam and TFX faster, without the garbage collector."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Turn the garbage collector off during imports; otherwise it rescans every loaded object many times.

    That takes a third or more of the CPU time of these imports (`make bench-node-start`). The collector
    never scans the loaded objects later, either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
