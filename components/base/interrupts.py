"""Ctrl-C and SIGTERM as KeyboardInterrupt, wherever they come. Imports nothing heavy."""

import contextlib
import signal
from collections.abc import Iterator

# An interrupt that comes while Python runs a destructor, or is called back by C++, is lost: the exception
# goes nowhere. TensorFlow does much of both, so it is raised again until it gets through.
_AGAIN_SECS = 5.0


class _Hold:
    """Interrupts held back: the depth of what holds them, and if one has come. The main thread's alone."""

    def __init__(self) -> None:
        self.depth = 0
        self.came = False


_hold = _Hold()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the body for Ctrl-C, and for SIGTERM of service managers and schedulers."""

    def interrupt(number: int, frame: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECS)
        if _hold.depth:
            _hold.came = True
            return
        raise KeyboardInterrupt

    former = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        # A shell has its background jobs ignore SIGINT, which is then meant for others.
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _hold.came = False
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back the interrupts of `interruptible` until the body, which belongs together, has ended."""
    _hold.depth += 1
    try:
        yield
    finally:
        _hold.depth -= 1
    if _hold.came and not _hold.depth:
        _hold.came = False
        raise KeyboardInterrupt
