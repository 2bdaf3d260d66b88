"""Cases of `:classify`, `:regress`, metadata, metrics and batching in the REST API."""

# ruff: noqa: E501
from __future__ import annotations

# fmt: off
import re

from tests.serving_contract.case import Rest, Text, one_of
from tests.serving_contract.setups import METRICS

MODELS = "/v1/models"
C = f"{MODELS}/classes:classify"
H2 = f"{MODELS}/half_plus_two"


def _classify(name: str, body: str, answer: str, signature: str = "", path: str = C) -> Rest:
    return Rest(name, path, _signed(body, signature), answer)


def _bad(
    name: str, body: str, error: Text, signature: str = "", path: str = C, status: int = 400, setup: str = "main"
) -> Rest:
    return Rest(name, path, _signed(body, signature), status=status, error=error, setup=setup)


def _signed(body: str, signature: str) -> str:
    return body.replace("{", f'{{"signature_name": "{signature}", ', 1) if signature else body


def _feature(value: str, error: Text) -> tuple[Rest, Rest]:
    """Return two cases, one for each method, of a feature x that cannot be in an example."""
    body = f'{{"examples": [{{"x": {value}}}]}}'
    return (
        _bad(f"classify x: {value}", body, error),
        _bad(f"regress x: {value}", body, error, path=f"{H2}:regress"),
    )


def _examples(name: str, body: str, error: Text) -> tuple[Rest, Rest]:
    """Return two cases of a body that is refused before the model is looked up."""
    return (
        _bad(f"classify {name}", body, error, path=f"{MODELS}/nothing:classify"),
        _bad(f"regress {name}", body, error, path=f"{MODELS}/nothing:regress"),
    )


_ONE = '{"examples": [{"x": 1.0}]}'
_KIND = "Unexpected element type in feature: x expecting type: "
_JSON_TYPE = "Feature: x has element with unexpected JSON type: "

_INFERENCE = [
    _classify("classes and scores", '{"examples": [{"x": 1.0}, {"x": [2.0]}]}',
              '{"results": [[["zero", 1.0], ["one", 2.0]], [["zero", 2.0], ["one", 4.0]]]}'),
    _classify("classes only have the score 0", _ONE, '{"results": [[["zero", 0.0], ["one", 0.0]]]}', "only_classes"),
    _classify("scores only have no label", _ONE, '{"results": [[["", 1.0], ["", 2.0]]]}', "only_scores"),
    _classify("a method name is not checked", _ONE, '{"results": [[["zero", 1.0], ["one", 2.0]]]}', "as_predict"),
    _classify("one score", _ONE, '{"results": [[["", 2.5]]]}', "classify_x_to_y", f"{H2}:classify"),
    _classify("features in a context", '{"context": {"x": 3.0}, "examples": [{}, {"x": 1.0}]}',
              '{"results": [[["zero", 3.0], ["one", 6.0]], [["zero", 1.0], ["one", 2.0]]]}'),
    _classify("a score that is no number", '{"examples": [{"x": NaN}]}', '{"results": [[["zero", NaN], ["one", NaN]]]}'),
    _classify("a score in nine digits", '{"examples": [{"x": 0.123456702}]}',
              '{"results": [[["", 0.123456702], ["", 0.246913403]]]}', "only_scores"),
    _classify("further features", '{"examples": [{"x": 1.0, "name": ["a", "b"], "other": 3, "is": true}]}',
              '{"results": [[["zero", 1.0], ["one", 2.0]]]}'),
    _classify("regress", '{"examples": [{"x": 1.0}, {"x": 2.0}]}', '{"results": [2.5, 3.0]}', "regress_x_to_y", f"{H2}:regress"),
    _classify("regress by another signature", _ONE, '{"results": [3.5]}', "regress_x_to_y2", f"{H2}:regress"),
    _classify("regress with a context", '{"context": {"x2": 2.0}, "examples": [{"x": 1.0}]}', '{"results": [4.0]}',
              "regress_x2_to_y3", f"{H2}:regress"),
    _classify("regress a version", _ONE, '{"results": [2.5]}', "regress_x_to_y", f"{H2}/versions/123:regress"),
    _bad("classify an unknown signature", _ONE, "No signature was found with the name: X", "X"),
    _bad("regress an unknown signature", _ONE, "No signature was found with the name: X", "X", f"{H2}:regress"),
    _bad("classify by a signature without inputs", _ONE, one_of("No classification inputs found in SignatureDef: "),
         path=f"{H2}:classify"),
    _bad("classify by another input", _ONE, one_of("No classification inputs found in SignatureDef: "), "other_input"),
    _bad("classify by other outputs", _ONE, one_of(
        'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: '
    ), "other_outputs"),
    _bad("classify by three outputs", _ONE, "Expected one or two output Tensors, found 3", "three_outputs"),
    _bad("classify by two inputs", _ONE, "Expected one input Tensor.", path=f"{MODELS}/multi:classify"),
    _bad("classify into scores of one dimension", '{"examples": [{"x": 1.0}]}', one_of(
        "Expected Tensor shape: [batch_size num_classes] but got [2]"), "flat_scores"),
    _bad("classify into classes that are numbers", _ONE, "Expected classes Tensor of DT_STRING. Got: DT_FLOAT", "float_classes"),
    _bad("regress by a signature without inputs", _ONE, one_of("No regression inputs found in SignatureDef: "),
         path=f"{H2}:regress"),
    _bad("regress by another output", _ONE, one_of("No regression outputs found in SignatureDef: "), "other_regress_output",
         f"{MODELS}/classes:regress"),
    _bad("regress into two values", _ONE, one_of(
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "), "two_values",
        f"{MODELS}/classes:regress"),
    _bad("regress by two outputs", _ONE, "Expected one output Tensor.", path=f"{MODELS}/classes:regress"),
    # What an example may have.
    *_feature("2", re.compile("(?i)data type")) [:1],
    _bad("an example without the feature", '{"examples": [{}]}', re.compile(r"x .*is required but could not be found")),
    *_feature("[1.0, 2]", _KIND + "float"),
    *_feature("[true, 1.0]", _KIND + "int64"),
    *_feature("[1, 1.0]", _KIND + "int64"),
    *_feature('["a", 1.0]', _KIND + "bytes"),
    *_feature('[1.0, "a"]', _KIND + "float"),
    *_feature("null", _JSON_TYPE + "Null"),
    *_feature("[[1.0]]", _JSON_TYPE + "Array"),
    *_feature('{"a": 1.0}', _JSON_TYPE + "Object"),
    *_feature("18446744073709551615", "Feature: x has uint64 element. Only int64 is supported."),
    *_feature('{"b64": "!"}', "Unable to base64 decode"),
    # The body is checked before the model.
    *_examples("an empty body", "", one_of("JSON Parse error: The document is empty")),
    *_examples("a list", "[]", re.compile(r"^JSON Value: \[\s*\] Is not object$")),
    *_examples("no examples", '{"instances": [1.0]}', re.compile(
        r"^JSON Value: \{[\s\S]*\} When method is classify, key 'examples' is expected and was not found$")),
    *_examples("examples that are no list", '{"examples": {"x": 1.0}}', re.compile(
        r"^JSON Value: \{[\s\S]*\} Expecting 'examples' value to be an list/array$")),
    *_examples("an empty list of examples", '{"examples": []}', re.compile(
        r"^JSON Value: \{[\s\S]*\} 'examples' value is an empty array$")),
    *_examples("a number as example", '{"examples": [1.0]}', "Example must be JSON object but got JSON Number"),
    *_examples("a list as context", '{"context": [1.0], "examples": [{"x": 1.0}]}',
               "Example must be JSON object but got JSON Array"),
    *_examples("a signature that is a number", '{"signature_name": 1, "examples": [{"x": 1.0}]}', re.compile(
        r"not formatted correctly\. 'signature_name' key must be a string value\.$")),
]


def _tensor(dtype: str, dims: str, name: str) -> str:
    sizes = ", ".join(f'{{"size": "{size}", "name": ""}}' for size in dims.split())
    return f'{{"dtype": "{dtype}", "tensor_shape": {{"dim": [{sizes}], "unknown_rank": false}}, "name": "{name}"}}'


_EXAMPLES = f'"inputs": {{"inputs": {_tensor("DT_STRING", "-1", "tf_example:0")}}}'
_HALF = f"""{{
  "serving_default": {{
    "inputs": {{"x": {_tensor("DT_FLOAT", "-1 1", "x:0")}}},
    "outputs": {{"y": {_tensor("DT_FLOAT", "-1 1", "y:0")}}}, "method_name": "tensorflow/serving/predict"}},
  "classify_x_to_y": {{{_EXAMPLES},
    "outputs": {{"scores": {_tensor("DT_FLOAT", "-1 1", "y:0")}}}, "method_name": "tensorflow/serving/classify"}},
  "regress_x_to_y": {{{_EXAMPLES},
    "outputs": {{"outputs": {_tensor("DT_FLOAT", "-1 1", "y:0")}}}, "method_name": "tensorflow/serving/regress"}},
  "regress_x_to_y2": {{{_EXAMPLES},
    "outputs": {{"outputs": {_tensor("DT_FLOAT", "-1 1", "y2:0")}}}, "method_name": "tensorflow/serving/regress"}},
  "regress_x2_to_y3": {{{_EXAMPLES},
    "outputs": {{"outputs": {_tensor("DT_FLOAT", "-1 1", "y3:0")}}}, "method_name": "tensorflow/serving/regress"}}
}}"""


def _metadata(name: str, version: str, signatures: str) -> str:
    return (
        f'{{"model_spec": {{"name": "{name}", "signature_name": "", "version": "{version}"}}, '
        f'"metadata": {{"signature_def": {{"signature_def": {signatures}}}}}}}'
    )


# `defaults` is in the answers of newer builds only.
_METADATA = [
    Rest("metadata", f"{H2}/metadata", contains=_metadata("half_plus_two", "123", _HALF),
         answer_headers={"Content-Type": "application/json"}),
    Rest("metadata of a version", f"{MODELS}/two_versions/versions/123/metadata",
         contains=_metadata("two_versions", "123", _HALF)),
    Rest("metadata of the newest version", f"{MODELS}/two_versions/metadata",
         contains=_metadata("two_versions", "124", _HALF)),
    Rest("metadata of a label", f"{MODELS}/two_versions/labels/stable/metadata",
         contains=_metadata("two_versions", "123", _HALF)),
    Rest("metadata of a function, with its initialiser", f"{MODELS}/half_plus_two_tf2/metadata",
         contains=_metadata("half_plus_two_tf2", "1", """{
            "serving_default": {
              "inputs": {"x": {"dtype": "DT_FLOAT", "name": "serving_default_x:0", "tensor_shape":
                {"dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": false}}},
              "outputs": {"y": {"dtype": "DT_FLOAT"}}, "method_name": "tensorflow/serving/predict"},
            "__saved_model_init_op": {"inputs": {}, "outputs": {"__saved_model_init_op": {"dtype": "DT_INVALID",
              "tensor_shape": {"dim": [], "unknown_rank": true}, "name": "NoOp"}}, "method_name": ""}}""")),
    Rest("metadata of an unknown rank", f"{MODELS}/values/metadata", contains=_metadata("values", "1", """{
            "any_shape": {"inputs": {"x": {"tensor_shape": {"dim": [], "unknown_rank": true}}}},
            "scalar": {"inputs": {"x": {"tensor_shape": {"dim": [], "unknown_rank": false}}}},
            "uint64": {"inputs": {"x": {"dtype": "DT_UINT64"}}}, "half": {"inputs": {"x": {"dtype": "DT_HALF"}}}}""")),
    Rest("metadata of an unknown model", f"{MODELS}/nothing/metadata", status=404,
         error="Servable not found for request: Latest(nothing)"),
    Rest("metadata of an unknown version", f"{H2}/versions/5/metadata", status=404,
         error="Servable not found for request: Specific(half_plus_two, 5)"),
    Rest("metadata of an unknown label", f"{H2}/labels/L/metadata", status=400,
         error="Unrecognized servable version label: L"),
]

_METRICS = [
    Rest("metrics have types but no help", METRICS, text=re.compile(r"(?s)\A(?!.*# HELP).*# TYPE "),
         answer_headers={"Content-Type": "~^text/plain"}),
    *(
        Rest(f"metrics with {rest}", METRICS + rest, status=400, text=f"Unexpected path: {METRICS}{rest}. Should be {METRICS}")
        for rest in ("?x=1", "#x")
    ),
]

_BATCHED = [
    Rest("a batched request", f"{H2}:predict", '{"instances": [1.0, 2.0]}', '{"predictions": [2.5, 3.0]}', setup="options"),
    Rest("a batched request larger than a batch", f"{H2}:predict", f'{{"inputs": [{", ".join(["1.0"] * 8)}]}}',
         f'{{"outputs": [{", ".join(["2.5"] * 8)}]}}', setup="options"),
    Rest("a batched request by name", f"{MODELS}/multi:predict", '{"inputs": {"a": [1, 3], "b": [2, 4]}}',
         '{"outputs": {"sum": [3.0, 7.0], "product": [2.0, 12.0]}}', setup="options"),
    Rest("a batched classification", C, _ONE, '{"results": [[["zero", 1.0], ["one", 2.0]]]}', setup="options"),
    Rest("a batch of columns of different lengths", f"{MODELS}/multi:predict", '{"inputs": {"a": [1, 3], "b": [2]}}',
         status=400, error=one_of("Batching Run() input tensors must have "), setup="options"),
    Rest("a batch of a scalar", f"{MODELS}/values:predict", '{"signature_name": "scalar", "inputs": 1.0}',
         status=400, error=one_of("Batching Run() input tensors must have "), setup="options"),
    Rest("a batch with a scalar output", f"{MODELS}/values:predict", '{"signature_name": "total", "inputs": [1.0]}',
         status=400, error=re.compile("."), setup="options"),
    _bad("a checked method name of a classification", _ONE, one_of(
        "Expected classification signature method_name to be tensorflow/serving/classify. Was: tensorflow/serving/predict"
    ), "as_predict", setup="options"),
    _bad("a checked method name of a regression", _ONE, one_of(
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify"
    ), "classify_x_to_y", f"{H2}:regress", setup="options"),
]

CASES = [*_INFERENCE, *_METADATA, *_METRICS, *_BATCHED]
