"""Detections written in pixels, for tests: what is on an image, what was found there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.tasks.detection.coco_eval import Detections
from schemas import features

Corners = tuple[float, float, float, float]


def make_detections(
    objects: Sequence[tuple[Corners, int]] = (),
    found: Sequence[tuple[Corners, int, float]] = (),
    difficult: Sequence[int] = (),
    name: str = "image.jpg",
    height: int = 200,
    width: int = 400,
) -> Detections:
    """Corners in pixels; `difficult` are indices of objects."""
    size = np.array([width, height, width, height])
    return Detections(
        name,
        height,
        width,
        boxes=(np.array([box for box, _ in objects]).reshape(-1, 4) / size).astype(np.float32),
        labels=np.array([label for _, label in objects], np.int64),
        difficult=np.isin(np.arange(len(objects)), difficult),
        found_boxes=(np.array([box for box, _, _ in found]).reshape(-1, 4) / size).astype(np.float32),
        found_labels=np.array([label for _, label, _ in found], np.int64),
        scores=np.array([score for _, _, score in found], np.float32),
    )


def make_random_detections(seed: int, count: int, num_classes: int, boxes: int = 20) -> list[Detections]:
    """Objects, some difficult, and boxes: near them, of other classes, twice, anywhere; scores with ties."""
    random = np.random.default_rng(seed)
    images = []
    for number in range(count):
        corners = random.uniform(0, 150, (random.integers(0, 5), 2))
        corners = np.concatenate([corners, corners + random.uniform(5, 150, corners.shape)], axis=1)
        objects = [(tuple(box), int(random.integers(1, num_classes + 1))) for box in corners]
        found = []
        for _ in range(boxes):
            if objects and random.random() < 0.7:
                box, label = objects[random.integers(len(objects))]
                box = tuple(np.array(box) + random.normal(0, random.choice([0, 5, 30]), 4))
            else:
                box, label = tuple(random.uniform(0, 200, 2).repeat(2)[[0, 2, 1, 3]] + [0, 0, 40, 40]), 1
            if random.random() < 0.2:
                label = int(random.integers(1, num_classes + 1))
            found.append((box, label, round(float(random.random()), 1)))
        hard = [i for i in range(len(objects)) if random.random() < 0.2]
        images.append(make_detections(objects, found, hard, name=f"{number:05}.jpg", height=300, width=400))
    return images


def make_record(image: Detections, encoded: bytes, class_names: Sequence[str]) -> bytes:
    """A serialized tf.train.Example of the data contract; an image without objects has empty lists."""
    import tensorflow as tf

    def of_bytes(*values: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def of_ints(*values: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    values = {
        features.ENCODED: of_bytes(encoded),
        features.FORMAT: of_bytes(b"png"),
        features.HEIGHT: of_ints(image.height),
        features.WIDTH: of_ints(image.width),
        features.FILENAME: of_bytes(image.name.encode()),
        features.BOX_LABEL: of_ints(*image.labels.tolist()),
        features.BOX_TEXT: of_bytes(*(class_names[label - 1].encode() for label in image.labels)),
        features.BOX_DIFFICULT: of_ints(*image.difficult.astype(int).tolist()),
    }
    for name, corners in zip(features.BOX_SIDES, image.boxes.T, strict=True):
        values[name] = tf.train.Feature(float_list=tf.train.FloatList(value=corners.tolist()))
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString(deterministic=True)


def save_detector(folder: str, answers: Sequence[Detections], class_names: Sequence[str]) -> None:
    """A SavedModel with a detector's signatures, whose answers are known beforehand.

    `serving_tf_examples` gives what was found on the image that the record's file name says,
    `serving_default` what was found on the first image, whatever it is asked.
    """
    import tensorflow as tf

    padding = [100 - len(each.scores) for each in answers]
    columns = {
        "boxes": np.stack(
            [np.pad(each.found_boxes, ((0, n), (0, 0))) for each, n in zip(answers, padding, strict=True)]
        ),
        "scores": np.stack([np.pad(each.scores, (0, n)) for each, n in zip(answers, padding, strict=True)]),
        "class_labels": np.stack(
            [np.pad(each.found_labels, (0, n)) for each, n in zip(answers, padding, strict=True)]
        ),
        "counts": np.array([len(each.scores) for each in answers], np.int64),
    }
    assert [each.name for each in answers] == [f"{number:05}.jpg" for number in range(len(answers))]

    class Answers(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.columns = {name: tf.constant(values) for name, values in columns.items()}
            self.names = tf.constant(["", *class_names])

        def answer(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = {name: tf.gather(values, numbers) for name, values in self.columns.items()}
            return {**outputs, "class_names": tf.gather(self.names, outputs["class_labels"])}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serving_tf_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(examples, {features.FILENAME: tf.io.FixedLenFeature([], tf.string)})
            digits = tf.strings.substr(parsed[features.FILENAME], 0, 5)
            return self.answer(tf.strings.to_number(digits, tf.int32))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.answer(tf.zeros_like(image_bytes, tf.int32))

    module = Answers()
    signatures = {
        "serving_default": module.serving_default,
        "serving_tf_examples": module.serving_tf_examples,
    }
    tf.saved_model.save(module, folder, signatures=signatures)
