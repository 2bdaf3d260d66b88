"""Load a SavedModel in a fresh process, as a server does, and ask every signature.

This is a program. It imports TensorFlow, and nothing of Mirante or TFX:

    python probe.py MODEL_DIR LABELS WARM_UP RECORDS ANSWERS

LABELS is the file of the model's class names, WARM_UP the file of the requests that servers send it first.
RECORDS is a TFRecord file of tf.train.Example. ANSWERS is the file of the task's module `answers`
(components/infra_validator/protocol.py). The first line on standard output, `READY`, appears when TensorFlow
is imported. The last one is a JSON object: `problems` (sentences; empty if there are none), `load_secs`, and
`request_secs`, the median seconds of a request with one image by signature.
"""

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Mapping
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


def probe(
    model_dir: str, labels_file: str, warm_up_file: str, records_file: str, answers_file: str
) -> dict[str, Any]:
    """Return the report that the module's docstring describes."""
    import numpy as np
    import tensorflow as tf

    print(READY, flush=True)
    serialized = [record.numpy() for record in tf.data.TFRecordDataset(records_file)]
    encoded = [
        tf.train.Example.FromString(record).features.feature["image/encoded"].bytes_list.value[0]
        for record in serialized
    ]
    asked = load_answers(answers_file)
    requests = {"serving_default": encoded, **dict.fromkeys(("serving_tf_examples", *asked.ALSO), serialized)}
    with open(labels_file, encoding="utf-8") as file:
        labels = file.read().split("\n")[:-1]

    began = time.monotonic()
    loaded = tf.saved_model.load(model_dir)
    report: dict[str, Any] = {"problems": [], "load_secs": time.monotonic() - began, "request_secs": {}}
    answers: dict[str, dict[str, Any]] = {}
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
        names = asked.ALSO.get(name, {key: key for key in asked.OUTPUTS})
        missing = [given for given in names.values() if given not in outputs]
        report["problems"] += [f"signature {name} gives no output {key!r}" for key in missing]
        if not missing:
            outputs = {key: outputs[given] for key, given in names.items()}
            report["problems"] += asked.find_problems(name, outputs, len(serialized), labels)
            answers[name] = outputs
        seconds = []
        for _ in range(REQUESTS):
            began = time.monotonic()
            signature(**{argument: tf.constant(requests[name][:1])})
            seconds.append(time.monotonic() - began)
        report["request_secs"][name] = statistics.median(seconds)
    for key in asked.COMPARED:
        given = [outputs[key] for outputs in answers.values() if key in outputs]
        if not all(np.array_equal(given[0], others) for others in given):
            report["problems"].append(f"the signatures give different {key} for the same images")
    report["problems"] += find_warm_up_problems(warm_up_file, loaded.signatures)
    report["problems"] += find_session_problems(model_dir, {name: requests[name][:1] for name in answers})
    return report


def find_session_problems(model_dir: str, requests: Mapping[str, list[bytes]]) -> list[str]:
    """Return which signatures fail where the graph is run in a session, as TF Serving does it.

    There, variables have the values that the graph's own operation restores: a SavedModel can be sound for
    `tf.saved_model.load`, and not for a server.

    Args:
        model_dir: The SavedModel.
        requests: The input of each signature.
    """
    import tensorflow as tf

    problems = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], model_dir)
        for name, request in requests.items():
            signature = graph.signature_def[name]
            (given,) = signature.inputs.values()
            try:
                session.run([output.name for output in signature.outputs.values()], {given.name: request})
            except tf.errors.OpError as e:
                told = e.message.removeprefix("Graph execution error:\n\n").partition("\n")[0]
                problems.append(f"signature {name} fails in a session, as TF Serving has it: {told}")
    return problems


def find_warm_up_problems(path: str, signatures: Mapping[str, Any]) -> list[str]:
    """Return which requests of the model's warm-up fail, as sentences: a server would not serve the model."""
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
        return []
    from tensorflow_serving.apis import prediction_log_pb2

    problems = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        if log.HasField("classify_log"):
            request = log.classify_log.request
            examples = request.input.example_list.examples
            inputs = {"inputs": tf.constant([example.SerializeToString() for example in examples])}
        else:
            request = log.predict_log.request
            inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        name = request.model_spec.signature_name
        try:
            signatures[name](**inputs)
        except Exception as e:  # noqa: BLE001 - whatever it is, a server would refuse the model
            problems.append(f"the warm-up request of signature {name} fails: {str(e).partition(chr(10))[0]}")
    return problems


if __name__ == "__main__":
    print(json.dumps(probe(*sys.argv[1:])))
