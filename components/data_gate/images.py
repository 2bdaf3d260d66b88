"""Problems of the images of records."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from components.base.example import parse_example
from components.ingest.whole import RejectedImage, check_whole
from components.transform.canonical_graph import canonical, reason_of
from components.transform.pixels import decode
from schemas import features

# File name, and what is wrong with it.
Problem = tuple[str, str]

_OTHER_PIXELS = (
    "image/encoded: expected an upright JPEG or PNG with 8 bits and 1 or 3 channels, as ingest stores it, "
    "got one that looks different to a served model; run `mirante ingest tfrecord` on the records"
)


def image_problem(record: bytes) -> Problem | None:
    """Return None for a serialized example whose image decodes, else its file name and the problem."""
    feature = tf.train.Example.FromString(record).features.feature
    name = b"".join(feature[features.FILENAME].bytes_list.value).decode(errors="replace") or "(unnamed)"
    values = feature[features.ENCODED].bytes_list.value
    if not values or not values[0]:
        return name, "image/encoded is missing"
    try:
        # TensorFlow fills the missing part of a truncated image with grey.
        check_whole(values[0])
        (is_stored,) = _look_at_batch()(tf.constant([record])).numpy()
    except RejectedImage as e:
        return name, f"image/encoded cannot be decoded as JPEG or PNG: {e.reason}"
    except tf.errors.InvalidArgumentError as e:
        return name, f"image/encoded cannot be decoded as JPEG or PNG: {reason_of(e)}"
    return None if is_stored else (name, _OTHER_PIXELS)


@functools.cache
def _look_at_batch() -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a graph that decodes the images of serialized examples, string [N].

    It returns bool [N], whether each is in canonical form, and raises at the first that cannot be decoded.
    """

    def look(encoded: tf.Tensor) -> tf.Tensor:
        # Decode as Transform does: other formats that TensorFlow can read would fail there.
        with tf.control_dependencies([decode(encoded, channels=3)]):
            return tf.identity(encoded)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    @tf.autograph.experimental.do_not_convert
    def are_canonical(records: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_example(records, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)})
        encoded = tf.map_fn(look, parsed[features.ENCODED])
        return tf.equal(canonical(encoded), encoded)

    return are_canonical


def image_problems(records: Sequence[bytes]) -> list[Problem | None]:
    """Return `image_problem` of each record. A batch without problems, the usual case, needs one call."""
    try:
        for record in records:
            check_whole(b"".join(parse_example(record).get(features.ENCODED, [])))
        if _look_at_batch()(tf.constant(list(records), tf.string)).numpy().all():
            return [None] * len(records)
    except (RejectedImage, tf.errors.InvalidArgumentError):
        pass
    return [image_problem(record) for record in records]
