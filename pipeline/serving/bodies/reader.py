"""Reads the JSON of a request: by Python's decoder, and what that refuses or reads otherwise by `Tokens`."""

import codecs
import json
import re
from typing import Any

from pipeline.serving.bodies.tokens import read_tokens
from pipeline.serving.bodies.values import Members, to_message_text
from pipeline.serving.errors import invalid

# What Python's decoder takes and RapidJSON does not, or as another number: large exponents, integers with as
# many digits as an int64, escaped surrogates, and the character that ends RapidJSON's text.
_READ_OTHERWISE = re.compile(rb"[eE][+]?\d{3}|(?<![\d.])\d{19}|\\u[dD][89a-fA-F]|\x00")
_BLANKS = re.compile(r"[ \t\n\r]*")
_decoder = json.JSONDecoder(object_pairs_hook=Members)


def read_object(body: bytes) -> Members:
    """Return the object with which a body begins; text after it is ignored.

    Raises:
        ServingError: The body is empty, is not JSON, or begins with another value.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    value = _read(body)
    if type(value) is not Members:
        raise invalid(f"JSON Value: {to_message_text(value)} Is not object")
    return value


def _read(body: bytes) -> Any:
    if not _READ_OTHERWISE.search(body):
        text = body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
        blanks = _BLANKS.match(text)
        try:
            return _decoder.raw_decode(text, blanks.end() if blanks else 0)[0]
        except (ValueError, RecursionError):
            return read_tokens(body)
    return read_tokens(body)
