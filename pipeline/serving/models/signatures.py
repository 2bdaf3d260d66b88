"""Checks of requests against signatures: which tensors are fed and fetched, and what comes back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError, invalid

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def find_predict_signature(signatures: Mapping[str, Any], name: str, check_method: bool) -> Any:
    """Return the signature for Predict.

    Raises:
        ServingError: There is none, or with `check_method` its method is another one.
    """
    if name not in signatures:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    signature = signatures[name]
    if check_method and signature.method_name not in (PREDICT, CLASSIFY, REGRESS):
        raise ServingError(
            "INTERNAL",
            f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. "
            f"Was: {signature.method_name}",
        )
    return signature


def match_inputs(signature: Any, given: Iterable[str]) -> None:
    """Check that a request has the signature's inputs; those with a default may be missing.

    Raises:
        ServingError: An input is missing, or there is another one.
    """
    names, expected = set(given), set(signature.inputs)
    if len(names) > len(expected) or (len(names) < len(expected) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(names)}!={len(expected)} len({_braced(names)}) != "
            f"len({_braced(expected)}). Sent extra: {_braced(names - expected)}. Missing but required: "
            f"{_braced(expected - names)}."
        )
    for alias in sorted(expected - names):
        if alias not in signature.defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in "
                "request and no default value provided. Inputs expected to be in the request "
                f"{_braced(names)}, or default input alias set: {','.join(sorted(signature.defaults))}"
            )
    if names - expected:
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(names & expected))}, "
            f"request input: {','.join(sorted(names))}"
        )


def pick_outputs(signature: Any, wanted: Sequence[str]) -> list[str]:
    """Return the names of the outputs to fetch: `wanted`, or all of them.

    Raises:
        ServingError: One is not there, or is listed twice.
    """
    seen: set[str] = set()
    for alias in wanted:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_braced(signature.outputs)}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return list(wanted) or sorted(signature.outputs)


def find_example_signature(signatures: Mapping[str, Any], name: str, method: str, check_method: bool) -> Any:
    """Return the signature for Classify or Regress.

    Raises:
        ServingError: There is none, or with `check_method` its method is another one.
    """
    if name not in signatures:
        raise invalid(f"No signature was found with the name: {name}")
    if check_method:
        check_method_name(signatures[name], method)
    return signatures[name]


def check_method_name(signature: Any, method: str) -> None:
    """Check the method of a signature.

    Raises:
        ServingError: It is another one than `method`.
    """
    if signature.method_name != method:
        word = "classification" if method == CLASSIFY else "regression"
        raise invalid(f"Expected {word} signature method_name to be {method}. Was: {signature.method_name}")


def classify_tensors(signature: Any) -> tuple[str, list[str]]:
    """Return the names of the tensors that Classify feeds and fetches.

    Raises:
        ServingError: The signature does not fit.
    """
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise ServingError(
            "FAILED_PRECONDITION", f"No classification inputs found in SignatureDef: {signature}"
        )
    names = [signature.outputs[key].name for key in ("classes", "scores") if key in signature.outputs]
    if not names:
        raise ServingError(
            "FAILED_PRECONDITION",
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}",
        )
    return signature.inputs["inputs"].name, names


def regress_tensors(signature: Any) -> tuple[str, list[str]]:
    """Return the names of the tensors that Regress feeds and fetches.

    Raises:
        ServingError: The signature does not fit.
    """
    for what, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        if len(tensors) != 1:
            raise invalid(f"Expected one {what} Tensor.")
    for what, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if what not in tensors:
            raise ServingError(
                "FAILED_PRECONDITION", f"No regression {what} found in SignatureDef: {signature}"
            )
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def fill_classes(signature: Any, count: int, tensors: Mapping[str, Array], result: Any) -> None:
    """Write what the session gave into a ClassificationResult.

    Raises:
        ServingError: The tensors have another type or shape than Classify needs.
    """
    found = {}
    for key, dtype in (("classes", tf.string), ("scores", tf.float32)):
        if key not in signature.outputs:
            continue
        array = found[key] = tensors[signature.outputs[key].name]
        if array.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_show_shape(array.shape)}"
            )
        if _dtype(array) != dtype:
            raise invalid(f"Expected {key} Tensor of {_enum_name(dtype)}. Got: {_enum_name(_dtype(array))}")
        if len(array) != count:
            raise invalid(f"Expected {key} output batch size of {count}. Got: {len(array)}")
    width = max(array.shape[1] for array in found.values())
    if any(array.shape[1] != width for array in found.values()):
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{found['classes'].shape[1]} vs. {found['scores'].shape[1]}"
        )
    labels, scores = found.get("classes"), found.get("scores")
    for row in range(count):
        classifications = result.classifications.add()
        for column in range(width):
            each = classifications.classes.add()
            if labels is not None:
                each.label = labels[row, column].decode("utf-8", "replace")
            if scores is not None:
                each.score = scores[row, column]


def fill_values(signature: Any, count: int, tensors: Mapping[str, Array], result: Any) -> None:
    """Write what the session gave into a RegressionResult.

    Raises:
        ServingError: The tensor has another type or shape than Regress needs.
    """
    array = tensors[signature.outputs["outputs"].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_show_shape(array.shape)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if _dtype(array) != tf.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum_name(_dtype(array))}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _braced(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _dtype(array: Array) -> tf.DType:
    return tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)


def _enum_name(dtype: tf.DType) -> str:
    name = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}.get(dtype.name, dtype.name.upper())
    return f"DT_{name}"


def _show_shape(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
