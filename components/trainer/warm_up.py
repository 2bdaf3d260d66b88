"""Requests that servers send through a model before they serve it, so that the first client does not wait.

TF Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord file of PredictionLog, and
does not serve a model that cannot answer one.
"""

import itertools
from collections.abc import Sequence

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schemas import features

# The signature whose requests are of TF Serving's method Classify.
CLASSIFY = "classify"
IMAGES = 4
# A model must not grow by its warm-up: after this many bytes of images, no further one is taken.
_ENOUGH_BYTES = 1 << 18
_ARGUMENTS = {"serving_default": "image_bytes", "serving_tf_examples": "examples"}


def write_warm_up(path: str, signatures: Sequence[str], records: Sequence[bytes]) -> None:
    """Write one request for each signature.

    Args:
        path: The file.
        signatures: Their names: those of `components.trainer.export`, and `classify`.
        records: Serialized examples; every request has the first of them, and further ones if they are small.
    """
    sizes = itertools.accumulate((len(record) for record in records), initial=0)
    records = [record for record, before in zip(records, sizes, strict=False) if before < _ENOUGH_BYTES]
    with tf.io.TFRecordWriter(path) as writer:
        for name in signatures:
            writer.write(_make_request(name, records).SerializeToString())


def _make_request(signature: str, records: Sequence[bytes]) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    if signature == CLASSIFY:
        classify = log.classify_log.request
        classify.model_spec.signature_name = signature
        for record in records:
            classify.input.example_list.examples.add().MergeFromString(record)
        return log
    argument = _ARGUMENTS[signature]
    values = list(records) if argument == "examples" else [_read_image(record) for record in records]
    predict = log.predict_log.request
    predict.model_spec.signature_name = signature
    predict.inputs[argument].CopyFrom(tf.make_tensor_proto(values, tf.string))
    return log


def _read_image(record: bytes) -> bytes:
    example = tf.train.Example.FromString(record)
    image: bytes = example.features.feature[features.ENCODED].bytes_list.value[0]
    return image
