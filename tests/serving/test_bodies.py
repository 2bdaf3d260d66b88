"""Bodies of the REST API, read and written without a server; the contract's table asks for much more."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pipeline.serving.bodies.answers import (
    write_classes,
    write_columns,
    write_error,
    write_rows,
    write_values,
)
from pipeline.serving.bodies.fill import Kind, decode_base64
from pipeline.serving.bodies.predict_request import read_predict_request
from pipeline.serving.bodies.reader import read_object
from pipeline.serving.bodies.tokens import read_tokens
from pipeline.serving.bodies.values import Members, to_message_text
from pipeline.serving.errors import ServingError


def plain(value: Any) -> Any:
    if isinstance(value, Members):
        return {key: plain(inner) for key, inner in value.pairs}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "text",
    [
        "{}", '{"a": [1, -2, 3.5, 1e3, "é\\n\\u00e9\\ud83d\\ude00", true, false, null, {}, []]}',
        ' \r\n\t{"a" : {"b": [ ] } } trailing', '{"a": -0, "b": 0.5e-3, "c": [NaN, Infinity, -Infinity]}',
    ],
)  # fmt: skip
def test_both_parsers_agree(text: str) -> None:
    assert repr(plain(read_object(text.encode()))) == repr(plain(read_tokens(text.encode())))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b" \n", "The document is empty. at offset: 2"),
        (b"x", "Invalid value. at offset: 0"),
        (b"]", "The document is empty. at offset: 0"),
        (b'{"a": 1e400}', "Number too big to be stored in double. at offset: 6"),
        (b'{"a": 0e400}', "Number too big to be stored in double. at offset: 6"),
        (b'{"a": 1.}', "Missing fraction part in number. at offset: 8"),
        (b'{"a": 1e}', "Missing exponent in number. at offset: 8"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": 1,}', "Missing a name for object member. at offset: 8"),
        (b"{1: 2}", "Missing a name for object member. at offset: 1"),
        (b'{"a": 1 "b"}', "Missing a comma or } after an object member. at offset: 8"),
        (b'{"a": [1 2]}', "Missing a comma or ] after an array element. at offset: 9"),
        (b'{"a": [1,]}', "Invalid value. at offset: 9"),
        (b'{"a": nul}', "Invalid value. at offset: 9"),
        (b'{"a": "\\ud800"}', "The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": "\\u12x4"}', "Incorrect hex digit after \\u escape in string. at offset: 7"),
        (b'{"a": "\\q"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a": "b', "Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "b\x00"}', "Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "b\n"}', "Invalid encoding in string. at offset: 8"),
        (b'\xef\xbb\xbf{"a": x}', "Invalid value. at offset: 9"),
    ],
)
def test_what_is_no_json_is_refused_with_its_offset(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as raised:
        read_object(body)
    assert raised.value.message == f"JSON Parse error: {message}"
    assert raised.value.http_status == 400


def test_lenient_forms_are_read() -> None:
    assert plain(read_object(b'\xef\xbb\xbf{"a": [NaN, Inf, -Inf, -Infinity]}'))["a"][1:] == [
        math.inf,
        -math.inf,
        -math.inf,
    ]
    assert read_object(b'{"a": 1, "a": 2}').find("a") == 1
    assert plain(read_object(b'{"a": 99999999999999999999}')) == {"a": 1e20}
    assert type(read_object(b'{"a": 18446744073709551615}').find("a")) is int
    assert read_object(b'{"a": "\xff"}').find("a").encode("utf-8", "surrogateescape") == b"\xff"


def test_the_depth_of_lists_has_no_limit() -> None:
    with pytest.raises(ServingError, match="tensor parsing error: x"):
        read_inputs(b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", x="float")


def read_inputs(body: bytes, **kinds: str) -> dict[str, Any]:
    _, _, inputs = read_predict_request(body, lambda _: {name: Kind(kind) for name, kind in kinds.items()})
    return inputs


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("float", "[[1, 2.5], [3, 1e39]]", np.array([[1, 2.5], [3, np.inf]], np.float32)),
        ("double", "[1, 0.1]", np.array([1, 0.1])),
        ("int32", "[-2147483648, 2147483647]", np.array([-(2**31), 2**31 - 1], np.int32)),
        ("uint8", "[300, -1]", np.array([44, 255], np.uint8)),
        ("uint64", "[1, 18446744073709551615]", np.array([1, 2**64 - 1], np.uint64)),
        ("bool", "[true, false]", np.array([True, False])),
        ("string", '["a", {"b64": "4pyT"}]', np.array([b"a", "✓".encode()], object)),
        ("float", "[]", np.zeros(0, np.float32)),
    ],
)
def test_columns_become_arrays(kind: str, values: str, expected: Any) -> None:
    array = read_inputs(f'{{"inputs": {values}}}'.encode(), x=kind)["x"]
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        (
            "int32",
            "[1, 1.0]",
            "INVALID_ARGUMENT: JSON Value: 1.0 Type: Number is not of expected type: int32",
        ),
        (
            "float",
            "[1, true]",
            "INVALID_ARGUMENT: JSON Value: true Type: True is not of expected type: float",
        ),
        ("float", "[[1, 2], [1]]", "INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1"),
        ("float", "[[1, 2], [[1, 2]]]", "INVALID_ARGUMENT: Expecting shape [2] but got: [1,2]"),
        ("bool", "[true, 1]", "INVALID_ARGUMENT: JSON Value: 1 Type: Number is not of expected type: bool"),
        ("half", "[0, 1]", "UNIMPLEMENTED: Conversion of JSON Value: 0 to type: half"),
    ],
)
def test_rows_that_do_not_fit_are_refused(kind: str, rows: str, message: str) -> None:
    with pytest.raises(ServingError) as raised:
        read_inputs(f'{{"instances": {rows}}}'.encode(), x=kind)
    number = 0 if kind == "half" else 1
    assert (
        raised.value.message == f"Failed to process element: {number} of 'instances' list. Error: {message}"
    )


def test_an_element_may_have_a_name_twice() -> None:
    body = b'{"instances": [{"x": [1], "x": [2]}, {"x": [3]}]}'
    assert read_inputs(body, x="float")["x"].tolist() == [[1], [2]]


def test_a_value_in_a_message_is_cut_between_tokens() -> None:
    assert to_message_text("x" * 1000) == '"' + "x" * 1000 + '"'
    text = to_message_text(list(range(1000)))
    assert 256 <= len(text) < 280


@pytest.mark.parametrize("text", ["YQ", "YQ==", " Y Q = = ", "YQ\n"])
def test_base64_may_lack_padding_and_have_blanks(text: str) -> None:
    assert decode_base64(text) == b"a"


@pytest.mark.parametrize("text", ["Y", "Y-_a", "YQ=", "é"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ServingError, match="Unable to base64 decode"):
        decode_base64(text)


def test_answers_have_the_layout_of_tensorflow_serving() -> None:
    values = np.array([2.5, 9e6, 0.1234567], np.float32)
    assert write_rows({"y": values}) == b'{\n    "predictions": [2.5, 9e+06, 0.123456702\n    ]\n}'
    assert write_columns({"y": values[:1]}) == b'{\n    "outputs": [\n        2.5\n    ]\n}'
    assert write_values([1.0, float("nan")]) == b'{\n    "results": [1.0, NaN]\n}'
    assert write_classes([[(b"a", 0.5)]]) == b'{\n    "results": [[["a", 0.5]]\n    ]\n}'
    assert write_error('a "b"\n') == b'{\n    "error": "a \\"b\\"\\n"\n}'


def test_several_outputs_are_objects() -> None:
    outputs = {"a_bytes": np.array([b"\xff"], object), "b": np.array([[1, 2]], np.int64)}
    assert json.loads(write_rows(outputs)) == {"predictions": [{"a_bytes": {"b64": "/w=="}, "b": [1, 2]}]}
    assert json.loads(write_columns(outputs)) == {"outputs": {"a_bytes": [{"b64": "/w=="}], "b": [[1, 2]]}}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"y": np.float32(1)}, "Tensor name: y has no shape information "),
        ({"x": np.zeros(3), "y": np.zeros(2)}, "Tensor name: y has inconsistent batch size: 2 expecting: 3"),
        ({"y": np.zeros(1, np.float16)}, "Failed to write JSON value for tensor type: half"),
        ({}, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_outputs_without_rows_are_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError) as raised:
        write_rows(outputs)
    assert raised.value.message == message
