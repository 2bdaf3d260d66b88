"""What a detector learns: targets [N, max_boxes, 5], outputs of anchors [N, A, 4 + logits].

Targets join an image's boxes and labels in one tensor, so that they go through the Trainer as any label does:
a box, then its label as a number, below 0 where the object is difficult; all 0 where there is no box.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.base.errors import DataRefusedError
from components.models.config import ModelConfig
from components.models.ssd import anchors_of
from components.pictures.grid import Mark
from components.tasks.detection import losses
from components.tasks.detection.augment import make_augmenter
from components.tasks.detection.coco_eval import Detections, map_50
from components.tasks.detection.geometry import area, clip, decode, encode, to_window
from components.tasks.detection.guard import DetectionGuard
from components.tasks.detection.matching import Matches, match
from components.tasks.detection.mistakes import find_mistakes, show_targets
from components.tasks.detection.nms import best_boxes
from components.tasks.detection.transform import BOXES, FRAME, LABELS, boxes_and_labels
from components.trainer.augment.changes import Augment
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import GuardConfig, TrainingConfig
from components.trainer.guard import Pace
from components.trainer.result import StageResult
from components.transform.levels import Levels
from components.transform.pixels import IMAGE, find_frames
from schemas import features

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.trainer.export import ServingModule

# Images that the best answer without looking is measured on.
_GUESSED_IMAGES = 256


def pack(boxes: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Join boxes float32 [..., B, 4] and labels int [..., B] to targets float32 [..., B, 5]."""
    return tf.concat([boxes, tf.cast(labels, tf.float32)[..., tf.newaxis]], axis=-1)


def unpack(targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Split targets into boxes and labels int32."""
    return targets[..., :4], tf.cast(tf.round(targets[..., 4]), tf.int32)


def _detections(targets: Array, predictions: Mapping[str, Array]) -> Detections:
    """Join an image's targets [B, 5] and its predictions; label 0 is no box."""
    truth, found = targets[targets[:, 4] != 0], predictions["labels"] > 0
    return Detections(
        name="",
        height=1,
        width=1,
        boxes=truth[:, :4],
        labels=np.rint(np.abs(truth[:, 4])).astype(np.int64),
        difficult=truth[:, 4] < 0,
        found_boxes=predictions["boxes"][found],
        found_labels=predictions["labels"][found],
        scores=predictions["scores"][found],
    )


def make_trainee(
    class_names: Sequence[str],
    model: ModelConfig,
    training: TrainingConfig,
    input_shape: tuple[int, int, int],
) -> Detection:
    """Return what a detector learns; see `components.trainer.trainee.TaskTrainer`."""
    return Detection(class_names, model, input_shape)


class Detection:
    """A detector's losses, metrics and images.

    Args:
        class_names: The names of the labels 1 and up.
        config: The recipe's `model` part.
        input_shape: Height and width in pixels, and channels.
    """

    metrics: Sequence[str] = ("class_loss", "box_loss")
    words: Mapping[str, str] = {"map_50": "mAP@.5"}
    record_spec: Mapping[str, Any] = {
        features.ENCODED: tf.io.FixedLenFeature([1], tf.string),
        **{side: tf.io.VarLenFeature(tf.float32) for side in features.BOX_SIDES},
        features.BOX_LABEL: tf.io.VarLenFeature(tf.int64),
        features.BOX_DIFFICULT: tf.io.VarLenFeature(tf.int64),
    }
    looks_at_whole_images = False

    def __init__(self, class_names: Sequence[str], config: ModelConfig, input_shape: tuple[int, int, int]):
        self.class_names = class_names
        self.config = config.detection
        self.anchors = anchors_of(config, input_shape)

    def labels(self, transformed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return targets, float32 [N, max_boxes, 5]."""
        return pack(transformed[BOXES], transformed[LABELS])

    def labels_of_records(self, parsed: Mapping[str, Any], shapes: Mapping[str, tf.TensorShape]) -> tf.Tensor:
        """Return targets, float32 [N, max_boxes, 5]."""
        height, width, _ = shapes[IMAGE]
        encoded = tf.reshape(parsed[features.ENCODED], [-1])
        frame = find_frames(encoded, (height, width)) if FRAME in shapes else None
        return self.labels(boxes_and_labels(parsed, shapes[LABELS][0], frame))

    def measure(self, labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `class_loss`, `box_loss` per positive anchor, and `loss`, their weighted sum."""
        outputs = tf.cast(outputs, tf.float32)
        matches = match(*unpack(labels), tf.constant(self.anchors), self.config)
        return self._losses(matches, outputs)

    def _losses(self, matches: Matches, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        of_classes = losses.classification_loss(outputs[..., 4:], matches, self.config)
        of_boxes = losses.box_loss(outputs[..., :4], matches, tf.constant(self.anchors), self.config)
        class_loss, box_loss = (losses.divide_by_positives(loss, matches) for loss in (of_classes, of_boxes))
        return {
            "loss": class_loss + self.config.box_weight * box_loss,
            "class_loss": class_loss,
            "box_loss": box_loss,
        }

    def weigh_losses(
        self, losses: tf.Tensor, labels: tf.Tensor, outputs: tf.Tensor, weights: Array
    ) -> tf.Tensor:
        """Return the losses as they are: a recipe for boxes has no weights of classes."""
        return losses

    def counts(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return nothing."""
        return {}

    def predict(self, outputs: tf.Tensor, frame: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Return the best boxes of each image: `boxes`, `scores`, `labels`; see `best_boxes`.

        Args:
            outputs: The network's.
            frame: Where each image is in what it was padded to, float32 [N, 4]: then boxes are shares of the
                image itself. What is only on the padding is not a box.
        """
        outputs = tf.cast(outputs, tf.float32)
        boxes = decode(outputs[..., :4], tf.constant(self.anchors))
        if frame is not None:
            boxes = to_window(boxes, frame[:, tf.newaxis])
        boxes = clip(boxes)
        scores = losses.compute_scores(outputs[..., 4:], self.config)
        scores = tf.where(area(boxes)[..., tf.newaxis] > 0.0, scores, 0.0)
        found = best_boxes(boxes, scores, self.config)
        return dict(zip(("boxes", "scores", "labels"), found, strict=True))

    def judge(self, labels: Array, predictions: Mapping[str, Array]) -> dict[str, float]:
        """Return `map_50` of components/tasks/detection/coco_eval.py; 0 where there is nothing to find."""
        images = [
            _detections(targets, {name: values[place] for name, values in predictions.items()})
            for place, targets in enumerate(labels)
        ]
        found = map_50(images, len(self.class_names))
        return {"map_50": 0.0 if np.isnan(found) else found}

    def make_augmenter(self, config: AugmentationConfig, seed: int, levels: Levels | None) -> Augment | None:
        """Return what components/tasks/detection/augment.py makes."""
        return make_augmenter(config, seed, levels)

    def guard(
        self, config: GuardConfig, train_labels: Array, eval_labels: Array, pace: Pace | None = None
    ) -> DetectionGuard:
        """Return a guard that compares with the best answer that does not look at images.

        Raises:
            DataRefusedError: All objects of a class are difficult: it would never be learned.
        """
        if not self.config.train_on_difficult:
            self._refuse_difficult_classes(train_labels[..., 4])
        # Images from all over the split, which may be sorted.
        places = np.linspace(0, len(train_labels) - 1, min(len(train_labels), _GUESSED_IMAGES)).astype(int)
        num_eval_boxes = int((eval_labels[..., 4] > 0).sum())
        return DetectionGuard(config, self._guessing_loss(train_labels[places]), pace, num_eval_boxes)

    def _refuse_difficult_classes(self, labels: Array) -> None:
        only = sorted({*np.unique(-labels[labels < 0])} - {*np.unique(labels)})
        if only:
            name = self.class_names[int(only[0]) - 1]
            raise DataRefusedError(
                f"train: all objects of the class {name!r} are marked difficult, so that it "
                "would not be learned: correct the marks, or train on them: "
                "model.detection.train_on_difficult=true"
            )

    def _guessing_loss(self, labels: Array) -> float:
        """Return the least loss when all anchors of all images give the same probability and code."""
        matches = match(*unpack(tf.constant(labels)), tf.constant(self.anchors), self.config)
        is_positive = matches.labels > 0
        codes = encode(matches.boxes, tf.constant(self.anchors))[is_positive]
        code = np.median(codes, axis=0) if len(codes) else np.zeros(4)
        best = np.inf
        for logit in np.linspace(-8.0, 0.0, 17):
            logits = np.full(self.config.num_logits(len(self.class_names)), logit)
            if self.config.classification_loss == "hard_negative":
                logits[0] = 0.0
            same = tf.constant(np.concatenate([code, logits]), tf.float32)
            outputs = tf.broadcast_to(same, (*matches.labels.shape, same.shape[0]))
            best = min(best, float(tf.reduce_mean(self._losses(matches, outputs)["loss"])))
        return best

    def show(self, label: Array) -> tuple[str, list[Mark]]:
        """Return the number of boxes, and the boxes."""
        return show_targets(label, self.class_names)

    def mistakes(self, result: StageResult, labels: Array, count: int) -> list[tuple[int, str, list[Mark]]]:
        """See components/tasks/detection/mistakes.py."""
        return find_mistakes(result.predictions, labels, self.class_names, count)

    def calibrate(self, labels: Array, evaluate: Callable[[], StageResult]) -> None:
        """Choose nothing: every box is answered with its score."""

    def serving(self, model: keras.Model, tft_output: tft.TFTransformOutput) -> ServingModule:
        """Return the module that serves boxes with their class names."""
        from components.tasks.detection.serving import DetectionModule

        return DetectionModule(model, tft_output, list(self.class_names), self.predict)
