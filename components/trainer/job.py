"""One training, as data: what TFX's arguments say, which every process of a cluster must know."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft

from components.base.errors import UsageError
from components.models import build_model, refresh_constants
from components.models.config import ModelConfig
from components.tasks.classification.trainer import Classification
from components.trainer import export
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fields import chosen, in_words, put
from components.trainer.fit import fit
from components.trainer.input import SplitInput
from components.trainer.inputs_shown import InputPictures
from components.trainer.strategy import Place, make_place
from components.trainer.tracking import About
from components.trainer.tracking.event_files import copy_tree
from components.trainer.tracking.trackers import Trackers, make_trackers
from components.trainer.trainee import Task
from components.trainer.warm_start import start as warm_start
from components.transform.config import TransformConfig
from components.transform.levels import Levels, measured_levels
from schemas import features
from schemas.curated import class_names_of, task_of

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

logger = logging.getLogger("mirante.trainer")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a training is determined by, and where its results go. All of it can be written as JSON.

    Attributes:
        train_files: Patterns of the `train` split's TFRecord files.
        eval_files: Patterns of the `eval` split's.
        transform_output: Transform's folder.
        schema_path: The schema, with the classes.
        custom_config: The recipe's parts `transform`, `model` and `training`, what else tells one training
            from another, and in `about` what it is called: `recipe` and `data`.
        serving_model_dir: Where the SavedModel goes.
        model_run_dir: Where curves and the Keras model go.
        base_model: The SavedModel that was blessed last, where the training is to start from it.
    """

    train_files: Sequence[str]
    eval_files: Sequence[str]
    transform_output: str
    schema_path: str
    custom_config: dict[str, Any]
    serving_model_dir: str
    model_run_dir: str
    base_model: str | None = None

    @classmethod
    def of(cls, fn_args: FnArgs) -> Job:
        """Of TFX's arguments, the values that a search chose in their places."""
        job = cls(**{field.name: getattr(fn_args, field.name) for field in dataclasses.fields(cls)})
        if not fn_args.hyperparameters:
            return job
        values = chosen(fn_args.hyperparameters)
        logger.info("as the search chose: %s", in_words(values))
        return dataclasses.replace(job, custom_config=put(job.custom_config, values))

    @property
    def name(self) -> str:
        """A name derived from everything that determines the training, and from nothing else."""
        files = sorted(
            (name, tf.io.gfile.stat(name).length)
            for patterns in (self.train_files, self.eval_files)
            for pattern in patterns
            for name in tf.io.gfile.glob(pattern)
        )
        # How often it is saved and how long it is waited for do not matter to what comes out.
        training = dict(self.custom_config["training"])
        for key in ("checkpoints", "guard", "tracking"):
            training.pop(key, None)
        determines = {**self.custom_config, "training": training}
        for key in ("checkpoints", "about"):
            determines.pop(key, None)
        start = warm_start.source_digest(TrainingConfig.model_validate(training), self.base_model)
        if start is not None:
            determines["warm_start"] = [self.base_model, start]
        text = json.dumps([files, self.transform_output, self.schema_path, determines], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Material:
    """What a training is made from; decoded once for however many trainings.

    Attributes:
        tft_output: The Transform graph.
        kind: What is learned, `classification` or `detection`.
        class_names: In the order of the labels.
        input_shape: Height and width in pixels, and channels.
        train: What is learned from.
        evaluation: What steers.
        levels: What Transform makes of black and white, for augmentation and pictures.
        base_model: As the job has it.
    """

    tft_output: tft.TFTransformOutput
    kind: str
    class_names: list[str]
    input_shape: tuple[int, int, int]
    train: SplitInput
    evaluation: SplitInput
    levels: Levels
    base_model: str | None

    @classmethod
    def of(cls, job: Job, training: TrainingConfig) -> Material:
        """Of a job, kept where `training.cache` says."""
        transform = TransformConfig.model_validate(job.custom_config["transform"])
        tft_output = tft.TFTransformOutput(job.transform_output)
        schema = tfdv.load_schema_text(job.schema_path)
        kind, class_names = task_of(schema), class_names_of(schema)
        input_shape = (transform.height_px, transform.width_px, transform.channels)
        model_config = ModelConfig.model_validate(job.custom_config["model"])
        task = _task(kind, class_names, model_config, training, input_shape)
        return cls(
            tft_output,
            kind,
            class_names,
            input_shape,
            SplitInput(features.TRAIN, list(job.train_files), tft_output, task, training.cache),
            SplitInput(features.EVAL, list(job.eval_files), tft_output, task, training.cache),
            measured_levels(tft_output, transform),
            job.base_model,
        )

    def task(self, model_config: ModelConfig, training: TrainingConfig) -> Task:
        """What is learned, as these settings have it."""
        return _task(self.kind, self.class_names, model_config, training, self.input_shape)


def _task(
    kind: str,
    class_names: list[str],
    model_config: ModelConfig,
    training: TrainingConfig,
    input_shape: tuple[int, int, int],
) -> Task:
    if kind != model_config.task:
        raise UsageError(
            f"model.name: {model_config.name} is for {model_config.task}, and the examples' schema is that "
            f"of {kind}: give a network for {kind}, or other data"
        )
    if kind == features.DETECTION:
        from components.tasks.detection.trainer import Detection

        return Detection(class_names, model_config, input_shape)
    return Classification(class_names, training.label_smoothing)


def run_job(job: Job, training: TrainingConfig) -> None:
    """Trains and exports; goes on from the last checkpoint of the same training.

    Raises:
        MiranteError: See `components.trainer.run_fn`.
    """
    place = make_place(training)
    model_config = ModelConfig.model_validate(job.custom_config["model"])
    material = Material.of(job, training)
    name = job.name
    checkpoints = Checkpoints(
        os.path.join(job.custom_config["checkpoints"], name),
        training.checkpoints.keep,
        is_chief=place.is_chief,
    )
    checkpoints.remove_others()
    checkpoints.discard_damaged()
    transform = TransformConfig.model_validate(job.custom_config["transform"])
    tracker = _trackers(job, name, training, transform) if place.is_chief else Trackers()
    # Beside the checkpoints: TFX removes `model_run_dir` when the node fails or is killed.
    pictures = os.path.join(checkpoints.folder, "pictures")
    task = material.task(model_config, training)
    show = InputPictures(pictures, tracker, task, material.levels)
    try:
        model = train(
            model_config, training, material, place, checkpoints, tracker, job.model_run_dir, show=show
        )
    except BaseException as e:
        tracker.close(e)
        raise
    tracker.close()
    if place.is_chief:
        copy_tree(pictures, job.model_run_dir)
    build_in = functools.partial(build, model_config, training, material)
    _write(job, place, model, build_in, lambda model: task.serving(model, material.tft_output))


def train(
    model_config: ModelConfig,
    training: TrainingConfig,
    material: Material,
    place: Place,
    checkpoints: Checkpoints,
    tracker: Trackers,
    report_folder: str,
    *,
    show: InputPictures | None = None,
) -> keras.Model:
    """Builds a network and trains it, from where the last checkpoint is; returns it trained.

    `report_folder` gets what `training.warm_start` has to tell, `show` what the network is given first.
    """
    model = build(model_config, training, material, training.precision, place.strategy)
    starts_pretrained = warm_start.begin(
        model, training, material.base_model, place, checkpoints, report_folder, material.class_names
    )
    fit(
        model,
        material.train,
        material.evaluation,
        training,
        material.task(model_config, training),
        pretrained=model_config.weights is not None or starts_pretrained,
        place=place,
        checkpoints=checkpoints,
        tracker=tracker,
        levels=material.levels,
        show=show,
    )
    return model


def build(
    model_config: ModelConfig,
    training: TrainingConfig,
    material: Material,
    precision: str,
    strategy: tf.distribute.Strategy,
) -> keras.Model:
    """The network before training; the same for the same seed, whatever was built before."""
    # Names of layers are counted from here; not under the strategy, whose stack it would clear too.
    keras.backend.clear_session()
    keras.utils.set_random_seed(training.seed)
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        with strategy.scope():
            return build_model(model_config, material.input_shape, len(material.class_names))
    finally:
        keras.config.set_dtype_policy(former)


def _trackers(job: Job, name: str, training: TrainingConfig, transform: TransformConfig) -> Trackers:
    about = job.custom_config.get("about", {})
    settings = {key: dict(job.custom_config[key]) for key in ("model", "training", "transform")}
    settings["training"].pop("tracking", None)
    checkpoints = job.custom_config["checkpoints"]
    return make_trackers(
        training.tracking,
        About(name, f"{about.get('recipe', 'training')}-{name[:6]}", {**about, **settings}),
        transform,
        # TFX removes `model_run_dir` when the node fails or is killed; the checkpoints stay.
        curves_dir=os.path.join(checkpoints, name, "tensorboard"),
        model_run_dir=job.model_run_dir,
        root=os.path.dirname(checkpoints.rstrip("/")),
    )


def _write(
    job: Job,
    place: Place,
    model: keras.Model,
    build: Any,
    serving: Callable[[keras.Model], export.ServingModule],
) -> None:
    # Reading them takes all processes, writing one.
    weights = model.get_weights()
    if not place.is_chief:
        return
    if place.num_replicas > 1 or model.dtype_policy.name != "float32":
        # What is served runs on one device, in 32 bits, wherever and however it was trained.
        model = build("float32", tf.distribute.get_strategy())
        model.set_weights(weights)
        refresh_constants(model)
    export.save_module(serving(model), job.serving_model_dir)
    model.save(f"{job.model_run_dir}/model.keras")
