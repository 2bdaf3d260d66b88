"""TensorFlow's profiler over some steps of every stage."""

import contextlib
import os

import tensorflow as tf


class Profile:
    """Records the steps `first` to `last`, as far as the stage has them.

    Args:
        folder: TensorBoard's, with a folder a stage.
        first: Counted from 1 in every stage.
        last: The last one that is recorded.
    """

    def __init__(self, folder: str, first: int, last: int):
        self._folder, self._first, self._last = folder, first, last
        self._is_running = False

    def covers(self, number: int) -> bool:
        """Return whether a step is recorded."""
        return self._first <= number <= self._last

    def begin(self, stage: str, number: int) -> contextlib.AbstractContextManager[None]:
        """Start recording; what is done in the context belongs to that step."""
        if not self._is_running:
            tf.profiler.experimental.start(os.path.join(self._folder, stage))
            self._is_running = True
        trace: contextlib.AbstractContextManager[None] = tf.profiler.experimental.Trace(
            "train", step_num=number, _r=1
        )
        return trace

    def end(self, number: int) -> None:
        """End a step; after the last one, write the recording."""
        if number == self._last:
            self.stop()

    def stop(self) -> None:
        """End the recording, if there is one, and write it."""
        if self._is_running:
            self._is_running = False
            # Else what a GPU is still at would be missing.
            tf.test.experimental.sync_devices()
            tf.profiler.experimental.stop()
