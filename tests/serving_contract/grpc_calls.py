"""Cases of PredictionService and ModelService."""

# ruff: noqa: E501
from __future__ import annotations

# fmt: off
import re

from tests.serving_contract.case import Grpc, Text, one_of
from tests.serving_contract.setups import MAIN_CONFIG

_ARGUMENT = "INVALID_ARGUMENT"
_X1 = 'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: 1 } }'
_EXAMPLE = 'features { feature { key: "x" value { float_list { value: 1 } } } }'
_INPUT = f"input {{ example_list {{ examples {{ {_EXAMPLE} }} }} }}"


def _spec(model: str, rest: str = "") -> str:
    return f'model_spec {{ name: "{model}" {rest} }}'


def _signature(name: str) -> str:
    return f'signature_name: "{name}"'


def _tensor(rest: str, name: str = "x", dims: str = "1", dtype: str = "DT_FLOAT") -> str:
    shape = " ".join(f"dim {{ size: {size} }}" for size in dims.split())
    return f'inputs {{ key: "{name}" value {{ dtype: {dtype} tensor_shape {{ {shape} }} {rest} }} }}'


def _answer(model: str, version: int, outputs: str, signature: str = "serving_default") -> str:
    return f'{_spec(model, f"version {{ value: {version} }} {_signature(signature)}")} {outputs}'


def _output(rest: str, name: str = "y", dims: str = "1", dtype: str = "DT_FLOAT") -> str:
    return _tensor(rest, name, dims, dtype).replace("inputs", "outputs", 1)


def _predict(name: str, spec: str, inputs: str, answer: str) -> Grpc:
    return Grpc(name, "Predict", f"{spec} {inputs}", answer)


def _bad(name: str, request: str, details: Text, code: str = _ARGUMENT, method: str = "Predict") -> Grpc:
    return Grpc(name, method, request, code=code, details=details)


_H2 = _spec("half_plus_two")
_VALUES = 'model_spec { name: "values" signature_name: "%s" }'

_PREDICT = [
    _predict("predict", _H2, _X1, _answer("half_plus_two", 123, _output("float_val: 2.5"))),
    _predict("a version", _spec("two_versions", "version { value: 123 }"), _X1,
             _answer("two_versions", 123, _output("float_val: 2.5"))),
    _predict("the newest version", _spec("two_versions"), _X1, _answer("two_versions", 124, _output("float_val: 3.5"))),
    _predict("a label", _spec("two_versions", 'version_label: "stable"'), _X1,
             _answer("two_versions", 123, _output("float_val: 2.5"))),
    _predict("a signature", _spec("half_plus_two", _signature("serving_default")), _X1,
             _answer("half_plus_two", 123, _output("float_val: 2.5"))),
    _predict("content of a tensor", _H2, _tensor(r'tensor_content: "\000\000\200?"'),
             _answer("half_plus_two", 123, _output("float_val: 2.5"))),
    _predict("the last value is repeated", _H2, _tensor("float_val: 1 float_val: 2", dims="4"),
             _answer("half_plus_two", 123, _output("float_val: [2.5, 3, 3, 3]", dims="4"))),
    _predict("no value means zeros", _H2, _tensor("", dims="2"),
             _answer("half_plus_two", 123, _output("float_val: 2 float_val: 2", dims="2"))),
    _predict("further values are dropped", _H2, _tensor("float_val: 1 float_val: 5"),
             _answer("half_plus_two", 123, _output("float_val: 2.5"))),
    _predict("an empty tensor", _H2, _tensor("", dims="0"), _answer("half_plus_two", 123, _output("", dims="0"))),
    _predict("a shape that the signature does not have", _H2, _tensor("float_val: 1", dims=""),
             _answer("half_plus_two", 123, _output("float_val: 2.5", dims=""))),
    _predict("a shape that a function does not have", _spec("half_plus_two_tf2"), _tensor("float_val: [1, 2, 5]", dims="3"),
             _answer("half_plus_two_tf2", 1, _output("float_val: [2.5, 3, 4.5]", dims="3"))),
    _predict("several inputs and outputs", _spec("multi"),
             _tensor("float_val: 2", "a") + _tensor("float_val: 3", "b"),
             _answer("multi", 1, _output("float_val: 5", "sum") + _output("float_val: 6", "product"))),
    _predict("an output filter", _spec("multi"),
             _tensor("float_val: 2", "a") + _tensor("float_val: 3", "b") + 'output_filter: "sum"',
             _answer("multi", 1, _output("float_val: 5", "sum"))),
    *(
        _predict(f"{dtype} in and out", _VALUES % signature, _tensor(values, dims="2", dtype=dtype),
                 _answer("values", 1, _output(values, dims="2", dtype=dtype), signature))
        for dtype, signature, values in (
            ("DT_DOUBLE", "float64", "double_val: [0.5, 1e300]"),
            ("DT_INT32", "int32", "int_val: [1, -2]"),
            ("DT_INT64", "int64", "int64_val: [1, -9223372036854775808]"),
            ("DT_UINT8", "uint8", "int_val: [1, 255]"),
            ("DT_UINT64", "uint64", "uint64_val: [1, 18446744073709551615]"),
            ("DT_BOOL", "bool", "bool_val: [true, false]"),
            ("DT_STRING", "string", r'string_val: ["a", "\377\000"]'),
            ("DT_HALF", "half", "half_val: [15360, 16384]"),
            ("DT_BFLOAT16", "bfloat16", "half_val: [16256, 16384]"),
            ("DT_COMPLEX64", "complex64", "scomplex_val: [1, 2, 3, 4]"),
        )
    ),
    _predict("an input that has a default", _spec("counter", _signature("with_default")), _tensor("float_val: 2"),
             _answer("counter", 1, _output("float_val: 6"), "with_default")),
    _predict("a default that is overridden", _spec("counter", _signature("with_default")),
             _tensor("float_val: 2") + _tensor("float_val: 5", "factor", dims=""),
             _answer("counter", 1, _output("float_val: 10"), "with_default")),
    _predict("a signature of examples", _spec("half_plus_two", _signature("regress_x_to_y")),
             _tensor(r'string_val: "\n\017\n\r\n\001x\022\010\022\006\n\004\000\000\200?"', "inputs", dtype="DT_STRING"),
             _answer("half_plus_two", 123, _output("float_val: 2.5", "outputs", "1 1"), "regress_x_to_y")),
    Grpc("content in the answer", "Predict", f"{_H2} {_X1}",
         _answer("half_plus_two", 123, _output(r'tensor_content: "\000\000 @"')), setup="options"),
    Grpc("predict by TLS and in a batch", "Predict", f"{_spec('multi')} {_tensor('float_val: 2', 'a')} {_tensor('float_val: 3', 'b')}",
         contains='{"model_spec": {"name": "multi"}}', setup="options"),
    Grpc("one model by flags", "Predict", f"{_H2} {_X1}", _answer("half_plus_two", 123, _output("float_val: 2.5")), setup="plain"),
]

_ABC = _tensor('tensor_content: "abc"')
_REFUSED = [
    _bad("no model", _X1, "Missing ModelSpec"),
    _bad("a model without a name", "model_spec {} " + _X1, "ModelSpec has no name specified."),
    _bad("an unknown model", f"{_spec('nothing')} {_X1}", "Servable not found for request: Latest(nothing)", "NOT_FOUND"),
    _bad("an unknown version", f"{_spec('half_plus_two', 'version { value: 50 }')} {_X1}",
         "Servable not found for request: Specific(half_plus_two, 50)", "NOT_FOUND"),
    _bad("an unknown label", _spec("two_versions", 'version_label: "L"'), "Unrecognized servable version label: L"),
    _bad("a label of an unknown model", _spec("nothing", 'version_label: "L"'), "Unrecognized servable version label: L"),
    _bad("an unknown signature", f"{_spec('half_plus_two', _signature('X'))} {_X1}",
         'Serving signature key "X" not found.', "FAILED_PRECONDITION"),
    _bad("a long message is cut", f"{_spec('half_plus_two', _signature('X' * 3000))} {_X1}",
         'Serving signature key "' + "X" * (1024 - 23) + "...TRUNCATED", "FAILED_PRECONDITION"),
    _bad("a missing input", f"{_spec('multi')} {_tensor('', 'a')}",
         "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}."),
    _bad("no input", _spec("multi"),
         "input size does not match signature: 0!=2 len({}) != len({a,b}). Sent extra: {}. Missing but required: {a,b}."),
    _bad("an input too many", f"{_H2} {_X1} {_tensor('', 'z')}",
         "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}."),
    _bad("another input", f"{_H2} {_tensor('', 'z')}", one_of("Signature input alias: x(feed name: ")),
    _bad("nothing is cast", f"{_H2} {_tensor('bool_val: true', dtype='DT_BOOL')}",
         re.compile("Expects arg\\[0\\] to be float but bool is provided")),
    _bad("an integer for a float", f"{_VALUES % 'float32'} {_tensor('int_val: 1', dtype='DT_INT32')}",
         re.compile("Expects arg\\[0\\] to be float but int32 is provided")),
    _bad("content of another length", f"{_H2} {_ABC}",
         "tensor parsing error: x"),
    _bad("a tensor without a type", f"{_H2} {_tensor('float_val: 1', dtype='DT_INVALID')}", "tensor parsing error: x"),
    _bad("a negative size", f"{_H2} {_tensor('float_val: 1', dims='-2')}", "tensor parsing error: x"),
    _bad("an unknown output", f'{_H2} {_X1} output_filter: "z"',
         "output tensor alias not found in signature: z Outputs expected to be in the set {y}."),
    _bad("an output twice", f'{_H2} {_X1} output_filter: "y" output_filter: "y"', "duplicate output tensor alias: y"),
    _bad("bytes that are no example, and no text", f"{_spec('half_plus_two', _signature('regress_x_to_y'))} "
         + _tensor(r'string_val: "\231\377"', "inputs", dtype="DT_STRING"),
         re.compile("^Could not parse example input, value: '")),
    _bad("a model that fails", f"{_VALUES % 'fails'} {_tensor('float_val: nan')}", re.compile("must be finite")),
    Grpc("a client's deadline", "Predict", f"{_spec('never')} {_X1}", code="DEADLINE_EXCEEDED", deadline_secs=0.5),
    _predict("a model that once did not answer", _spec("never", _signature("at_once")), _X1,
             _answer("never", 1, _output("float_val: 1"), "at_once")),
    Grpc("plain text to a server with TLS", "Predict", f"{_H2} {_X1}", code="UNAVAILABLE", setup="options",
         deadline_secs=5, is_secure=False),
]

_ONE_CLASS = 'result { classifications { classes { label: "zero" score: 1 } classes { label: "one" score: 2 } } }'
_CONTEXT = (
    f"input {{ example_list_with_context {{ context {{ {_EXAMPLE} }} examples {{}} examples {{ "
    'features { feature { key: "x" value { float_list { value: 2 } } } } } } }'
)


def _task(signature: str, method: str, model: str = "half_plus_two") -> str:
    return f"tasks {{ {_spec(model, _signature(signature))} method_name: \"tensorflow/serving/{method}\" }}"


_H2_SPEC = _spec("half_plus_two", "version { value: 123 } signature_name: \"%s\"")
_INFERENCE = [
    Grpc("classify", "Classify", f"{_spec('classes')} {_INPUT}", _answer("classes", 1, _ONE_CLASS)),
    Grpc("classify by a signature", "Classify", f"{_spec('half_plus_two', _signature('classify_x_to_y'))} {_INPUT}",
         _answer("half_plus_two", 123, "result { classifications { classes { score: 2.5 } } }", "classify_x_to_y")),
    Grpc("classify without scores", "Classify", f"{_spec('classes', _signature('only_classes'))} {_INPUT}",
         _answer("classes", 1, 'result { classifications { classes { label: "zero" } classes { label: "one" } } }', "only_classes")),
    Grpc("classify without checking the method", "Classify", f"{_spec('classes', _signature('as_predict'))} {_INPUT}",
         _answer("classes", 1, _ONE_CLASS, "as_predict")),
    Grpc("classify a label", "Classify",
         f"""{_spec('two_versions', _signature('classify_x_to_y') + ' version_label: "canary"')} {_INPUT}""",
         _answer("two_versions", 124, "result { classifications { classes { score: 3.5 } } }", "classify_x_to_y")),
    Grpc("regress", "Regress", f"{_spec('half_plus_two', _signature('regress_x_to_y'))} {_INPUT}",
         _answer("half_plus_two", 123, "result { regressions { value: 2.5 } }", "regress_x_to_y")),
    Grpc("regress with a context", "Regress", f"{_spec('half_plus_two', _signature('regress_x_to_y'))} {_CONTEXT}",
         _answer("half_plus_two", 123, "result { regressions { value: 2.5 } regressions { value: 3 } }", "regress_x_to_y")),
    _bad("classify nothing", _spec("classes"), "Input is empty.", method="Classify"),
    _bad("classify an empty list", f"{_spec('classes')} input {{ example_list {{}} }}", "Input is empty.", method="Classify"),
    _bad("regress nothing", _spec("half_plus_two", _signature("regress_x_to_y")), "Input is empty.", method="Regress"),
    _bad("classify without a model", _INPUT, "Missing ModelSpec", method="Classify"),
    _bad("regress without a model", _INPUT, "Missing ModelSpec", method="Regress"),
    _bad("classify without a name", f"model_spec {{}} {_INPUT}", "ModelSpec has no name specified.", method="Classify"),
    _bad("classify an unknown model", f"{_spec('nothing')} {_INPUT}", "Servable not found for request: Latest(nothing)",
         "NOT_FOUND", "Classify"),
    _bad("classify an unknown signature", f"{_spec('classes', _signature('X'))} {_INPUT}",
         "No signature was found with the name: X", method="Classify"),
    _bad("regress an unknown signature", f"{_spec('classes', _signature('X'))} {_INPUT}",
         "No signature was found with the name: X", method="Regress"),
    _bad("classify by a signature without inputs", f"{_H2} {_INPUT}", one_of(
        "No classification inputs found in SignatureDef: "), "FAILED_PRECONDITION", "Classify"),
    _bad("regress by a signature without inputs", f"{_H2} {_INPUT}", one_of(
        "No regression inputs found in SignatureDef: "), "FAILED_PRECONDITION", "Regress"),
    _bad("a long message about a signature is cut", f"{_spec('classes', _signature('three_outputs'))} {_INPUT}",
         "Expected one or two output Tensors, found 3", method="Classify"),
    Grpc("multi-inference", "MultiInference",
         f"{_task('regress_x_to_y', 'regress')} {_task('classify_x_to_y', 'classify')} {_INPUT}",
         f"results {{ {_H2_SPEC % 'regress_x_to_y'} regression_result {{ regressions {{ value: 2.5 }} }} }} "
         f"results {{ {_H2_SPEC % 'classify_x_to_y'} classification_result "
         "{ classifications { classes { score: 2.5 } } } }"),
    Grpc("multi-inference of one task", "MultiInference", f"{_task('regress_x_to_y2', 'regress')} {_INPUT}",
         f"results {{ {_H2_SPEC % 'regress_x_to_y2'} regression_result {{ regressions {{ value: 3.5 }} }} }}"),
    _bad("multi-inference by predict", f"{_task('serving_default', 'predict')} {_INPUT}",
         "Unsupported signature method_name: tensorflow/serving/predict", "UNIMPLEMENTED", "MultiInference"),
    _bad("multi-inference of one signature twice", f"{_task('regress_x_to_y', 'regress') * 2} {_INPUT}",
         "Duplicate evaluation of signature: regress_x_to_y", method="MultiInference"),
    _bad("multi-inference of two models", f"{_task('regress_x_to_y', 'regress')} {_task('regress_x_to_y2', 'regress', 'classes')} {_INPUT}",
         "All ModelSpecs in a MultiInferenceRequest must access the same model name.", method="MultiInference"),
    _bad("multi-inference of an unknown signature", f"{_task('X', 'regress')} {_INPUT}",
         "Requested signature not found in model graph: X", method="MultiInference"),
    _bad("multi-inference of nothing", _task("regress_x_to_y", "regress"), "Input is empty.", method="MultiInference"),
]

_RELOAD = "HandleReloadConfigRequest"


def reload(config: str) -> str:
    """Return a request for a new configuration, given as in a file."""
    return f"config {{ {config} }}"


def reload_main(further: str = "") -> str:
    """Return a request for the configuration of the setup `main` with a further model or none."""
    end = MAIN_CONFIG.rindex("}")
    return reload(MAIN_CONFIG[:end] + further + MAIN_CONFIG[end:])


def _model(name: str, path: str = "{seen}/models/half_plus_two", rest: str = 'model_platform: "tensorflow"') -> str:
    return f'config {{ name: "{name}" base_path: "{path}" {rest} }}'


_MODEL = [
    Grpc("status", "GetModelStatus", _H2, "model_version_status { version: 123 state: AVAILABLE status {} }"),
    Grpc("status of two versions, the newest first", "GetModelStatus", _spec("two_versions"),
         "model_version_status { version: 124 state: AVAILABLE status {} } "
         "model_version_status { version: 123 state: AVAILABLE status {} }"),
    Grpc("status of a version", "GetModelStatus", _spec("two_versions", "version { value: 123 }"),
         "model_version_status { version: 123 state: AVAILABLE status {} }"),
    Grpc("status of a label is of all versions", "GetModelStatus", _spec("two_versions", 'version_label: "stable"'),
         "model_version_status { version: 124 state: AVAILABLE status {} } "
         "model_version_status { version: 123 state: AVAILABLE status {} }"),
    _bad("status of an unknown model", _spec("nothing"), "Could not find any versions of model nothing", "NOT_FOUND",
         "GetModelStatus"),
    _bad("status of an unknown version", _spec("half_plus_two", "version { value: 5 }"),
         "Could not find version 5 of model half_plus_two", "NOT_FOUND", "GetModelStatus"),
    _bad("status without a name", "model_spec {}", re.compile("^Could not find any versions of model "), "NOT_FOUND",
         "GetModelStatus"),
    _bad("status without a model", "", "Missing ModelSpec", method="GetModelStatus"),
    Grpc("metadata", "GetModelMetadata", f'{_H2} metadata_field: "signature_def"',
         contains='{"model_spec": {"name": "half_plus_two", "version": "123"}, "metadata": {"signature_def": '
         '{"signature_def": {"serving_default": {"inputs": {"x": {"name": "x:0", "dtype": "DT_FLOAT"}}, '
         '"method_name": "tensorflow/serving/predict"}, "regress_x_to_y": {"outputs": {"outputs": {"name": "y:0"}}}}}}}'),
    Grpc("metadata of a label", "GetModelMetadata",
         f"""{_spec('two_versions', 'version_label: "stable"')} metadata_field: "signature_def" """,
         contains='{"model_spec": {"name": "two_versions", "version": "123"}}'),
    _bad("metadata without a field", _H2, "GetModelMetadataRequest must specify at least one metadata_field",
         method="GetModelMetadata"),
    _bad("metadata of an unknown field", f'{_H2} metadata_field: "other"', "Metadata field other is not supported",
         method="GetModelMetadata"),
    _bad("metadata without a model", 'metadata_field: "signature_def"', "Missing ModelSpec", method="GetModelMetadata"),
    _bad("metadata of an unknown model", f'{_spec("nothing")} metadata_field: "signature_def"',
         "Servable not found for request: Latest(nothing)", "NOT_FOUND", "GetModelMetadata"),
    # Configurations that are refused; what is served stays.
    _bad("reload without a list", "", re.compile("ModelConfigList|model_config_list"), method=_RELOAD),
    _bad("reload a model twice", reload(f"model_config_list {{ {_model('m')} {_model('m')} }}"),
         "Illegal to list model m multiple times in config list", method=_RELOAD),
    _bad("reload a relative path", reload(f"model_config_list {{ {_model('m', 'models/half_plus_two')} }}"),
         one_of("Expected model m to have an absolute path or URI; "), method=_RELOAD),
    _bad("reload another platform of a model",
         reload(f"""model_config_list {{ {_model('half_plus_two', rest='model_platform: "other"')} }}"""),
         re.compile("Illegal to change a model's platform|requests unsupported platform"), method=_RELOAD),
    _bad("reload neither type nor platform", reload(f"model_config_list {{ {_model('m', rest='')} }}"),
         re.compile("^Illegal setting neither "), method=_RELOAD),
    _bad("reload both type and platform", reload(
        f"""model_config_list {{ {_model('m', rest='model_type: TENSORFLOW model_platform: "tensorflow"')} }}"""),
        re.compile("^Illegal setting both "), method=_RELOAD),
    _bad("reload an unsupported platform", reload(f"""model_config_list {{ {_model('m', rest='model_platform: "other"')} }}"""),
         re.compile("requests unsupported platform"), method=_RELOAD),
    Grpc("reload with a metric", _RELOAD, reload_main() + ' metric_names: "/tensorflow/serving/request_count"',
         contains='{"metric": [{"name": "/tensorflow/serving/request_count"}]}'),
    Grpc("refused configurations change nothing", "Predict", f"{_H2} {_X1}", _answer("half_plus_two", 123, _output("float_val: 2.5"))),
    Grpc("reload a label of a version that is not there", _RELOAD, reload(
        """model_config_list { config { name: "half_plus_two" base_path: "{seen}/models/half_plus_two"
        model_platform: "tensorflow" version_labels { key: "next" value: 999 } } }"""),
         code="FAILED_PRECONDITION", details="Request to assign label to version 999 of model half_plus_two, "
         "which is not currently available for inference", setup="plain"),
    # The standard health service, reflection, and what does not exist.
    *(
        Grpc(f"health of {service or 'the server'}", "/grpc.health.v1.Health/Check",
             bytes([10, len(service)]) + service.encode() if service else b"", b"\x08\x01")
        for service in ("", "ModelService", "PredictionService")
    ),
    Grpc("health of an unknown service", "/grpc.health.v1.Health/Check", b"\x0a\x01x", code="NOT_FOUND"),
    Grpc("no health service by default", "/grpc.health.v1.Health/Check", b"", code="UNIMPLEMENTED", setup="plain"),
    Grpc("reflection", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x3a\x01*",
         contains="tensorflow.serving.PredictionService", is_stream=True),
    Grpc("no SessionRun", "/tensorflow.serving.SessionService/SessionRun", b"", code="UNIMPLEMENTED"),
    Grpc("an unknown method", "/tensorflow.serving.PredictionService/Explain", b"", code="UNIMPLEMENTED"),
    Grpc("bytes that are no message", "/tensorflow.serving.PredictionService/Predict", b"\xff\xff", code="INTERNAL"),
]

CASES = [*_PREDICT, *_REFUSED, *_INFERENCE, *_MODEL]
