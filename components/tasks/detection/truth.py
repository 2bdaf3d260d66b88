"""What the records of a split say about its images. Imports no TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from components.base.errors import DataRefusedError
from components.base.example import parse_example
from components.tasks.detection.coco_eval import Detections
from schemas import features

# What tells an image from the others of its split: name, height, width, and the bytes of its boxes.
Key = tuple[str, int, int, bytes]


def read_truth(record: bytes) -> dict[str, Any]:
    """Return the fields of `Detections` that a record has, and no model finds.

    They are read from the record itself: TFMA gives a feature of variable length in three forms, depending on
    the rest of the batch, and leaves it out if it is empty in the whole batch.

    Raises:
        DataRefusedError: The record has no size, or not four corners and a label for every object.
    """
    return _read_truth(parse_example(record))


def _read_truth(feature: Mapping[str, list[Any]]) -> dict[str, Any]:
    name = b"".join(feature.get(features.FILENAME, [])[:1]).decode("utf-8", "replace")
    name = name or b"".join(feature.get(features.SHA256, [])[:1]).decode("utf-8", "replace")
    height, width = (sum(feature.get(key, [])[:1]) for key in (features.HEIGHT, features.WIDTH))
    corners = [np.array(feature.get(key, []), np.float32) for key in features.BOX_SIDES]
    labels = np.array(feature.get(features.BOX_LABEL, []), np.int64)
    difficult = np.array(feature.get(features.BOX_DIFFICULT, []), np.int64)
    lengths = [*map(len, corners), len(labels)]
    if height < 1 or width < 1 or len(set(lengths)) > 1 or len(difficult) not in (0, len(labels)):
        wanted = ", ".join((*features.BOX_SIDES, features.BOX_LABEL))
        raise DataRefusedError(
            f"record of {name or 'an image without a name'}: expected {features.HEIGHT} and {features.WIDTH} "
            f"above 0, and as many values of each of {wanted} as there are objects "
            f"({features.BOX_DIFFICULT} may be absent); got {height} and {width}, and "
            f"{', '.join(map(str, lengths))} values ({len(difficult)}); make the records anew: mirante ingest"
        )
    return {
        "name": name,
        "height": height,
        "width": width,
        "boxes": np.stack(corners, axis=1),
        "labels": labels,
        "difficult": difficult.astype(bool) if len(difficult) else np.zeros(len(labels), bool),
    }


def make_key(truth: Mapping[str, Any]) -> Key:
    """Return the key of an image, by the fields of `Detections` that its record has."""
    return truth["name"], truth["height"], truth["width"], truth["boxes"].tobytes()


def find_images(
    records: Iterable[bytes], images: Sequence[Detections], wanted: Sequence[int]
) -> dict[int, bytes]:
    """Return the encoded images of `images[i]` for the wanted i, without those that no record has."""
    keys = {i: make_key(vars(images[i])) for i in wanted}
    encoded: dict[Key, bytes] = {}
    sought = set(keys.values())
    for record in records if sought else ():
        feature = parse_example(record)
        key = make_key(_read_truth(feature))
        if key in sought:
            encoded[key] = feature[features.ENCODED][0]
            if len(encoded) == len(sought):
                break
    return {i: encoded[key] for i, key in keys.items() if key in encoded}
