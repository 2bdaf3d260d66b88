"""Load a SavedModel in a fresh process, as a server does, and ask every signature.

This is a program. It imports TensorFlow, and nothing of Mirante or TFX:

    python probe.py MODEL_DIR LABELS RECORDS ANSWERS

LABELS is the file of the model's class names. RECORDS is a TFRecord file of tf.train.Example. ANSWERS is the
file of the task's module `answers` (components/infra_validator/protocol.py). The first line on standard
output, `READY`, appears when TensorFlow is imported. The last one is a JSON object: `problems` (sentences;
empty if there are none), `load_secs`, and `request_secs`, the median seconds of a request with one image by
signature.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from types import ModuleType
from typing import Any

REQUESTS = 5
READY = "ready"


def load_answers(path: str) -> ModuleType:
    """Load the module `answers` of a task's room from its file."""
    spec = importlib.util.spec_from_file_location("answers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def probe(model_dir: str, labels_file: str, records_file: str, answers_file: str) -> dict[str, Any]:
    """Return the report that the module's docstring describes."""
    import numpy as np
    import tensorflow as tf

    print(READY, flush=True)
    serialized = [record.numpy() for record in tf.data.TFRecordDataset(records_file)]
    encoded = [
        tf.train.Example.FromString(record).features.feature["image/encoded"].bytes_list.value[0]
        for record in serialized
    ]
    requests = {"serving_default": encoded, "serving_tf_examples": serialized}
    with open(labels_file, encoding="utf-8") as file:
        labels = file.read().split("\n")[:-1]

    began = time.monotonic()
    loaded = tf.saved_model.load(model_dir)
    report: dict[str, Any] = {"problems": [], "load_secs": time.monotonic() - began, "request_secs": {}}
    asked = load_answers(answers_file)
    answers: dict[str, list[Any]] = {}
    for name in sorted(set(requests) | set(loaded.signatures)):
        if name not in loaded.signatures or name not in requests:
            report["problems"].append(
                f"signature {name} is {'unknown' if name not in requests else 'missing'}"
            )
            continue
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        outputs = {
            key: value.numpy() for key, value in signature(**{argument: tf.constant(requests[name])}).items()
        }
        missing = [key for key in asked.OUTPUTS if key not in outputs]
        report["problems"] += [f"signature {name} gives no output {key!r}" for key in missing]
        if not missing:
            report["problems"] += asked.find_problems(name, outputs, len(serialized), labels)
            answers[name] = [outputs[key] for key in asked.COMPARED]
        seconds = []
        for _ in range(REQUESTS):
            began = time.monotonic()
            signature(**{argument: tf.constant(requests[name][:1])})
            seconds.append(time.monotonic() - began)
        report["request_secs"][name] = statistics.median(seconds)
    if len(answers) == 2 and not all(map(np.array_equal, *answers.values())):
        what = asked.COMPARED[0]
        report["problems"].append(f"the signatures give different {what} for the same images")
    return report


if __name__ == "__main__":
    print(json.dumps(probe(*sys.argv[1:])))
