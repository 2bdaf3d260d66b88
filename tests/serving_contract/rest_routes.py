"""Cases of the REST API's paths, methods, headers and of the status of models."""

# ruff: noqa: E501
from __future__ import annotations

# fmt: off
import gzip
import io
import re

from tests.serving_contract.case import Rest, one_of

MODELS = "/v1/models"
H2 = f"{MODELS}/half_plus_two"
TWO = f"{MODELS}/two_versions"
ONE = '{"instances": [1.0]}'
JSON_TYPE = {"Content-Type": "application/json"}


def _malformed(method: str, path: str) -> Rest:
    return Rest(
        f"malformed {method} {path}",
        path,
        ONE if method in ("POST", "PUT", "PATCH") else None,
        method=method,
        status=400,
        error=f"Malformed request: {method} {path}",
        answer_headers=JSON_TYPE,
    )


def _status(*versions: tuple[int, str]) -> str:
    rows = [
        f'{{"version": "{version}", "state": "{state}", "status": {{"error_code": "OK", "error_message": ""}}}}'
        for version, state in versions
    ]
    return f'{{"model_version_status": [{", ".join(rows)}]}}'


def _bomb() -> bytes:
    """Return a few kilobytes of gzip that unpack to more than 100 MiB."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(ONE.encode())
        for _ in range(101):
            file.write(b" " * 2**20)
    return packed.getvalue()


_UP = _status((123, "AVAILABLE"))
_BOTH = _status((124, "AVAILABLE"), (123, "AVAILABLE"))
_2 = '{"predictions": [2.5]}'
_3 = '{"predictions": [3.5]}'
_EMPTY = one_of("JSON Parse error: The document is empty")

CASES = [
    Rest("predict by rows", f"{H2}:predict", '{"instances": [1.0, 2.0, 5.0]}', '{"predictions": [2.5, 3.0, 4.5]}',
         answer_headers=JSON_TYPE),
    Rest("predict by columns", f"{H2}:predict", '{"inputs": [1.0, 2.0, 5.0]}', '{"outputs": [2.5, 3.0, 4.5]}',
         answer_headers=JSON_TYPE),
    Rest("predict a version", f"{H2}/versions/123:predict", ONE, _2),
    Rest("predict a version with leading zeros", f"{H2}/versions/00000123:predict", ONE, _2),
    Rest("predict an older version", f"{TWO}/versions/123:predict", ONE, _2),
    Rest("predict the newest version", f"{TWO}:predict", ONE, _3),
    Rest("predict a label", f"{TWO}/labels/stable:predict", ONE, _2),
    Rest("predict another label", f"{TWO}/labels/canary:predict", ONE, _3),
    Rest("predict an encoded label", f"{TWO}/labels/with%20space:predict", ONE, _2),
    Rest("predict an encoded name", f"{MODELS}/half%20plus%20three:predict", ONE, _3),
    Rest("predict a name encoded without need", f"{MODELS}/half%5Fplus%5ftwo:predict", ONE, _2),
    Rest("a path in capital letters", "/V1/MODELS/half_plus_two/VERSIONS/123:predict", ONE, _2),
    Rest("a model is case-sensitive", f"{MODELS}/HALF_PLUS_TWO:predict", ONE, status=404,
         error="Servable not found for request: Latest(HALF_PLUS_TWO)"),
    Rest("unknown model", f"{MODELS}/nothing:predict", ONE, status=404,
         error="Servable not found for request: Latest(nothing)", answer_headers=JSON_TYPE),
    Rest("unknown version", f"{H2}/versions/50:predict", ONE, status=404,
         error="Servable not found for request: Specific(half_plus_two, 50)"),
    Rest("unknown version of an unknown model", f"{MODELS}/nothing/versions/50:predict", ONE, status=404,
         error="Servable not found for request: Specific(nothing, 50)"),
    Rest("the largest version", f"{H2}/versions/9223372036854775807:predict", ONE, status=404,
         error="Servable not found for request: Specific(half_plus_two, 9223372036854775807)"),
    Rest("a version too large", f"{H2}/versions/9223372036854775808:predict", ONE, status=400, text=""),
    Rest("a status of a version too large", f"{H2}/versions/99999999999999999999", status=400, text=""),
    Rest("unknown label", f"{TWO}/labels/L:predict", ONE, status=400,
         error="Unrecognized servable version label: L"),
    Rest("a label of another model", f"{H2}/labels/stable:predict", ONE, status=400,
         error="Unrecognized servable version label: stable"),
    Rest("a label of an unknown model", f"{MODELS}/nothing/labels/L:predict", ONE, status=400,
         error="Unrecognized servable version label: L"),
    Rest("classify an unknown model", f"{MODELS}/nothing:classify", '{"examples": [{"x": 1.0}]}', status=404,
         error="Servable not found for request: Latest(nothing)"),
    Rest("regress an unknown model", f"{MODELS}/nothing:regress", '{"examples": [{"x": 1.0}]}', status=404,
         error="Servable not found for request: Latest(nothing)"),
    Rest("regress a label", f"{TWO}/labels/canary:regress",
         '{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}', '{"results": [3.5]}'),
    Rest("classify a version", f"{TWO}/versions/123:classify",
         '{"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}', '{"results": [[["", 2.5]]]}'),
    # The content type of a request is not read.
    Rest("a form's content type", f"{H2}:predict", ONE, _2, headers={"Content-Type": "application/x-www-form-urlencoded"}),
    Rest("a text's content type", f"{H2}:predict", ONE, _2, headers={"Content-Type": "text/plain; charset=latin-1"}),
    Rest("an accepted type is not read", f"{H2}:predict", ONE, _2, headers={"Accept": "text/html"}, answer_headers=JSON_TYPE),
    # Bodies in gzip.
    Rest("gzip", f"{H2}:predict", gzip.compress(ONE.encode()), _2, headers={"Content-Encoding": "gzip"}),
    Rest("x-gzip", f"{H2}:predict", gzip.compress(ONE.encode()), _2, headers={"Content-Encoding": "x-gzip"}),
    Rest("gzip of a classification", f"{MODELS}/classes:classify", gzip.compress(b'{"examples": [{"x": 1.0}]}'),
         '{"results": [[["zero", 1.0], ["one", 2.0]]]}', headers={"Content-Encoding": "gzip"}),
    Rest("a text that is called gzip", f"{H2}:predict", ONE, status=400, error=_EMPTY, headers={"Content-Encoding": "gzip"}),
    Rest("gzip that ends early", f"{H2}:predict", gzip.compress(ONE.encode())[:-12], status=400, error=_EMPTY,
         headers={"Content-Encoding": "gzip"}),
    Rest("gzip of more than 100 MiB", f"{H2}:predict", _bomb, status=400, error=_EMPTY,
         headers={"Content-Encoding": "gzip"}),
    Rest("gzip with something behind it", f"{H2}:predict", gzip.compress(ONE.encode()) + b"abc", status=400, error=_EMPTY,
         headers={"Content-Encoding": "gzip"}),
    Rest("gzip in capital letters is not unpacked", f"{H2}:predict", gzip.compress(ONE.encode()), status=400,
         error=one_of("JSON Parse error: Invalid value. at offset: 0"), headers={"Content-Encoding": "GZIP"}),
    Rest("another encoding is not unpacked", f"{H2}:predict", ONE, _2, headers={"Content-Encoding": "identity"}),
    # The status of a model.
    Rest("status", H2, answer=_UP, answer_headers=JSON_TYPE),
    Rest("status of a version", f"{H2}/versions/123", answer=_UP),
    Rest("status of two versions, the newest first", TWO, answer=_BOTH),
    Rest("status of one of two versions", f"{TWO}/versions/123", answer=_UP),
    Rest("status of a label is of all versions", f"{TWO}/labels/stable", answer=_BOTH),
    Rest("status of an unknown label too", f"{TWO}/labels/nothing", answer=_BOTH),
    Rest("status of an encoded name", f"{MODELS}/half%20plus%20three", answer=_UP),
    Rest("status in capital letters", "/V1/Models/half_plus_two", answer=_UP),
    Rest("metadata in capital letters is the status", f"{H2}/METADATA", answer=_UP),
    Rest("status of an unknown model", f"{MODELS}/nothing", status=404,
         error="Could not find any versions of model nothing", answer_headers=JSON_TYPE),
    Rest("status of an unknown version", f"{H2}/versions/5", status=404,
         error="Could not find version 5 of model half_plus_two"),
    Rest("status of a model with a query", f"{H2}?x=1", status=404,
         error="Could not find any versions of model half_plus_two?x=1"),
    Rest("no list of models", MODELS, status=400, error="Missing model name in request."),
    Rest("a model named metadata", f"{MODELS}/metadata", status=404,
         error="Could not find any versions of model metadata"),
    Rest("policy latest", f"{MODELS}/latest", answer=_status((3, "AVAILABLE"))),
    Rest("policy latest without a number", f"{MODELS}/latest_empty", answer=_status((3, "AVAILABLE"))),
    Rest("policy latest of two", f"{MODELS}/latest_two", answer=_status((3, "AVAILABLE"), (2, "AVAILABLE"))),
    Rest("policy specific, of those that exist", f"{MODELS}/specific", answer=_status((3, "AVAILABLE"), (1, "AVAILABLE"))),
    Rest("policy all", f"{MODELS}/all", answer=_status((3, "AVAILABLE"), (2, "AVAILABLE"), (1, "AVAILABLE"))),
    Rest("policy specific serves no other version", f"{MODELS}/specific/versions/2:predict", ONE, status=404,
         error="Servable not found for request: Specific(specific, 2)"),
    Rest("policy specific serves the highest", f"{MODELS}/specific:predict", ONE, '{"predictions": [3.0]}'),
    Rest("policy all serves the lowest", f"{MODELS}/all/versions/1:predict", ONE, '{"predictions": [1.0]}'),
    # Everything else below /v1/.
    _malformed("POST", f"{H2}:PREDICT"),
    _malformed("POST", f"{H2}:predict?x=1"),
    _malformed("POST", f"{H2}:predict/"),
    _malformed("POST", f"{H2}:explain"),
    _malformed("POST", H2),
    _malformed("POST", f"{H2}/metadata"),
    _malformed("POST", f"{H2}/versions/123/labels/stable:predict"),
    _malformed("POST", f"{H2}/version/123:predict"),
    _malformed("POST", f"{H2}/versions/latest:predict"),
    _malformed("POST", f"{H2}/versions/-1:predict"),
    _malformed("POST", f"{MODELS}/:predict"),
    _malformed("POST", "/v1/foo"),
    _malformed("GET", f"{H2}:predict"),
    _malformed("GET", "/v1/foo"),
    _malformed("GET", "/v1/"),
    _malformed("GET", f"{MODELS}/"),
    _malformed("GET", f"{H2}/"),
    _malformed("GET", f"{H2}/foo"),
    _malformed("GET", f"{H2}/versions/123/"),
    _malformed("PUT", f"{H2}:predict"),
    _malformed("PATCH", f"{H2}:predict"),
    _malformed("DELETE", H2),
    _malformed("POST", f"{H2}:predict#x"),
    _malformed("GET", f"{H2}/labels/stable/versions/123"),
    Rest("malformed HEAD", H2, method="HEAD", status=400),
    # What never gets to the API: no URI, or a method that the library does not allow.
    *(
        Rest(f"no URI: {path}", f"{MODELS}/{path}:predict", ONE, status=400, text=re.compile("^<HTML>"),
             answer_headers={"Content-Type": "!application/json"})
        for path in ("a%zz", "a%", "a|b", "a[b]", 'a"b', "a\\b", "a?{")
    ),
    Rest("a method that is not allowed", H2, method="TRACE", status=501, text=re.compile("^<HTML>"),
         answer_headers={"Content-Type": "!application/json"}),
    Rest("a path with its host", f"http://example.com{H2}", answer=_UP),
    Rest("a malformed path with its host", "http://example.com/v1/foo", status=400, error="Malformed request: GET /v1/foo"),
    # Outside of /v1/ nothing answers in JSON.
    *(
        Rest(f"no handler at {path}", path, status=404, answer_headers={"Content-Type": not_json}, text=re.compile(""))
        for path, not_json in (("/", "!application/json"), ("/v1", "!application/json"), ("/v2/models/x", "!application/json"))
    ),
    Rest("no handler for a POST", "/predict", ONE, status=404, answer_headers={"Content-Type": "!application/json"}),
    # Preflight requests of browsers.
    Rest("preflight", f"{H2}:predict", method="OPTIONS", headers={"Origin": "http://example.com"},
         answer_headers={"Content-Type": "!application/json", "Access-Control-Allow-Origin": None}),
    Rest("preflight by https", f"{H2}:predict", method="OPTIONS", headers={"Origin": "https://example.com"}),
    Rest("preflight without an origin", f"{H2}:predict", method="OPTIONS", status=400, text=""),
    Rest("preflight of another scheme", f"{H2}:predict", method="OPTIONS", headers={"Origin": "ftp://example.com"},
         status=400, text=""),
    Rest("preflight with CORS", f"{H2}:predict", method="OPTIONS", headers={"Origin": "https://example.com"},
         answer_headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST, GET",
                         "Access-Control-Allow-Headers": "Content-Type"}, setup="options"),
    Rest("answer with CORS", f"{H2}:predict", ONE, _2,
         answer_headers={"Access-Control-Allow-Origin": "*", **JSON_TYPE}, setup="options"),
    Rest("error with CORS", f"{MODELS}/nothing:predict", ONE, status=404,
         answer_headers={"Access-Control-Allow-Origin": "*", **JSON_TYPE}, setup="options"),
    Rest("no header of CORS by default", f"{H2}:predict", ONE, _2, answer_headers={"Access-Control-Allow-Origin": None}),
    # A server that was started with nothing but a model.
    Rest("one model by flags", f"{H2}:predict", ONE, _2, setup="plain"),
    Rest("status of one model by flags", H2, answer=_UP, setup="plain"),
    Rest("no metrics by default", "/monitoring/prometheus/metrics", status=404, setup="plain"),
    Rest("another model by flags", f"{MODELS}/default:predict", ONE, status=404,
         error="Servable not found for request: Latest(default)", setup="plain"),
]
