"""Cases of `:predict` in the REST API: bodies, values and formats."""

# ruff: noqa: E501
from __future__ import annotations

# fmt: off
import base64
import re

from tests.make.images import encode_image, make_noise
from tests.serving_contract.case import Rest, Text, one_of

H2 = "/v1/models/half_plus_two:predict"
VALUES = "/v1/models/values:predict"
MULTI = "/v1/models/multi:predict"
_2 = '{"predictions": [2.5]}'


def _bad(name: str, body: str | bytes, error: Text, path: str = H2, status: int = 400) -> Rest:
    return Rest(name, path, body, status=status, error=error)


def _row(number: int, error: str, key: str = "", code: str = "INVALID_ARGUMENT") -> str:
    """Return the message about one element of `instances`."""
    return f"Failed to process element: {number}{key and f' key: {key}'} of 'instances' list. Error: {code}: {error}"


def _type(value: str, kind: str, expected: str) -> str:
    return f"JSON Value: {value} Type: {kind} is not of expected type: {expected}"


def _same(signature: str, given: str, written: str | None = None) -> tuple[Rest, Rest]:
    """Return two cases, by rows and by columns, of a signature that answers with its input."""
    written = written or given
    name = f"{signature} {given[:40]}"
    start = f'{{"signature_name": "{signature}", '
    return (
        Rest(f"row of {name}", VALUES, f'{start}"instances": {given}}}', f'{{"predictions": {written}}}'),
        Rest(f"column of {name}", VALUES, f'{start}"inputs": {given}}}', f'{{"outputs": {written}}}'),
    )


def _refused(signature: str, value: str, kind: str, expected: str) -> tuple[Rest, Rest]:
    """Return two cases, by rows and by columns, of a value that has another type than the signature's input."""
    name, message = f"{signature} refuses {value}", _type(value, kind, expected)
    start = f'{{"signature_name": "{signature}", '
    return (
        _bad(f"row: {name}", f'{start}"instances": [{value}]}}', _row(0, message), VALUES),
        _bad(f"column: {name}", f'{start}"inputs": [{value}]}}', message, VALUES),
    )


def _bytes(value: str, answer: str) -> Rest:
    return Rest(f"base64 {value!r}", VALUES, f'{{"signature_name": "string", "inputs": [{{"b64": "{value}"}}]}}',
                f'{{"outputs": ["{answer}"]}}')


_PARSE = "JSON Parse error: "
_SIGNATURE = re.compile(
    r"^JSON Value: \{[\s\S]*\} not formatted correctly\. 'signature_name' key must be a string value\.$"
)
_IMAGE = base64.b64encode(encode_image(make_noise(0, height=2, width=3))).decode()
# A tf.train.Example with the feature x: 1.0.
_EXAMPLE = base64.b64encode(bytes.fromhex("0a0f0a0d0a0178120812060a040000803f")).decode()
_SPEC = '"signature_name"'

_BODIES = [
    # The parser is lenient.
    Rest("text after the object", H2, '{"instances": [1.0]} and more', _2),
    Rest("a second object", H2, '{"instances": [1.0]}{"instances": []}', _2),
    Rest("a byte order mark", H2, b'\xef\xbb\xbf{"instances": [1.0]}', _2),
    Rest("blanks around", H2, ' \r\n\t{ "instances" : [ 1.0 ] } \n', _2),
    Rest("the first of equal keys", H2, '{"instances": [1.0], "instances": [5.0]}', _2),
    Rest("the first of equal keys in an element", H2, '{"instances": [{"x": 1.0, "x": 5.0}]}', _2),
    Rest("unknown keys", H2, '{"id": {"a": [null]}, "instances": [1.0]}', _2),
    Rest("NaN and infinity", H2, '{"instances": [NaN, Infinity, -Infinity]}', '{"predictions": [NaN, Infinity, -Infinity]}'),
    Rest("500,000 nested lists", H2, lambda: b'{"x": ' + b"[" * 500_000 + b"]" * 500_000 + b', "instances": [1.0]}', _2),
    Rest("an escaped key", H2, '{"\\u0069nstances": [1.0]}', _2),
    # Errors of the parser.
    _bad("an empty body", b"", one_of(_PARSE + "The document is empty")),
    _bad("a body of blanks", "  \n", one_of(_PARSE + "The document is empty")),
    _bad("a trailing comma", '{"instances": [1.0,]}', _PARSE + "Invalid value. at offset: 19"),
    _bad("no JSON", "instances=1.0", one_of(_PARSE + "Invalid value. at offset: 0")),
    _bad("single quotes", "{'instances': [1.0]}", one_of(_PARSE + "Missing a name for object member. at offset: 1")),
    _bad("no colon", '{"instances" [1.0]}', one_of(_PARSE + "Missing a colon after a name of object member. at offset: ")),
    _bad("an open object", '{"instances": [1.0]', one_of(_PARSE + "Missing a comma or } after an object member. at offset: ")),
    _bad("an open list", '{"instances": [1.0', one_of(_PARSE + "Missing a comma or ] after an array element. at offset: ")),
    _bad("an open text", '{"instances": ["a', one_of(_PARSE + "Missing a closing quotation mark in string. at offset: ")),
    _bad("a number too large", '{"instances": [1e400]}', one_of(_PARSE + "Number too big to be stored in double. at offset: ")),
    _bad("a lone surrogate", '{"instances": ["\\ud800"]}', one_of(_PARSE + "The surrogate pair in string is invalid. at offset: ")),
    _bad("an unknown escape", '{"instances": ["\\x"]}', one_of(_PARSE + "Invalid escape character in string. at offset: ")),
    _bad("a comment", '{/* */"instances": [1.0]}', one_of(_PARSE)),
    _bad("a list at the top", "[1.0, 2.0]", re.compile(r"^JSON Value: \[[\s\S]*\] Is not object$")),
    _bad("a text at the top", '"instances"', 'JSON Value: "instances" Is not object'),
    _bad("null at the top", "null", "JSON Value: null Is not object"),
    # Keys.
    _bad("neither key", '{"x": [1.0]}', "Missing 'inputs' or 'instances' key"),
    _bad("an empty object", "{}", "Missing 'inputs' or 'instances' key"),
    _bad("both keys", '{"inputs": [1.0], "instances": [1.0]}', re.compile(
        r"^JSON Value: \{[\s\S]*\} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist $")),
    _bad("instances is no list", '{"instances": 1.0}', re.compile(
        r"^JSON Value: \{[\s\S]*\} Expecting 'instances' to be an list/array$")),
    *(
        _bad(f"{given} in a message", f'{{"instances": {given}}}',
             f'JSON Value: {{\n    "instances": {shown}\n}} Expecting \'instances\' to be an list/array')
        for given, shown in (("1e-5", "0.00001"), ("1e-7", "1e-7"), ("1e20", "100000000000000000000.0"), ("1e22", "1e22"),
                             ("1.5E+300", "1.5e300"), ("-0.0", "-0.0"), ("123456.789", "123456.789"), ("-7", "-7"))
    ),
    _bad("no instances", '{"instances": []}', re.compile(r"^JSON Value: \{[\s\S]*\} No values in 'instances' array$")),
    _bad("a message about a long body is cut", '{"instances": 1.0, "x": [' + ", ".join(["1.25"] * 2000) + "]}",
         re.compile(r"^(?=[\s\S]{250,700}$)JSON Value: \{[\s\S]*Expecting 'instances' to be an list/array$")),
    _bad("a long text in a message goes out whole", f'{{"instances": ["{"a" * 1000}"]}}',
         _row(0, _type(f'"{"a" * 1000}"', "String", "float"))),
    # Signatures.
    Rest("the default signature by name", H2, f'{{{_SPEC}: "serving_default", "instances": [1.0]}}', _2),
    Rest("an empty signature is the default", H2, f'{{{_SPEC}: "", "instances": [1.0]}}', _2),
    _bad("an unknown signature", f'{{{_SPEC}: "X", "instances": [1.0]}}',
         'Serving signature name: "X" not found in signature def'),
    _bad("a signature that is a number", f'{{{_SPEC}: 5, "instances": [1.0]}}', _SIGNATURE),
    _bad("a signature that is null", f'{{{_SPEC}: null, "instances": [1.0]}}', _SIGNATURE),
    _bad("bytes that are no example, and no text", f'{{{_SPEC}: "regress_x_to_y", "instances": [{{"b64": "mf8="}}]}}',
         re.compile("^Could not parse example input, value: '")),
    Rest("predict a regression", H2, f'{{{_SPEC}: "regress_x_to_y", "instances": [{{"b64": "{_EXAMPLE}"}}]}}',
         '{"predictions": [[2.5]]}'),
    # The order of the checks: JSON, type of the signature, model, signature, keys.
    _bad("JSON before the model", "{", one_of(_PARSE), "/v1/models/nothing:predict"),
    _bad("type of the signature before the model", f"{{{_SPEC}: 5}}", _SIGNATURE, "/v1/models/nothing:predict"),
    _bad("the model before the signature", f'{{{_SPEC}: "X"}}', "Servable not found for request: Latest(nothing)",
         "/v1/models/nothing:predict", 404),
    _bad("the model before the keys", "{}", "Servable not found for request: Latest(nothing)",
         "/v1/models/nothing:predict", 404),
    _bad("the signature before the keys", f'{{{_SPEC}: "X"}}', 'Serving signature name: "X" not found in signature def'),
]

_SHAPES = [
    Rest("a shape that the signature does not have", H2, '{"instances": [[[1.0]], [[2.0]]]}',
         '{"predictions": [[[2.5]], [[3.0]]]}'),
    Rest("a shape that a function does not have", "/v1/models/half_plus_two_tf2:predict",
         '{"instances": [1.0, 2.0, 5.0]}', '{"predictions": [2.5, 3.0, 4.5]}'),
    Rest("rows of two dimensions", H2, '{"instances": [[1.0], [2.0]]}', '{"predictions": [[2.5], [3.0]]}'),
    Rest("columns of two dimensions", VALUES, f'{{{_SPEC}: "matrix", "inputs": [[1, 2], [3, 4]]}}',
         '{"outputs": [[2.0, 4.0], [6.0, 8.0]]}'),
    Rest("rows of a matrix", VALUES, f'{{{_SPEC}: "matrix", "instances": [[1, 2], [3, 4]]}}',
         '{"predictions": [[2.0, 4.0], [6.0, 8.0]]}'),
    Rest("an unknown rank", VALUES, f'{{{_SPEC}: "any_shape", "inputs": [[[1.5]]]}}', '{"outputs": [[[1.5]]]}'),
    Rest("an empty column", H2, '{"inputs": []}', '{"outputs": []}'),
    Rest("a scalar column", H2, '{"inputs": 1.0}', '{"outputs": 2.5}'),
    Rest("a scalar input", VALUES, f'{{{_SPEC}: "scalar", "inputs": 1.5}}', '{"outputs": 3.0}'),
    Rest("a named column", H2, '{"inputs": {"x": [1.0]}}', '{"outputs": [2.5]}'),
    Rest("named rows", H2, '{"instances": [{"x": 1.0}, {"x": 2.0}]}', '{"predictions": [2.5, 3.0]}'),
    Rest("a named row with a list", H2, '{"instances": [{"x": [1.0, 2.0]}]}', '{"predictions": [[2.5, 3.0]]}'),
    Rest("several inputs and outputs by rows", MULTI, '{"instances": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]}',
         '{"predictions": [{"sum": 3.0, "product": 2.0}, {"sum": 7.0, "product": 12.0}]}'),
    Rest("several inputs and outputs by columns", MULTI, '{"inputs": {"a": [1, 3], "b": [2, 4]}}',
         '{"outputs": {"sum": [3.0, 7.0], "product": [2.0, 12.0]}}'),
    Rest("a column more than the inputs", MULTI, '{"inputs": {"a": [1], "b": [2], "c": ["?"]}}',
         '{"outputs": {"sum": [3.0], "product": [2.0]}}'),
    Rest("a scalar output by columns", VALUES, f'{{{_SPEC}: "total", "inputs": [1, 2]}}', '{"outputs": 3.0}'),
    _bad("a scalar output by rows", f'{{{_SPEC}: "total", "instances": [1, 2]}}',
         "Tensor name: total has no shape information ", VALUES),
    _bad("outputs of different lengths by rows", f'{{{_SPEC}: "uneven", "instances": [1, 2, 3]}}',
         re.compile(r"^Tensor name: [ab] has inconsistent batch size: (2 expecting: 3|3 expecting: 2)$"), VALUES),
    Rest("outputs of different lengths by columns", VALUES, f'{{{_SPEC}: "uneven", "inputs": [1, 2, 3]}}',
         '{"outputs": {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0]}}'),
    _bad("an unknown input by rows", '{"instances": [{"z": 1.0}]}',
         _row(0, "JSON object: does not have named input: z", "z")),
    _bad("a missing input by rows", '{"instances": [{"a": 1.0}]}', re.compile(
        r"^Failed to process element: 0 of 'instances' list\. JSON object: \{\s*\"a\": 1\.0\s*\} keys must be equal to: a,b$"), MULTI),
    _bad("a missing input by columns", '{"inputs": {"a": [1.0]}}', "Missing named input: b in 'inputs' object.", MULTI),
    _bad("an unnamed row for several inputs", '{"instances": [1.0]}', one_of(
        "instances is a plain list, but expecting list of objects as multiple input tensors required"), MULTI),
    _bad("an unnamed column for several inputs", '{"inputs": [1.0]}', one_of(
        "inputs is a plain value/list, but expecting an object as multiple input tensors required"), MULTI),
    _bad("a value after an object", '{"instances": [{"x": 1.0}, 2.0]}',
         "Expecting object but got list at item 1 of input list"),
    _bad("an object after a value", '{"instances": [1.0, {"x": 2.0}]}',
         "Expecting value/list but got object at item 1 of input list"),
    _bad("rows of different sizes", '{"instances": [[1.0, 2.0], [1.0, 2.0, 3.0]]}',
         _row(1, "Expecting tensor size: 2 but got: 3")),
    _bad("rows of different shapes", '{"instances": [[[1.0, 2.0]], [[1.0], [2.0]]]}',
         _row(1, "Expecting shape [1,2] but got: [2,1]")),
    _bad("a ragged column", '{"inputs": [[1.0], [1.0, 2.0]]}',
         "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    _bad("a list too deep", '{"inputs": [1.0, [2.0]]}', "Encountered list at unexpected level: 1 expected < 1"),
    _bad("a value too high", '{"inputs": [[1.0], 2.0]}', re.compile(r"^JSON Value: 2\.0 found at incorrect level: ")),
    _bad("columns that do not fit each other", '{"inputs": {"a": [1, 2], "b": [1, 2, 3]}}', re.compile("."), MULTI),
    _bad("a model that fails", f'{{{_SPEC}: "fails", "instances": [NaN]}}', re.compile("must be finite"), VALUES),
]

_TYPES = [
    *_same("float32", "[1.5, -2.25, 0.1]"),
    *_same("float32", "[1, 2, -3]", "[1.0, 2.0, -3.0]"),
    # Six digits if they are the number, else nine, or seventeen of a double; a point or an exponent always.
    *_same("float32", "[0.123456702, 9000000, 16777216, 0.00003]", "[0.123456702, 9e+06, 16777216.0, 3e-05]"),
    *_same("float32", "[100000, 1000000, 1234567, -0.0]", "[100000.0, 1e+06, 1234567.0, -0.0]"),
    *_same("float32", "[1e39, -1e39, 3.4e38]", "[Infinity, -Infinity, 3.4e+38]"),
    *_same("float32", "[NaN, Infinity, -Infinity]"),
    *_same("float64", "[0.1, 1e+300, 0.123456789012345, 1.0]"),
    *_same("float64", "[123456789, 3.141592653589793]", "[123456789.0, 3.1415926535897931]"),
    *_same("int32", "[1, -2147483648, 2147483647]"),
    *_same("int64", "[1, -9223372036854775808, 9223372036854775807]"),
    *_same("uint32", "[0, 4294967295]"),
    *_same("uint64", "[0, 18446744073709551615]"),
    *_same("int16", "[1, -32768]"),
    *_same("uint8", "[1, 255]"),
    # The small ones are checked as 32 bits only, and then cast.
    *_same("uint8", "[300]", "[44]"),
    *_same("int8", "[300]", "[44]"),
    *_same("int16", "[70000]", "[4464]"),
    *_same("bool", "[true, false]"),
    *_same("string", '["a", "", "\u00e4\u4e2d", "\\"\\\\\\n\\u0001"]'),
    *_refused("float32", '"x"', "String", "float"),
    *_refused("float32", "true", "True", "float"),
    *_refused("float32", "null", "Null", "float"),
    *_refused("float64", "false", "False", "double"),
    *_refused("int32", "1.0", "Number", "int32"),
    *_refused("int32", "2147483648", "Number", "int32"),
    *_refused("int64", "1.5", "Number", "int64"),
    *_refused("int64", "9223372036854775808", "Number", "int64"),
    *_refused("uint8", "1.0", "Number", "uint8"),
    *_refused("uint32", "-1", "Number", "uint32"),
    *_refused("uint64", "-1", "Number", "uint64"),
    *_refused("bool", "1", "Number", "bool"),
    *_refused("string", "1", "Number", "string"),
    _bad("a named value of another type", '{"instances": [{"x": "y"}]}', _row(0, _type('"y"', "String", "float"), "x")),
    _bad("the second row has another type", '{"instances": [1.0, "y"]}', _row(1, _type('"y"', "String", "float"))),
    _bad("base64 for a number", '{"inputs": [{"b64": "AAAA"}]}', re.compile(
        r"^JSON Value: \{\s*\"b64\": \"AAAA\"\s*\} Type: Object is not of expected type: float$")),
    # Types without a form in JSON.
    *(
        _bad(f"row of {name}", f'{{{_SPEC}: "{name}", "instances": [1]}}',
             _row(0, f"Conversion of JSON Value: 1 to type: {name}", code="UNIMPLEMENTED"), VALUES)
        for name in ("uint16", "half", "bfloat16", "complex64")
    ),
    *(
        _bad(f"column of {name}", f'{{{_SPEC}: "{name}", "inputs": [1]}}',
             f"Conversion of JSON Value: 1 to type: {name}", VALUES, 501)
        for name in ("uint16", "half", "bfloat16", "complex64")
    ),
    *(
        _bad(f"output of {name}", f'{{{_SPEC}: "to_{name}", "inputs": [1]}}',
             f"Failed to write JSON value for tensor type: {name}", VALUES)
        for name in ("uint16", "half", "bfloat16", "complex64")
    ),
]

_BASE64 = [
    _bytes("aGVsbG8=", "hello"),
    _bytes("aGVsbG8", "hello"),
    _bytes("aGVs bG8=", "hello"),
    _bytes("", ""),
    *(
        _bad(f"no base64 {value!r}", f'{{{_SPEC}: "string", "inputs": [{{"b64": "{value}"}}]}}',
             "Unable to base64 decode", VALUES)
        for value in ("_-8=", "!", "aGVsbG8=aGVs")
    ),
    Rest("base64 by rows", VALUES, f'{{{_SPEC}: "string", "instances": [{{"b64": "aGVsbG8="}}, "you"]}}',
         '{"predictions": ["hello", "you"]}'),
    Rest("base64 in named rows", VALUES, f'{{{_SPEC}: "string", "instances": [{{"x": {{"b64": "aGVsbG8="}}}}]}}',
         '{"predictions": ["hello"]}'),
    Rest("base64 as a scalar column", VALUES, f'{{{_SPEC}: "string", "inputs": {{"b64": "aGVsbG8="}}}}',
         '{"outputs": "hello"}'),
    Rest("base64 in a named column", VALUES, f'{{{_SPEC}: "string", "inputs": {{"x": [{{"b64": "aGVsbG8="}}]}}}}',
         '{"outputs": ["hello"]}'),
    _bad("base64 with another key", f'{{{_SPEC}: "string", "inputs": [{{"b64": "AAAA", "x": 1}}]}}',
         re.compile(r"^JSON Value: \{[\s\S]*\} not formatted correctly for base64 data$"), VALUES),
    _bad("base64 that is no text", f'{{{_SPEC}: "string", "inputs": [{{"b64": 5}}]}}',
         re.compile(r"^JSON Value: \{[\s\S]*\} not formatted correctly for base64 data$"), VALUES),
    Rest("an output named _bytes by columns", VALUES, f'{{{_SPEC}: "bytes", "inputs": ["hello"]}}',
         '{"outputs": [{"b64": "aGVsbG8="}]}'),
    Rest("an output named _bytes by rows", VALUES, f'{{{_SPEC}: "bytes", "instances": ["hello", "a"]}}',
         '{"predictions": [{"b64": "aGVsbG8="}, {"b64": "YQ=="}]}'),
    Rest("an input named _bytes takes texts too", VALUES, f'{{{_SPEC}: "bytes_in", "instances": ["hello"]}}',
         '{"predictions": ["hello"]}'),
    Rest("an image", "/v1/models/image:predict", f'{{"instances": [{{"b64": "{_IMAGE}"}}]}}', '{"predictions": [2]}'),
    Rest("two images by name", "/v1/models/image:predict",
         f'{{"instances": [{{"image_bytes": {{"b64": "{_IMAGE}"}}}}, {{"image_bytes": {{"b64": "{_IMAGE}"}}}}]}}',
         '{"predictions": [2, 2]}'),
    _bad("a damaged image", '{"instances": [{"b64": "AAAA"}]}', re.compile("."), "/v1/models/image:predict"),
]

CASES = [*_BODIES, *_SHAPES, *_TYPES, *_BASE64]
