"""The models that the cases ask: small SavedModels, each with a version folder.

Those of `_WITH_SESSIONS` are written in the way of TensorFlow 1, with signatures of all three methods; the
others are functions of TensorFlow 2.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))
# A signature of TensorFlow 1: its method, inputs and outputs.
_Signature = tuple[str, Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]]


def write_models(folder: Path) -> None:
    """Write every model below a folder."""
    for name, version, make in _WITH_SESSIONS:
        _write_with_session(folder / name / version, make)
    for name, make_signatures in _WITH_FUNCTIONS.items():
        _write_functions(folder / name / "1", make_signatures())
    for version in "123":
        shutil.copytree(folder / "constants" / f"000{version}", folder / "versions" / version)
    shutil.copytree(folder / "versions" / "1", folder / "growing" / "1")
    bad = folder / "bad_warm_up" / "1"
    shutil.copytree(folder / "half_plus_three" / "00000123", bad)
    (bad / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(bad / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(_make_bad_warm_up())


def _make_bad_warm_up() -> bytes:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.name = "bad_warm_up"
    log.predict_log.request.model_spec.signature_name = "no_such_signature"
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    content: bytes = log.SerializeToString()
    return content


def _write_with_session(folder: Path, make: Callable[[], Mapping[str, _Signature]]) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {
            name: v1.saved_model.build_signature_def(
                {key: v1.saved_model.build_tensor_info(tensor) for key, tensor in inputs.items()},
                {key: v1.saved_model.build_tensor_info(tensor) for key, tensor in outputs.items()},
                method,
            )
            for name, (method, inputs, outputs) in make().items()
        }
        for key, value in (("factor", 3.0),) if "with_default" in signatures else ():
            signatures["with_default"].defaults[key].CopyFrom(tf.make_tensor_proto(value))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def _parse(*names: str) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Return the input of serialized examples, and features as floats [N, 1]; further ones default to 0."""
    examples = v1.placeholder(tf.string, [None], name="tf_example")
    wanted = {name: tf.io.FixedLenFeature([1], tf.float32, [0.0]) for name in names}
    wanted[names[0]] = tf.io.FixedLenFeature([1], tf.float32)
    return examples, tf.io.parse_example(examples, wanted)


def _half_plus(addend: float) -> Callable[[], Mapping[str, _Signature]]:
    def make() -> Mapping[str, _Signature]:
        half, plus, three = (
            v1.get_variable(name, initializer=value)
            for name, value in (("a", 0.5), ("b", addend), ("c", 3.0))
        )
        examples, features = _parse("x", "x2")
        x = tf.identity(features["x"], name="x")
        y = tf.add(half * x, plus, name="y")
        y2 = tf.add(half * x, three, name="y2")
        y3 = tf.add(half * features["x2"], three, name="y3")
        return {
            "serving_default": (PREDICT, {"x": x}, {"y": y}),
            "classify_x_to_y": (CLASSIFY, {"inputs": examples}, {"scores": y}),
            "regress_x_to_y": (REGRESS, {"inputs": examples}, {"outputs": y}),
            "regress_x_to_y2": (REGRESS, {"inputs": examples}, {"outputs": y2}),
            "regress_x2_to_y3": (REGRESS, {"inputs": examples}, {"outputs": y3}),
        }

    return make


def _classes() -> Mapping[str, _Signature]:
    examples, features = _parse("x")
    scores = tf.concat([features["x"], 2 * features["x"]], axis=1, name="scores")
    names = tf.tile([["zero", "one"]], [tf.shape(scores)[0], 1], name="classes")
    given = {"inputs": examples}
    return {
        "serving_default": (CLASSIFY, given, {"classes": names, "scores": scores}),
        "only_classes": (CLASSIFY, given, {"classes": names}),
        "only_scores": (CLASSIFY, given, {"scores": scores}),
        "as_predict": (PREDICT, given, {"classes": names, "scores": scores}),
        "flat_scores": (CLASSIFY, given, {"scores": tf.reshape(scores, [-1])}),
        "float_classes": (CLASSIFY, given, {"classes": scores}),
        "other_outputs": (CLASSIFY, given, {"labels": names}),
        "three_outputs": (CLASSIFY, given, {"classes": names, "scores": scores, "more": scores}),
        "other_input": (CLASSIFY, {"examples": examples}, {"scores": scores}),
        "two_values": (REGRESS, given, {"outputs": scores}),
        "other_regress_output": (REGRESS, given, {"values": scores}),
        "bytes_of": (PREDICT, given, {"out_bytes": names}),
    }


def _counter() -> Mapping[str, _Signature]:
    counter = v1.get_variable("counter", initializer=0.0, use_resource=True)
    delta = v1.placeholder(tf.float32, [], name="delta")
    with tf.control_dependencies([counter.assign_add(delta)]):
        raised = tf.identity(counter.read_value())
    with tf.control_dependencies([counter.assign(0.0)]):
        cleared = tf.identity(counter.read_value())
    x, factor = (v1.placeholder(tf.float32, name=name) for name in ("x", "factor"))
    return {
        "incr_counter_by": (PREDICT, {"delta": delta}, {"output": raised}),
        "get_counter": (PREDICT, {}, {"output": tf.identity(counter.read_value())}),
        "reset_counter": (PREDICT, {}, {"output": cleared}),
        "with_default": (PREDICT, {"x": x, "factor": factor}, {"y": x * factor}),
    }


def _never() -> Mapping[str, _Signature]:
    """Wait for an element of a queue that stays empty, which costs no processor."""
    x = v1.placeholder(tf.float32, [None], name="x")
    empty = v1.FIFOQueue(1, [tf.float32], shapes=[[]], shared_name="empty")
    return {
        "serving_default": (PREDICT, {"x": x}, {"y": x + empty.dequeue()}),
        "at_once": (PREDICT, {"x": x}, {"y": tf.identity(x)}),
    }


def _constant(value: float) -> Callable[[], Mapping[str, _Signature]]:
    def make() -> Mapping[str, _Signature]:
        x = v1.placeholder(tf.float32, [None], name="x")
        return {
            "serving_default": (PREDICT, {"x": x}, {"y": x * 0 + v1.get_variable("v", initializer=value)})
        }

    return make


_WITH_SESSIONS: tuple[tuple[str, str, Callable[[], Mapping[str, _Signature]]], ...] = (
    ("half_plus_two", "00000123", _half_plus(2.0)),
    ("two_versions", "00000123", _half_plus(2.0)),
    ("two_versions", "00000124", _half_plus(3.0)),
    ("half_plus_three", "00000123", _half_plus(3.0)),
    ("classes", "1", _classes),
    ("counter", "1", _counter),
    ("never", "1", _never),
    *(("constants", f"000{number}", _constant(float(number))) for number in (1, 2, 3)),
)


def _write_functions(folder: Path, signatures: Mapping[str, Any]) -> None:
    module = tf.Module()
    module.kept = tf.Variable(0.0)
    tf.saved_model.save(module, str(folder), signatures=dict(signatures))


def _function(
    answer: Callable[..., dict[str, tf.Tensor]], **inputs: tuple[list[int | None] | None, Any]
) -> Any:
    """Return a signature that has these inputs, each a shape and a type."""
    names = list(inputs)
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]

    @tf.function(input_signature=specs)
    def signature(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(**dict(zip(names, given, strict=True)))

    return signature


DTYPES = (
    *("float32", "float64", "int32", "int64", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"),
    *("string", "half", "bfloat16", "complex64"),
)
_WRITTEN_ONLY = ("half", "bfloat16", "complex64", "uint16")


def _values() -> Mapping[str, Any]:
    def same(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.identity(x)}

    return {
        **{name: _function(same, x=([None], tf.dtypes.as_dtype(name))) for name in DTYPES},
        **{
            f"to_{name}": _function(lambda x, name=name: {"y": tf.cast(x, name)}, x=([None], tf.float32))
            for name in _WRITTEN_ONLY
        },
        "any_shape": _function(same, x=(None, tf.float32)),
        "bytes": _function(lambda text: {"text_bytes": tf.identity(text)}, text=([None], tf.string)),
        "bytes_in": _function(
            lambda text_bytes: {"text": tf.identity(text_bytes)}, text_bytes=([None], tf.string)
        ),
        "matrix": _function(lambda x: {"y": 2 * x}, x=([None, 2], tf.float32)),
        "total": _function(lambda x: {"total": tf.reduce_sum(x)}, x=([None], tf.float32)),
        "scalar": _function(lambda x: {"y": 2 * x}, x=([], tf.float32)),
        "uneven": _function(lambda x: {"a": tf.identity(x), "b": x[:2]}, x=([None], tf.float32)),
        "fails": _function(
            lambda x: {"y": tf.debugging.check_numerics(x, "must be finite")}, x=([None], tf.float32)
        ),
    }


def _height(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    decoded = tf.map_fn(
        lambda one: tf.shape(tf.io.decode_png(one))[0], image_bytes, fn_output_signature=tf.int32
    )
    return {"height": decoded}


_WITH_FUNCTIONS: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "half_plus_two_tf2": lambda: {
        "serving_default": _function(lambda x: {"y": 0.5 * x + 2}, x=([None, 1], tf.float32))
    },
    "values": _values,
    "image": lambda: {"serving_default": _function(_height, image_bytes=([None], tf.string))},
    "multi": lambda: {
        "serving_default": _function(
            lambda a, b: {"sum": a + b, "product": a * b}, a=([None], tf.float32), b=([None], tf.float32)
        )
    },
}
