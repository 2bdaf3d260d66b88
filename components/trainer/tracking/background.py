"""A tracker in its own thread, so that neither a slow network nor a dead one delays the training."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from components.base.redact import redact
from components.trainer.tracking import Tracker

if TYPE_CHECKING:
    from components.base.arrays import Array

logger = logging.getLogger("mirante.trainer")

# Seconds that the end of a training waits for unsent values.
CLOSE_SECS = 60.0


class Background:
    """Passes everything on to another tracker, in order, in a thread that also makes that tracker.

    What fails is warned about once. A tracker that cannot be made is done without; a call that fails is lost,
    and the next one is tried.

    Args:
        what: The tracker's name, for messages.
        make: Makes it.
        close_secs: How long `close` waits.
    """

    def __init__(self, what: str, make: Callable[[], Tracker], close_secs: float = CLOSE_SECS):
        self._what, self._make, self._close_secs = what, make, close_secs
        self._calls: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        self._has_warned = self._is_given_up = False
        # A daemon, so that a hanging connection does not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"mirante-{what}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            tracker = self._make()
        except Exception as e:  # noqa: BLE001 - whatever goes wrong there, the training continues
            self._is_given_up = True
            self._warn(f"{_first_line(e)}; nothing of this training goes there")
            return
        while (call := self._calls.get()) is not None:
            try:
                call(tracker)
            except Exception as e:  # noqa: BLE001 - see above
                self._warn(f"{_first_line(e)}; what could not be sent is lost, later values are tried")

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            logger.warning("%s fails, the training continues: %s", self._what, text)
        self._has_warned = True

    def _put(self, call: Callable[[Tracker], None]) -> None:
        if not self._is_given_up:
            self._calls.put(call)

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Pass the values on."""
        self._put(lambda tracker: tracker.scalars(stage, step, values))

    def image(self, stage: str, step: int, name: str, image: Array) -> None:
        """Pass the image on."""
        self._put(lambda tracker: tracker.image(stage, step, name, image))

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """Do nothing: TensorFlow's functions belong to the training's thread."""

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Pass the values on."""
        self._put(lambda tracker: tracker.final(stage, step, values))

    def close(self, error: BaseException | None = None) -> None:
        """Pass it on, and wait for a while until all is sent."""
        self._put(lambda tracker: tracker.close(error))
        self._calls.put(None)
        self._thread.join(self._close_secs)
        if self._thread.is_alive():
            logger.warning(
                "%s has not taken all values %.0f s after the training: what is missing there is lost",
                self._what,
                self._close_secs,
            )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {redact(text.splitlines()[0])[:300]}" if text else type(error).__name__
