"""TensorBoard's event files."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from components.base.arrays import Array


class TensorBoard:
    """Event files, one folder per stage.

    TFX removes what a node has written when it fails or is killed. But then the curves are needed most, and
    the next attempt continues them: so they can be written elsewhere first.

    Args:
        folder: The folder of the stages' folders; may be a bucket.
        copy_to: Gets a copy of all files when the training has finished.
        settings: Shown as text next to the curves.
    """

    def __init__(self, folder: str, copy_to: str | None = None, settings: Mapping[str, Any] | None = None):
        self._folder, self._copy_to = folder, copy_to
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        if settings:
            with self._writer("").as_default():
                text = json.dumps(settings, indent=2, default=str)
                # Four spaces more: preformatted, in Markdown.
                tf.summary.text("settings", "    " + text.replace("\n", "\n    "), step=0)

    def _writer(self, stage: str) -> tf.summary.SummaryWriter:
        if stage not in self._writers:
            self._writers[stage] = tf.summary.create_file_writer(os.path.join(self._folder, stage))
        return self._writers[stage]

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write one point to each curve."""
        with self._writer(stage).as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)

    def image(self, stage: str, step: int, name: str, image: Array) -> None:
        """Write an image."""
        with self._writer(stage).as_default():
            tf.summary.image(name, image[np.newaxis], step=step)

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """Write the graph of a function for these arguments; nothing if it runs without a graph."""
        concrete = getattr(function, "get_concrete_function", None)
        if concrete is not None:
            with self._writer(stage).as_default():
                tf.summary.graph(concrete(*args).graph)

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write one point to each curve `final/...`, and flush the files."""
        self.scalars(stage, step, {f"final/{name}": value for name, value in values.items()})
        self._writer(stage).flush()

    def close(self, error: BaseException | None = None) -> None:
        """Close the event files, and copy them if the training has finished."""
        for writer in self._writers.values():
            writer.close()
        if self._copy_to is not None and error is None:
            copy_tree(self._folder, self._copy_to)


def copy_tree(source: str, target: str) -> None:
    """Copy all files below one folder to another; both may be in a bucket."""
    for folder, _, names in tf.io.gfile.walk(source):
        inner = folder[len(source) :].strip("/")
        tf.io.gfile.makedirs(os.path.join(target, inner))
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(target, inner, name), overwrite=True)
