"""Checkpoints of a running training: all that it takes to resume as if undisturbed.

A checkpoint holds every variable of the model (batch norm statistics and the state of random generators among
them), of the optimiser, the number of steps done, and what the loop knows: stage, epoch, sums of the epoch,
the best epoch so far. What a step sees is a function of the seed and its number
(components/trainer/input/batches.py), so the number is the position in the data.

They are TensorFlow checkpoints, written under another name first: a full disk or a kill leaves the former
one. The keys are the variables' paths: `weights/<path>`, `optimizer/<path>`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from components.base.owned import MARK, is_mark, mark_text
from components.models import refresh_constants
from components.trainer.config import CheckpointConfig

logger = logging.getLogger("mirante.trainer")
# Other trainings whose checkpoints are kept next to the running one's.
OTHER_TRAININGS = 2
# What TensorFlow raises for a checkpoint that is damaged: mostly the general one, without a kind.
_UNREADABLE = (tf.errors.OpError, IndexError, ValueError)
_NOT_DAMAGE = (tf.errors.ResourceExhaustedError, tf.errors.UnavailableError, tf.errors.DeadlineExceededError)
_STATE_KEY = "state/.ATTRIBUTES/py_state"


def by_path(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    """Return TensorFlow's variables by the paths of Keras' variables; see `unique_paths`."""
    return {path: variable.value for path, variable in unique_paths(variables).items()}


def unique_paths(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables by their path, numbered where two layers have the same path."""
    named: dict[str, keras.Variable] = {}
    for variable in variables:
        path, number = variable.path, 2
        while path in named:
            path, number = f"{variable.path}__{number}", number + 1
        named[path] = variable
    return named


class _State(tf.train.experimental.PythonState):
    """The loop's progress, as JSON."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def serialize(self) -> str:
        return json.dumps(self.values)

    def deserialize(self, string_value: bytes) -> None:
        self.values = json.loads(string_value)


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: The training's own; may be a bucket (`gs://`).
        config: The recipe's part `training.checkpoints`.
        is_chief: Whether this process writes; the others only take part in reading the variables.
    """

    def __init__(
        self,
        folder: str,
        config: CheckpointConfig = CheckpointConfig(),  # noqa: B008 - frozen
        *,
        is_chief: bool = True,
    ):
        self.folder = folder
        self._config = config
        self._is_chief = is_chief
        self._own = folder if is_chief else tempfile.mkdtemp()

    def state(self) -> dict[str, Any] | None:
        """Return what the latest checkpoint knows of the loop; None without a checkpoint."""
        latest = tf.train.latest_checkpoint(self.folder)
        if latest is None:
            return None
        text = tf.train.load_checkpoint(latest).get_tensor(_STATE_KEY)
        state: dict[str, Any] = json.loads(text)
        return state

    def discard_damaged(self) -> None:
        """Remove this training's checkpoints if one that it resumes from cannot be read: it starts anew.

        TensorFlow compares each tensor with its checksum. In a cluster only the chief does so.
        """
        if not self._is_chief:
            return
        best = os.path.join(self.folder, "best")
        try:
            for folder in (self.folder, best):
                _read_latest(folder)
        except _NOT_DAMAGE:
            raise
        except _UNREADABLE as e:
            logger.warning(
                "%s: a checkpoint is damaged (%s): the training starts anew",
                self.folder,
                str(e).splitlines()[0] if str(e) else type(e).__name__,
            )
            for name in (*_starting(self.folder, "ckpt-"), *_starting(self.folder, "checkpoint")):
                _remove(name)
            if tf.io.gfile.exists(best):
                _remove(best)

    def saver(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        step: tf.Variable,
        averages: Mapping[str, tf.Variable],
    ) -> Saver:
        """Return a saver for the training of `model` by `optimizer`, with the averages of its weights."""
        keep = self._config.keep if self._is_chief else 1
        return Saver(self.folder, self._own, keep, model, optimizer, step, averages)

    def save_best(self, model: keras.Model) -> None:
        """Save the model's variables as the best so far, replacing the former best."""
        checkpoint = tf.train.Checkpoint(weights=by_path(model.variables))
        tf.train.CheckpointManager(checkpoint, os.path.join(self._own, "best"), max_to_keep=1).save()

    def restore_best(self, model: keras.Model) -> None:
        """Give the model the variables that `save_best` saved."""
        latest = tf.train.latest_checkpoint(os.path.join(self._own, "best"))
        tf.train.Checkpoint(weights=by_path(model.variables)).read(latest).assert_existing_objects_matched()

    def restore_weights(self, model: keras.Model) -> None:
        """Give the model the variables of the latest checkpoint, whatever its stage."""
        latest = tf.train.latest_checkpoint(self.folder)
        checkpoint = tf.train.Checkpoint(weights=by_path(model.variables))
        checkpoint.read(latest).assert_existing_objects_matched().expect_partial()
        refresh_constants(model)

    def finish(self) -> None:
        """Remove all but the latest checkpoint: the training is done, but its result is not yet saved."""
        if not self._is_chief:
            return
        latest = tf.train.latest_checkpoint(self.folder)
        for name in _starting(self.folder, "ckpt-"):
            if latest is None or not os.path.basename(name).startswith(f"{os.path.basename(latest)}."):
                _remove(name)
        best = os.path.join(self.folder, "best")
        if tf.io.gfile.exists(best):
            _remove(best)

    def remove_others(self) -> None:
        """Remove the checkpoints of other trainings next to this one, except the latest few.

        Marks its own folder: a folder without a mark is not known to be a training's, and stays.
        """
        if not self._is_chief:
            return
        parent, own = os.path.split(self.folder.rstrip("/"))
        tf.io.gfile.makedirs(self.folder)
        with tf.io.gfile.GFile(os.path.join(self.folder, MARK), "w") as file:
            file.write(mark_text(own))
        names = {name.rstrip("/") for name in tf.io.gfile.listdir(parent)} - {own}
        folders = [os.path.join(parent, name) for name in names if _is_marked(parent, name)]
        folders.sort(key=lambda folder: -tf.io.gfile.stat(folder).mtime_nsec)
        for folder in folders[OTHER_TRAININGS:]:
            _remove(folder)


class Saver:
    """Saves and restores one stage of a training."""

    def __init__(
        self,
        folder: str,
        own: str,
        keep: int,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        step: tf.Variable,
        averages: Mapping[str, tf.Variable] | None = None,
    ):
        self._folder = folder
        self._state = _State()
        self._checkpoint = tf.train.Checkpoint(
            weights=by_path(model.variables),
            optimizer=by_path(optimizer.variables),
            step=step,
            state=self._state,
            **({"averages": dict(averages)} if averages else {}),
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, own, max_to_keep=keep)

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint."""
        self._state.values = state
        # Continue the latest one's numbers, so that a stage does not write over the one before.
        latest = tf.train.latest_checkpoint(self._manager.directory)
        number = int(latest.rpartition("-")[2]) + 1 if latest else 1
        try:
            self._manager.save(number)
        except BaseException:
            # A full disk, or an interrupt: half a checkpoint only takes space. The former one is whole.
            for rest in (".", "_temp"):
                for name in _starting(self._manager.directory, f"ckpt-{number}{rest}"):
                    _remove(name)
            raise

    def restore(self) -> dict[str, Any]:
        """Restore the latest checkpoint; return what it knows of the loop."""
        latest = tf.train.latest_checkpoint(self._folder)
        self._checkpoint.restore(latest).assert_consumed()
        return self._state.values


def _read_latest(folder: str) -> None:
    latest = tf.train.latest_checkpoint(folder)
    if latest is not None:
        reader = tf.train.load_checkpoint(latest)
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)


def _starting(folder: str, start: str) -> list[str]:
    """Return the paths in a folder whose names start with `start`; the folder is not a pattern."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    return [os.path.join(folder, name.rstrip("/")) for name in names if name.startswith(start)]


def _is_marked(parent: str, name: str) -> bool:
    path = os.path.join(parent, name, MARK)
    if not tf.io.gfile.exists(path):
        return False
    with tf.io.gfile.GFile(path) as file:
        return is_mark(file.read(), name)


def _remove(path: str) -> None:
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    else:
        tf.io.gfile.remove(path)
