"""Requests that a server sends through a model before it serves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.trainer.warm_up import IMAGES, write_warm_up
from schemas import features
from tests.make.graphs import Tiny

pytest_plugins = ["tests.fixtures"]

SIGNATURES = ["serving_default", "serving_tf_examples", "classify"]


def read(path: Path) -> list[prediction_log_pb2.PredictionLog]:
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]


def test_each_signature_has_one_request(tmp_path: Path, make_tiny: Callable[[int], Tiny]) -> None:
    tiny = make_tiny(3)
    write_warm_up(str(tmp_path / "requests"), SIGNATURES, tiny.records[:IMAGES])
    by_bytes, by_example, classify = read(tmp_path / "requests")
    image = by_bytes.predict_log.request
    assert image.model_spec.signature_name == "serving_default"
    assert tf.make_ndarray(image.inputs["image_bytes"]).tolist() == tiny.encoded[:IMAGES]
    example = by_example.predict_log.request
    assert tf.make_ndarray(example.inputs["examples"]).tolist() == tiny.records[:IMAGES]
    assert classify.classify_log.request.model_spec.signature_name == "classify"
    (one, *others) = classify.classify_log.request.input.example_list.examples
    assert len(others) == IMAGES - 1
    assert one.features.feature[features.ENCODED].bytes_list.value[0] == tiny.encoded[0]


def test_large_images_are_not_all_taken(tmp_path: Path) -> None:
    records = []
    for number in range(4):
        example = tf.train.Example()
        example.features.feature[features.ENCODED].bytes_list.value.append(bytes([number]) * 200_000)
        records.append(example.SerializeToString())
    write_warm_up(str(tmp_path / "requests"), SIGNATURES[:1], records)
    (request,) = read(tmp_path / "requests")
    images = tf.make_ndarray(request.predict_log.request.inputs["image_bytes"]).tolist()
    assert [image[0] for image in images] == [0, 1]
