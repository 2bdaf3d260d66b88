"""Trains a job's network and exports it."""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable

import keras
import tensorflow as tf

from components.base.arrays import Array
from components.base.errors import MiranteError
from components.models import build_model, refresh_constants
from components.models.config import ModelConfig
from components.pictures.grid import draw_grid
from components.trainer import class_balance, export, warm_up
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fit import fit
from components.trainer.job import Job
from components.trainer.material import Material
from components.trainer.run import Run
from components.trainer.step import build_evaluate, copy_weights
from components.trainer.strategy import Place, make_place
from components.trainer.tracking import About
from components.trainer.tracking.event_files import copy_tree
from components.trainer.tracking.trackers import Trackers, make_trackers
from components.trainer.trainee import Trainee
from components.trainer.warm_start import start as warm_start
from components.transform.config import TransformConfig
from components.transform.levels import Levels, to_bytes

logger = logging.getLogger("mirante.trainer")
# Images of a grid of inputs.
MOST_IMAGES = 36


def run_job(job: Job, training: TrainingConfig) -> None:
    """Train and export, from the last checkpoint of the same training on.

    Raises:
        MiranteError: See `components.trainer.run_fn`.
    """
    place = make_place(training)
    model_config = ModelConfig.model_validate(job.custom_config["model"])
    material = Material.of(job, training)
    name = job.name
    checkpoints = Checkpoints(
        os.path.join(job.custom_config["checkpoints"], name), training.checkpoints, is_chief=place.is_chief
    )
    checkpoints.remove_others()
    checkpoints.discard_damaged()
    transform = TransformConfig.model_validate(job.custom_config["transform"])
    tracker = _make_trackers(job, name, training, transform) if place.is_chief else Trackers()
    # Next to the checkpoints: TFX removes `model_run_dir` when the node fails or is killed.
    images = os.path.join(checkpoints.folder, "images")
    trainee = material.make_trainee(model_config, training)
    run = Run(
        trainee,
        material.train,
        material.evaluation,
        training,
        place,
        checkpoints,
        tracker,
        material.levels,
        ShowInputs(images, tracker, trainee, material.levels),
    )
    if place.is_chief:
        class_balance.report(training, material.class_names, material.train, job.model_run_dir)
    try:
        model = train(model_config, material, run, job.model_run_dir)
    except BaseException as e:
        tracker.close(e)
        raise
    tracker.close()
    if place.is_chief:
        copy_tree(images, job.model_run_dir)
    # Reading the weights takes all processes, writing them one.
    weights = model.get_weights()
    if place.is_chief:
        model = _as_served(model, weights, place, functools.partial(build, model_config, material, training))
        one_device = Place(tf.distribute.get_strategy())
        trainee.calibrate(
            material.evaluation.labels,
            lambda: build_evaluate(model, trainee, material.evaluation, training, one_device)(),
        )
        served = trainee.serving(model, material.tft_output)
        served.bit_depth = job.custom_config.get("bit_depth")
        if transform.resize == "pad":
            served.padded_to = transform.height_px, transform.width_px
        export.save_module(served, job.serving_model_dir, material.evaluation.take_records(warm_up.IMAGES))
        model.save(f"{job.model_run_dir}/model.keras")


def train(model_config: ModelConfig, material: Material, run: Run, report_folder: str) -> keras.Model:
    """Build a network and train it, from its last checkpoint on; return it trained.

    Args:
        model_config: The recipe's part `model`.
        material: What the training is made from.
        run: The training.
        report_folder: Gets the report of `training.warm_start`.
    """
    model = build(model_config, material, run.config, run.config.precision, run.place.strategy)
    starts_pretrained = warm_start.begin(
        model, run, material.base_model, report_folder, model_config.detection
    )
    pretrained = model_config.weights is not None or starts_pretrained
    shape = run.config.train_shape(material.input_shape)
    if shape == material.input_shape:
        fit(model, run, pretrained=pretrained)
        return model
    of_shape = dataclasses.replace(material, input_shape=shape)
    smaller = build(model_config, of_shape, run.config, run.config.precision, run.place.strategy)
    sizes = [variable.shape for variable in smaller.variables]
    if sizes != [variable.shape for variable in model.variables]:
        raise MiranteError(
            f"training.train_px: {model_config.name} has other weights for images of {shape[0]} x {shape[1]} "
            "px than for those of the run: have it average over the image, or leave train_px out"
        )
    copy_weights(model, smaller)
    fit(smaller, run, pretrained=pretrained, whole_size=model)
    return model


def build(
    model_config: ModelConfig,
    material: Material,
    training: TrainingConfig,
    precision: str,
    strategy: tf.distribute.Strategy,
) -> keras.Model:
    """Build the network before training; equal seeds give equal networks, whatever was built before."""
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


def _make_trackers(job: Job, name: str, training: TrainingConfig, transform: TransformConfig) -> Trackers:
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


def _as_served(
    model: keras.Model,
    weights: list[Array],
    place: Place,
    build: Callable[[str, tf.distribute.Strategy], keras.Model],
) -> keras.Model:
    """Return the network on one device and in 32 bits, as it is served however it was trained."""
    if place.num_replicas == 1 and model.dtype_policy.name == "float32":
        return model
    served = build("float32", tf.distribute.get_strategy())
    served.set_weights(weights)
    refresh_constants(served)
    return served


def save_png(path: str, array: Array) -> None:
    """Write uint8 [H, W, 3] to a file, which may be in a bucket; create its folders."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(tf.io.encode_png(array).numpy())


class ShowInputs:
    """Shows a stage's first batch as the network sees it.

    The image goes to `<folder>/<stage>/inputs.png` and to the tracker.

    Args:
        folder: May be in a bucket.
        tracker: Follows the training.
        trainee: Says what labels mean.
        levels: Those of the images.
    """

    def __init__(self, folder: str, tracker: Trackers, trainee: Trainee, levels: Levels):
        self._folder, self._tracker = folder, tracker
        self._trainee, self._levels = trainee, levels

    def __call__(self, stage: str, images: Array, labels: Array) -> None:
        """Show images [N, H, W, C] with labels [N, ...]; ignore features, which have other shapes."""
        if images.ndim != 4:
            return
        captions, marks = zip(*(self._trainee.show(label) for label in labels[:MOST_IMAGES]), strict=True)
        grid = draw_grid(to_bytes(images[:MOST_IMAGES], self._levels), captions, marks)
        save_png(os.path.join(self._folder, stage, "inputs.png"), grid)
        self._tracker.image(stage, 0, "inputs", grid)
