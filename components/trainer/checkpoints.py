"""Checkpoints of a training that is going on: all that it takes to go on as if nothing had happened.

A checkpoint holds every variable of the model (batch norm statistics and the state of random generators among
them), of the optimiser, the number of steps done, and what the loop knows: stage, epoch, sums of the epoch,
the best epoch so far. What a step sees is a function of the seed and its number
(components/trainer/input.py), so the number is the position in the data.

They are TensorFlow checkpoints, written under another name first: a full disk or a kill leaves the former
one. The keys are the variables' paths: `weights/<path>`, `optimizer/<path>`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from components.base.owned import MARK, is_mark, mark_text
from components.models import refresh_constants

logger = logging.getLogger("mirante.trainer")
# Trainings whose checkpoints are kept beside the one that is going on.
OTHER_TRAININGS = 2
# What TensorFlow raises for a checkpoint that is damaged: mostly the general one, without a kind.
_UNREADABLE = (tf.errors.OpError, IndexError, ValueError)
_NOT_DAMAGE = (tf.errors.ResourceExhaustedError, tf.errors.UnavailableError, tf.errors.DeadlineExceededError)
_STATE_KEY = "state/.ATTRIBUTES/py_state"


def by_path(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    """TensorFlow's variables by the path of Keras', made unique where two layers have the same."""
    return {path: variable.value for path, variable in unique_paths(variables).items()}


def unique_paths(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Variables by their path, made unique where two layers have the same."""
    named: dict[str, keras.Variable] = {}
    for variable in variables:
        path, number = variable.path, 2
        while path in named:
            path, number = f"{variable.path}__{number}", number + 1
        named[path] = variable
    return named


class _State(tf.train.experimental.PythonState):
    """What the loop knows, as JSON."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def serialize(self) -> str:
        return json.dumps(self.values)

    def deserialize(self, string_value: bytes) -> None:
        self.values = json.loads(string_value)


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: Theirs alone; may be a bucket (`gs://`).
        keep: How many of the latest are kept.
        is_chief: Whether this process writes; the others only take part in reading the variables.
    """

    def __init__(self, folder: str, keep: int, *, is_chief: bool = True):
        self.folder = folder
        self._keep = keep
        self._is_chief = is_chief
        self._own = folder if is_chief else tempfile.mkdtemp()

    def state(self) -> dict[str, Any] | None:
        """What the latest checkpoint says of the loop; None without one."""
        latest = tf.train.latest_checkpoint(self.folder)
        if latest is None:
            return None
        text = tf.train.load_checkpoint(latest).get_tensor(_STATE_KEY)
        state: dict[str, Any] = json.loads(text)
        return state

    def discard_damaged(self) -> None:
        """Remove this training's checkpoints if one that it goes on from cannot be read: it begins anew.

        TensorFlow compares each tensor with its checksum. Of several processes the chief alone looks.
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
                "%s: a checkpoint is damaged (%s): the training begins anew",
                self.folder,
                str(e).splitlines()[0] if str(e) else type(e).__name__,
            )
            for name in (*_starting(self.folder, "ckpt-"), *_starting(self.folder, "checkpoint")):
                _remove(name)
            if tf.io.gfile.exists(best):
                _remove(best)

    def saver(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, step: tf.Variable) -> Saver:
        """What saves and restores the training of `model` by `optimizer`."""
        return Saver(self.folder, self._own, self._keep if self._is_chief else 1, model, optimizer, step)

    def save_best(self, model: keras.Model) -> None:
        """Keeps the model's variables as the best so far, in place of the former best."""
        checkpoint = tf.train.Checkpoint(weights=by_path(model.variables))
        tf.train.CheckpointManager(checkpoint, os.path.join(self._own, "best"), max_to_keep=1).save()

    def restore_best(self, model: keras.Model) -> None:
        """Gives the model the variables that `save_best` kept."""
        latest = tf.train.latest_checkpoint(os.path.join(self._own, "best"))
        tf.train.Checkpoint(weights=by_path(model.variables)).read(latest).assert_existing_objects_matched()

    def restore_weights(self, model: keras.Model) -> None:
        """Gives the model the variables of the latest checkpoint, whatever stage it is of."""
        latest = tf.train.latest_checkpoint(self.folder)
        checkpoint = tf.train.Checkpoint(weights=by_path(model.variables))
        checkpoint.read(latest).assert_existing_objects_matched().expect_partial()
        refresh_constants(model)

    def finish(self) -> None:
        """Removes all but the latest: the training is done, its result not yet handed on."""
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
        """Removes the checkpoints of other trainings beside this one, the latest few apart.

        Marks its own folder: what has no mark is not known to be a training's, and stays.
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
    ):
        self._folder = folder
        self._state = _State()
        self._checkpoint = tf.train.Checkpoint(
            weights=by_path(model.variables),
            optimizer=by_path(optimizer.variables),
            step=step,
            state=self._state,
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, own, max_to_keep=keep)

    def save(self, state: dict[str, Any]) -> None:
        """Writes a checkpoint of now."""
        self._state.values = state
        # On from the latest one's number: a stage does not write over the one before.
        latest = tf.train.latest_checkpoint(self._manager.directory)
        number = int(latest.rpartition("-")[2]) + 1 if latest else 1
        try:
            self._manager.save(number)
        except BaseException:
            # A full disk, or an interrupt: half a checkpoint only takes room. The former one is whole.
            for rest in (".", "_temp"):
                for name in _starting(self._manager.directory, f"ckpt-{number}{rest}"):
                    _remove(name)
            raise

    def restore(self) -> dict[str, Any]:
        """Goes back to the latest checkpoint; returns what it says of the loop."""
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
    """Return the paths in a folder whose names start so; the folder's own is not taken for a pattern."""
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
