"""All the trackers that a recipe asks for, as one that never stops a training."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.base.errors import UsageError
from components.base.paths import is_remote
from components.base.redact import redact
from components.pictures.grid import Mark, draw_grid
from components.trainer.tracking import About, Tracker
from components.trainer.tracking.background import Background
from components.trainer.tracking.config import MlflowConfig, TrackingConfig, WandbConfig
from components.trainer.tracking.event_files import TensorBoard
from components.trainer.tracking.installed import check_installed
from components.trainer.tracking.mlflow_run import MlflowRun
from components.trainer.tracking.wandb_run import WandbRun, mode_of
from components.transform.config import TransformConfig
from components.transform.levels import known_levels, to_bytes

if TYPE_CHECKING:
    from components.trainer.input.examples import Examples
    from components.trainer.result import StageResult
    from components.trainer.trainee import Trainee

logger = logging.getLogger("mirante.trainer")

TENSORBOARD, PROFILER, WANDB, MLFLOW = "TensorBoard", "The profiler", "Weights & Biases", "MLflow"
MISTAKES = "mistakes"


class Trackers:
    """Passes a training's metrics and images to several trackers; `Trackers()` has none.

    A tracker that fails is logged once, and the training continues.

    Args:
        trackers: By name, for messages.
        config: The recipe's `training.tracking`.
        transform: How pixels were made, so that they can be shown.
        profile: Records steps.
    """

    def __init__(
        self,
        trackers: Mapping[str, Tracker] | None = None,
        config: TrackingConfig | None = None,
        transform: TransformConfig | None = None,
        profile: Profile | None = None,
    ):
        self._trackers = dict(trackers or {})
        self._config, self._transform = config or TrackingConfig(), transform
        self._profile = profile
        self._warned: set[str] = set()

    @contextlib.contextmanager
    def _unharmed(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as e:  # noqa: BLE001 - whatever goes wrong there, the training continues
            if what not in self._warned:
                logger.warning(
                    "%s fails, the training continues: %s: %s", what, type(e).__name__, redact(str(e))
                )
            self._warned.add(what)

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in self._trackers.items():
            with self._unharmed(name):
                call(tracker)

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take values of a stage at one of its steps, by name."""
        self._tell(lambda tracker: tracker.scalars(stage, step, values))

    def image(self, stage: str, step: int, name: str, image: Array) -> None:
        """Take an image uint8 [H, W, 3] of a stage at one of its steps."""
        self._tell(lambda tracker: tracker.image(stage, step, name, image))

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """Take the `tf.function` that does a step of a stage, and its arguments."""
        if self._config.graph:
            self._tell(lambda tracker: tracker.graph(stage, function, *args))

    @contextlib.contextmanager
    def step(self, stage: str, number: int) -> Iterator[None]:
        """Profile a step, counted from 1 in the stage, if the recipe says so."""
        if self._profile is None or not self._profile.covers(number):
            yield
            return
        trace: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        with self._unharmed(PROFILER):
            trace = self._profile.begin(stage, number)
        with trace:
            yield
        with self._unharmed(PROFILER):
            self._profile.end(number)

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take the values that a stage ended with, after its last step."""
        self._stop_profile()
        self._tell(lambda tracker: tracker.final(stage, step, values))

    def stage_over(
        self, stage: str, step: int, result: StageResult, examples: Examples, trainee: Trainee
    ) -> None:
        """Report what a stage ended with: its values, and the eval images that it got wrong.

        Args:
            stage: Its name.
            step: Its last step.
            result: The evaluation of the weights that it ended with.
            examples: The evaluated images.
            trainee: What is learned.
        """
        values = {"loss": result.loss, **result.metrics}
        self.final(stage, step, {f"eval_{name}": value for name, value in values.items()})
        if not self._trackers or not self._config.mistakes or self._transform is None:
            return
        with self._unharmed("The image of mistakes"):
            images, captions, marks = mistakes(result, examples, trainee, self._config.mistakes)
            if captions:
                pixels = to_bytes(images, known_levels(self._transform))
                self.image(stage, step, MISTAKES, draw_grid(pixels, captions, marks))

    def close(self, error: BaseException | None = None) -> None:
        """Close after the training; `error` is what stopped it, if it did not finish."""
        self._stop_profile()
        self._tell(lambda tracker: tracker.close(error))

    def _stop_profile(self) -> None:
        if self._profile is not None:
            with self._unharmed(PROFILER):
                self._profile.stop()


def make_trackers(
    config: TrackingConfig,
    about: About,
    transform: TransformConfig,
    *,
    curves_dir: str,
    model_run_dir: str,
    root: str,
) -> Trackers:
    """Return the trackers that `config` asks for, for the process of a training that reports.

    Args:
        config: The recipe's `training.tracking`.
        about: Which training.
        transform: How pixels were made.
        curves_dir: Where TensorBoard's files are during the training; may be a bucket.
        model_run_dir: Where they are copied in the end.
        root: The pipeline root, for what W&B and MLflow keep on this machine.

    Raises:
        UsageError: One of them is not installed, or has no place for what it keeps.
    """
    check_installed(config)
    trackers: dict[str, Tracker] = {}
    profile = None
    if config.tensorboard:
        trackers[TENSORBOARD] = TensorBoard(curves_dir, model_run_dir, about.settings)
        if config.profile_steps is not None:
            profile = Profile(curves_dir, *config.profile_steps)
    if config.wandb is not None:
        trackers[WANDB] = _wandb(config.wandb, about, root)
    if config.mlflow is not None:
        trackers[MLFLOW] = _mlflow(config.mlflow, about, root)
    return Trackers(trackers, config, transform, profile)


def _wandb(config: WandbConfig, about: About, root: str) -> Tracker:
    if is_remote(root):
        if mode_of(config) == "offline" and "WANDB_DIR" not in os.environ:
            raise UsageError(
                f"training.tracking.wandb.mode: offline keeps the run in a folder of this machine, and the "
                f"pipeline's root is {root}: set the environment variable WANDB_DIR to one that stays"
            )
        # What is sent does not depend on the folder.
        root = tempfile.mkdtemp()

    return Background(WANDB, lambda: WandbRun(config, about, root))


def _mlflow(config: MlflowConfig, about: About, root: str) -> Tracker:
    if is_remote(root) and not (config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")):
        raise UsageError(
            "training.tracking.mlflow.tracking_uri: without it runs are kept in a database under the "
            f"pipeline's root, which cannot be at {root}: give it, or set MLFLOW_TRACKING_URI"
        )

    return Background(MLFLOW, lambda: MlflowRun(config, about, root))


def mistakes(
    result: StageResult, examples: Examples, trainee: Trainee, count: int
) -> tuple[Array, list[str], list[list[Mark]]]:
    """Return the worst mistakes.

    Args:
        result: The predictions.
        examples: The images that they are for, by their rows.
        trainee: What is learned.
        count: The most to return.

    Returns:
        Images float32 [N, H, W, C] as the network sees them, the worst first, and for each what is written
        below it and which boxes are drawn on it.
    """
    worst = trainee.mistakes(result, examples.labels[result.rows], count)
    if not worst:
        return np.empty((0, 1, 1, 1), np.float32), [], []
    places, captions, marks = zip(*worst, strict=True)
    rows = tf.data.Dataset.from_tensors(result.rows[list(places)])
    images, _ = next(iter(rows.map(tf.autograph.experimental.do_not_convert(examples.load))))
    return images.numpy(), list(captions), list(marks)


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
