"""Warm start: a training begins with weights that were trained before (docs/warm-start.md)."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from components.base.errors import MiranteError
from components.base.words import format_some
from components.models import BACKBONE, has_shared_head, is_of_classes, refresh_constants
from components.models.config import DetectionConfig
from components.trainer.checkpoints import by_path
from components.trainer.config import TrainingConfig
from components.trainer.run import Run
from components.trainer.warm_start.coco_classes import take_classes
from components.trainer.warm_start.config import WarmStartConfig
from components.trainer.warm_start.source import Source, digest, open_source

logger = logging.getLogger("mirante.trainer")

REPORT = "warm_start.txt"
# Lines of the table in an error or in the log; the report has all of them.
_FEW = 5
# A variable that Keras 2 called otherwise.
_FORMER_NAMES = {"kernel": "depthwise_kernel"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The variables that a network takes from a source, and the others.

    Attributes:
        loaded: The source's name for each path of the network.
        misfits: Paths that both have, in another shape, and why.
        missing: Paths that the source does not have.
        unused: The source's names that the network has no use for, and why.
    """

    loaded: dict[str, str]
    misfits: dict[str, str]
    missing: list[str]
    unused: dict[str, str]

    @property
    def counts(self) -> str:
        """The table in one line."""
        return (
            f"{len(self.loaded)} variables loaded, {len(self.misfits)} of another shape, {len(self.missing)} "
            f"missing in the checkpoint, {len(self.unused)} not used"
        )

    def lines(self) -> list[str]:
        """Return the whole table, problems first."""
        return [
            *(f"other shape  {path}: {why}" for path, why in self.misfits.items()),
            *(f"missing      {path}" for path in self.missing),
            *(f"loaded       {path}{f' from {n}' if n != path else ''}" for path, n in self.loaded.items()),
            *(f"not used     {name}: {why}" for name, why in self.unused.items()),
        ]


def source_path(config: TrainingConfig, base_model: str | None) -> str | None:
    """Return the path of the weights; None if the training starts without."""
    if config.warm_start is None:
        return None
    return base_model if config.warm_start.is_latest_blessed else config.warm_start.source


def source_digest(config: TrainingConfig, base_model: str | None) -> str | None:
    """Return a digest of the weights that a training starts from; None if it starts without."""
    path = source_path(config, base_model)
    return None if path is None else digest(path)


def begin(
    model: keras.Model,
    run: Run,
    base_model: str | None,
    report_folder: str,
    detection: DetectionConfig,
) -> bool:
    """Give `model` the weights that its training starts from, unless that has begun already.

    Args:
        model: From `components.models.build_model`, under `run.place.strategy`.
        run: The training.
        base_model: The SavedModel that was blessed last, if there is one.
        report_folder: Gets `warm_start.txt`, the whole table.
        detection: The recipe's `model.detection`, for a detector's head.

    Returns:
        Whether the backbone counts as pretrained by this, so that the head is trained first.

    Raises:
        UsageError: The source cannot be read.
        MiranteError: It is another network's.
    """
    config, class_names = run.config, run.trainee.class_names
    path = source_path(config, base_model)
    if config.warm_start is None:
        return False
    if path is None:
        logger.info("warm start: no model is blessed yet, the training starts as model.weights says")
        return False
    # Kept with the checkpoints too: a resumed training has a new folder for results.
    kept = os.path.join(run.checkpoints.folder, REPORT)
    if run.checkpoints.state() is None:
        source, head = open_source(path, model), ""
        if source.is_of_api and has_shared_head(model) and config.warm_start.takes_shared_head:
            source, head = take_classes(source, by_path(model.variables), class_names, detection)
            logger.info("warm start has %s", head)
        _warn_of_levels(source, run)
        with run.place.strategy.scope():
            comparison = warm_start(model, source, config.warm_start, class_names)
        if not config.warm_start.backbone_only and source.class_names not in (None, tuple(class_names)):
            logger.warning(
                "warm start takes over a head that was trained for other classes, or in another order: %s; "
                "fine_tune_checkpoint_type classification leaves it out",
                _join(source.class_names or ()),
            )
        if run.place.is_chief:
            header = [
                f"source       {source.path}",
                f"taken as     {config.warm_start.fine_tune_checkpoint_type}",
                f"result       {comparison.counts}",
                *([f"head         {head}"] if head else []),
            ]
            tf.io.gfile.makedirs(run.checkpoints.folder)
            with tf.io.gfile.GFile(kept, "w") as file:
                file.write("".join(f"{line}\n" for line in (*header, "", *comparison.lines())))
    else:
        logger.info("warm start: not again, the training resumes from its own checkpoint")
    if run.place.is_chief and tf.io.gfile.exists(kept):
        tf.io.gfile.makedirs(report_folder)
        tf.io.gfile.copy(kept, os.path.join(report_folder, REPORT), overwrite=True)
    return config.warm_start.backbone_only


def _warn_of_levels(source: Source, run: Run) -> None:
    """Warn of pixels in another range than the source was trained on."""
    if source.input_range is None or run.levels is None:
        return
    ranges = list(zip(run.levels.black, run.levels.white, strict=True))
    if not np.allclose(ranges, source.input_range, atol=1e-3):
        logger.warning(
            "warm start: the weights of %s were trained on pixels of -1 to 1, and the recipe gives others; "
            "set transform.normalization to minus_one_one",
            source.path,
        )


def warm_start(
    model: keras.Model, source: Source, config: WarmStartConfig, class_names: Sequence[str] = ()
) -> Comparison:
    """Give `model`, which is for these classes, the variables that it takes from `source`; log them.

    Raises:
        MiranteError: With `full`, anything does not fit or is missing; else, less than half of the variables
            that are wanted are available. Nothing is changed then.
    """
    variables = by_path(model.variables)
    comparison = compare(model, source, config, class_names)
    _refuse(model, source, config, comparison)
    for path, name in comparison.loaded.items():
        variable = variables[path]
        variable.assign(tf.cast(source.read(name), variable.dtype))
    refresh_constants(model)
    logger.info(
        "warm start (%s) from %s: %s", config.fine_tune_checkpoint_type, source.path, comparison.counts
    )
    if left := comparison.lines()[: len(comparison.misfits) + len(comparison.missing)]:
        logger.warning("warm start leaves as they are: %s", _join(left))
    return comparison


def takes_backbone_alone(model: keras.Model, config: WarmStartConfig) -> bool:
    """Return whether `model` takes no more than its backbone; a detector takes all of another detector."""
    return config.backbone_only and not (config.takes_shared_head and has_shared_head(model))


def compare(
    model: keras.Model, source: Source, config: WarmStartConfig, class_names: Sequence[str] = ()
) -> Comparison:
    """Return what `model`, which is for these classes, would take from `source`, by names and shapes."""
    # Not the state of random generators: what is drawn is the seed's affair.
    weights = {id(weight.value) for weight in model.weights}
    everything = {path: v for path, v in by_path(model.variables).items() if id(v) in weights}
    wanted = everything
    if takes_backbone_alone(model, config):
        if BACKBONE not in [layer.name for layer in model.layers]:
            raise MiranteError(
                f"training.warm_start: fine_tune_checkpoint_type {config.fine_tune_checkpoint_type} takes "
                f"the backbone, and {model.name} is one network without parts: let its function return "
                "(backbone, head), or take full"
            )
        backbone = {id(weight.value) for weight in model.get_layer(BACKBONE).weights}
        wanted = {path: v for path, v in everything.items() if id(v) in backbone}
    elif config.backbone_only and source.class_names not in (None, tuple(class_names)):
        wanted = {path: v for path, v in everything.items() if not is_of_classes(path)}
    loaded: dict[str, str] = {}
    misfits: dict[str, str] = {}
    missing: list[str] = []
    used: set[str] = set()
    for path, variable in wanted.items():
        name = _name_in(source, path)
        if name is None:
            missing.append(path)
            continue
        used.add(name)
        if source.shapes[name] == tuple(variable.shape):
            loaded[path] = name
        else:
            misfits[path] = f"the checkpoint has {source.shapes[name]}, the network {tuple(variable.shape)}"
    unused = {name: _why_not(name, everything, model, config) for name in source.shapes if name not in used}
    return Comparison(loaded, misfits, missing, unused)


def _why_not(
    name: str, everything: Mapping[str, tf.Variable], model: keras.Model, config: WarmStartConfig
) -> str:
    if name not in everything:
        return "the network has no such variable"
    return "outside of the backbone" if takes_backbone_alone(model, config) else "of other classes"


def _name_in(source: Source, path: str) -> str | None:
    layer, _, name = path.rpartition("/")
    former = f"{layer}/{_FORMER_NAMES.get(name, name)}"
    return next((known for known in (path, former) if known in source.shapes), None)


def _refuse(model: keras.Model, source: Source, config: WarmStartConfig, found: Comparison) -> None:
    """Refuse a source from which a training would not be what was asked for."""
    where = f"training.warm_start: {source.path} does not fit {model.name}"
    table = f"{found.counts}.\n" + "\n".join(f"  {line}" for line in found.lines()[:20])
    # What has no counterpart first, on both sides.
    wanted = [*found.missing, *found.misfits, *found.loaded]
    there = [*found.unused, *found.loaded.values()]
    if 2 * len(found.loaded) < len(wanted) or not found.loaded:
        part = BACKBONE if takes_backbone_alone(model, config) else "network"
        raise MiranteError(
            f"{where}: less than half of the {part} can be taken from it, so it is another network's, or of "
            f"another width. The {part} has {_join(wanted)}; the checkpoint has {_join(there)}. Give a "
            "checkpoint of this network; for a model that was pushed before names were written into it, the "
            f"Trainer's model.keras. {table}"
        )
    if not config.backbone_only and len(found.loaded) < len(wanted):
        instead = "classification, which leaves out the head"
        if has_shared_head(model):
            instead = "detection, which leaves out what is of classes"
        raise MiranteError(
            f"{where}: fine_tune_checkpoint_type full takes everything, and not everything fits; for other "
            f"classes take {instead}. {table}"
        )


def _join(items: Sequence[str]) -> str:
    return format_some(items, _FEW, none="nothing")
