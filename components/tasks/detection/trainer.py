"""Detection as the Trainer's task: targets [N, max_boxes, 5], outputs of anchors [N, A, 4 + logits]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.base.errors import DataRefusedError
from components.models.config import ModelConfig
from components.models.ssd_mobilenet_v2 import anchors_of
from components.tasks.detection import losses
from components.tasks.detection.augment import augmenter
from components.tasks.detection.coco_eval import Detections, in_pixels, iou, map_50
from components.tasks.detection.geometry import area, clip, decode, encode, seen_from
from components.tasks.detection.guard import DetectionGuard
from components.tasks.detection.inputs import pack, unpack
from components.tasks.detection.matching import Matches, match
from components.tasks.detection.nms import best_boxes
from components.trainer.augment.changes import Augment
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import GuardConfig
from components.trainer.guard import Pace
from components.trainer.trainee import Array, Evaluation, Mark
from components.transform.levels import Levels
from components.transform.pixels import BOXES, FRAME, IMAGE, LABELS, boxes_and_labels, frames
from schemas import features

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.tasks.detection.serving import DetectionModule

# Images that the best answer without looking is measured on.
_GUESSED_IMAGES = 256
# Boxes below are not drawn.
_SHOWN_SCORE = 0.3


def _overlaps(boxes: Array, others: Array) -> Array:
    return iou(in_pixels(boxes, 1, 1), in_pixels(others, 1, 1))


def _on(boxes: Array, others: Array, least_iou: float) -> Array:
    """Which boxes [N, 4] lie on any of others [M, 4]: bool [N]."""
    found: Array = (_overlaps(boxes, others) >= least_iou).any(axis=1)
    return found


def hits(boxes: Array, truth: Array, least_iou: float) -> Array:
    """Which boxes [N, 4], the best first, find a true one [M, 4] that none before found: bool [N]."""
    right = np.zeros(len(boxes), bool)
    open_ones = _overlaps(boxes, truth)
    for place in range(len(boxes) if len(truth) else 0):
        best = open_ones[place].argmax()
        if open_ones[place, best] >= least_iou:
            right[place] = True
            open_ones[:, best] = -1.0
    return right


def _detections(targets: Array, predictions: Mapping[str, Array]) -> Detections:
    """Targets [B, 5] and the `boxes`, `scores` and `labels` found, label 0 for none, of an image."""
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


class Detection:
    """What is learned of boxes.

    Args:
        class_names: Of the labels 1 and up.
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
        """Targets, float32 [N, max_boxes, 5]."""
        return pack(transformed[BOXES], transformed[LABELS])

    def labels_of_records(self, parsed: Mapping[str, Any], shapes: Mapping[str, tf.TensorShape]) -> tf.Tensor:
        """Targets, float32 [N, max_boxes, 5]."""
        height, width, _ = shapes[IMAGE]
        encoded = tf.reshape(parsed[features.ENCODED], [-1])
        frame = frames(encoded, (height, width)) if FRAME in shapes else None
        return self.labels(boxes_and_labels(parsed, shapes[LABELS][0], frame))

    def measure(self, labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`class_loss`, `box_loss` by positive anchors, and `loss`, both together by their weight."""
        outputs = tf.cast(outputs, tf.float32)
        matches = match(*unpack(labels), tf.constant(self.anchors), self.config)
        return self._losses(matches, outputs)

    def _losses(self, matches: Matches, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        of_classes = losses.classification_loss(outputs[..., 4:], matches, self.config)
        of_boxes = losses.box_loss(outputs[..., :4], matches, tf.constant(self.anchors), self.config)
        class_loss, box_loss = (losses.per_positive(loss, matches) for loss in (of_classes, of_boxes))
        return {
            "loss": class_loss + self.config.box_weight * box_loss,
            "class_loss": class_loss,
            "box_loss": box_loss,
        }

    def counts(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Nothing."""
        return {}

    def predict(self, outputs: tf.Tensor, frame: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """The best boxes of each image: `boxes`, `scores`, `labels`; see components/tasks/detection/nms.py.

        Args:
            outputs: The network's.
            frame: Where each image is in what it was padded to, float32 [N, 4]: then boxes are shares of the
                image itself. What is beside it alone is no box.
        """
        outputs = tf.cast(outputs, tf.float32)
        boxes = decode(outputs[..., :4], tf.constant(self.anchors))
        if frame is not None:
            boxes = seen_from(boxes, frame[:, tf.newaxis])
        boxes = clip(boxes)
        scores = losses.scores_of(outputs[..., 4:], self.config)
        scores = tf.where(area(boxes)[..., tf.newaxis] > 0.0, scores, 0.0)
        found = best_boxes(boxes, scores, self.config)
        return dict(zip(("boxes", "scores", "labels"), found, strict=True))

    def judge(self, labels: Array, predictions: Mapping[str, Array]) -> dict[str, float]:
        """`map_50` as components/tasks/detection/coco_eval.py has it; 0 where there is nothing to find."""
        images = [
            _detections(targets, {name: values[place] for name, values in predictions.items()})
            for place, targets in enumerate(labels)
        ]
        found = map_50(images, len(self.class_names))
        return {"map_50": 0.0 if np.isnan(found) else found}

    def augmenter(self, config: AugmentationConfig, seed: int, levels: Levels | None) -> Augment | None:
        """See components/tasks/detection/augment.py."""
        return augmenter(config, seed, levels)

    def guard(
        self, config: GuardConfig, train_labels: Array, eval_labels: Array, pace: Pace | None = None
    ) -> DetectionGuard:
        """Measured against the best answer that does not look.

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
            raise DataRefusedError(
                f"train: all objects of the class {self._name(only[0])!r} are marked difficult, so that it "
                "would not be learned: correct the marks, or train on them: "
                "model.detection.train_on_difficult=true"
            )

    def _guessing_loss(self, labels: Array) -> float:
        """The least loss when all anchors of all images give the same probability and code."""
        matches = match(*unpack(tf.constant(labels)), tf.constant(self.anchors), self.config)
        is_positive = matches.labels > 0
        codes = encode(matches.boxes, tf.constant(self.anchors))[is_positive]
        code = np.median(codes, axis=0) if len(codes) else np.zeros(4)
        best = np.inf
        for logit in np.linspace(-8.0, 0.0, 17):
            logits = np.full(losses.num_logits(self.config, len(self.class_names)), logit)
            if self.config.classification_loss == "hard_negative":
                logits[0] = 0.0
            same = tf.constant(np.concatenate([code, logits]), tf.float32)
            outputs = tf.broadcast_to(same, (*matches.labels.shape, same.shape[0]))
            best = min(best, float(tf.reduce_mean(self._losses(matches, outputs)["loss"])))
        return best

    def show(self, label: Array) -> tuple[str, list[Mark]]:
        """How many boxes there are, and the boxes."""
        marks = [(box[:4].tolist(), self._name(box[4]), abs(int(box[4]))) for box in label if box[4] != 0]
        return f"{len(marks)} box{'' if len(marks) == 1 else 'es'}", marks

    def _name(self, label: float) -> str:
        """With `?` where the object is difficult."""
        return f"{self.class_names[abs(int(label)) - 1]}{'?' if label < 0 else ''}"

    def mistakes(
        self, evaluation: Evaluation, labels: Array, count: int
    ) -> list[tuple[int, str, list[Mark]]]:
        """Images with boxes that were missed or given without need, most of them first.

        A box on a difficult object is neither.
        """
        worst: list[tuple[int, float, int, str, list[Mark]]] = []
        for place, targets in enumerate(labels):
            truth, spared = targets[targets[:, 4] > 0], targets[targets[:, 4] < 0]
            is_shown = evaluation.predictions["scores"][place] >= _SHOWN_SCORE
            boxes, scores, found = (
                evaluation.predictions[name][place][is_shown] for name in ("boxes", "scores", "labels")
            )
            right, wrong = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
            for label in np.unique(found):
                mine = found == label
                right[mine] = hits(boxes[mine], truth[truth[:, 4] == label][:, :4], 0.5)
                wrong[mine] = ~right[mine] & ~_on(boxes[mine], spared[spared[:, 4] == -label][:, :4], 0.5)
            missed, needless = len(truth) - int(right.sum()), int(wrong.sum())
            if missed + needless == 0:
                continue
            marks = [
                (box.tolist(), f"{self._name(label)} {score:.2f}", int(label))
                for box, label, score in zip(boxes, found, scores, strict=True)
            ]
            needless_score = float(scores[wrong].sum())
            worst.append(
                (missed + needless, needless_score, place, f"{missed} missed\n{needless} needless", marks)
            )
        # Equal ones in the order of the examples, so that two runs show the same.
        worst.sort(key=lambda item: (-item[0], -item[1], item[2]))
        return [(place, caption, marks) for _, _, place, caption, marks in worst[:count]]

    def serving(self, model: keras.Model, tft_output: tft.TFTransformOutput) -> DetectionModule:
        """Boxes with their class names."""
        from components.tasks.detection.serving import DetectionModule

        return DetectionModule(model, tft_output, self)
