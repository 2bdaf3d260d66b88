"""Loads a SavedModel in a fresh process, as a server does, and asks every signature.

Run as a program, with TensorFlow alone and nothing of Mirante or TFX imported:

    python infra_probe.py MODEL_DIR RECORDS    RECORDS: a TFRecord file of tf.train.Example

The first line on standard output, `READY`, comes when TensorFlow is imported. The last one is a JSON object:
`problems` (sentences; empty when all is well), `load_secs`, and by signature the median seconds of a request
with one image.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import Any

REQUESTS = 5
READY = "ready"


# What a classifier gives, and what a detector does: the first two of each are compared between signatures.
CLASSES = ("probabilities", "labels")
BOXES = ("boxes", "scores", "class_labels", "class_names", "counts")


def _check(name: str, outputs: dict[str, Any], count: int, labels: list[str]) -> list[str]:
    wanted = BOXES if "boxes" in outputs else CLASSES
    problems = [f"signature {name} gives no output {key!r}" for key in wanted if key not in outputs]
    if problems:
        return problems
    check = _check_boxes if wanted is BOXES else _check_classes
    return check(name, outputs, count, labels)


def _check_boxes(name: str, outputs: dict[str, Any], count: int, labels: list[str]) -> list[str]:
    import numpy as np

    boxes, scores, numbers, names, counts = (outputs[key].numpy() for key in BOXES)
    problems = []
    most = boxes.shape[1] if boxes.ndim == 3 else 0
    for key, value, shape in (
        ("boxes", boxes, (count, most, 4)),
        ("scores", scores, (count, most)),
        ("class_labels", numbers, (count, most)),
        ("class_names", names, (count, most)),
        ("counts", counts, (count,)),
    ):
        if value.shape != shape:
            problems.append(f"signature {name}: {key} have shape {value.shape}, not {shape}")
    if problems:
        return problems
    for key, value in (("boxes", boxes), ("scores", scores)):
        if not (np.isfinite(value).all() and (value >= 0).all() and (value <= 1).all()):
            problems.append(f"signature {name}: {key} are not all between 0 and 1")
    if (np.diff(scores, axis=1) > 0).any():
        problems.append(f"signature {name}: scores do not descend")
    known = ["", *labels]
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= len(known):
        problems.append(f"signature {name}: class_labels are not all 0 to {len(labels)}")
    elif [[value.decode() for value in row] for row in names] != [[known[n] for n in row] for row in numbers]:
        problems.append(f"signature {name}: class_names are not those of class_labels")
    if not np.array_equal(counts, (numbers > 0).sum(axis=1)):
        problems.append(f"signature {name}: counts are not those of class_labels")
    return problems


def _check_classes(name: str, outputs: dict[str, Any], count: int, labels: list[str]) -> list[str]:
    import numpy as np

    problems = []
    probabilities = outputs["probabilities"].numpy()
    if probabilities.shape != (count, len(labels)):
        return [
            f"signature {name}: probabilities have shape {probabilities.shape}, not {(count, len(labels))}"
        ]
    if not np.all(np.isfinite(probabilities)):
        problems.append(f"signature {name}: probabilities are not all finite")
    elif not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3):
        problems.append(f"signature {name}: probabilities do not sum to 1")
    given = [[value.decode() for value in row] for row in outputs["labels"].numpy()]
    if given != [labels] * count:
        problems.append(f"signature {name}: labels are {given[0]}, not {labels}")
    return problems


def probe(model_dir: str, records_file: str) -> dict[str, Any]:
    """See the module's docstring."""
    import numpy as np
    import tensorflow as tf

    print(READY, flush=True)
    serialized = [record.numpy() for record in tf.data.TFRecordDataset(records_file)]
    encoded = [
        tf.train.Example.FromString(record).features.feature["image/encoded"].bytes_list.value[0]
        for record in serialized
    ]
    requests = {"serving_default": encoded, "serving_tf_examples": serialized}
    with open(os.path.join(model_dir, "assets.extra", "labels.txt"), encoding="utf-8") as file:
        labels = file.read().split("\n")[:-1]

    began = time.monotonic()
    loaded = tf.saved_model.load(model_dir)
    report: dict[str, Any] = {"problems": [], "load_secs": time.monotonic() - began, "request_secs": {}}
    answers = {}
    for name in sorted(set(requests) | set(loaded.signatures)):
        if name not in loaded.signatures or name not in requests:
            report["problems"].append(
                f"signature {name} is {'unknown' if name not in requests else 'missing'}"
            )
            continue
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        outputs = signature(**{argument: tf.constant(requests[name])})
        report["problems"] += _check(name, outputs, len(serialized), labels)
        compared = [outputs[key].numpy() for key in (*CLASSES[:1], *BOXES[:2]) if key in outputs]
        answers[name] = compared or None
        seconds = []
        for _ in range(REQUESTS):
            began = time.monotonic()
            signature(**{argument: tf.constant(requests[name][:1])})
            seconds.append(time.monotonic() - began)
        report["request_secs"][name] = statistics.median(seconds)
    given = [answer for answer in answers.values() if answer is not None]
    if len(given) == 2 and not all(map(np.array_equal, *given)):
        what = "boxes" if len(given[0]) > 1 else "probabilities"
        report["problems"].append(f"the signatures give different {what} for the same images")
    return report


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], sys.argv[2])))
