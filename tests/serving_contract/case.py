"""Rows of the contract: what is sent, and what has to come back.

A case is sent to a server that was started with the flags of its `setup` (setups.py). `{seen}` in a message
is the contract's folder as the server sees it; everything else is sent as it stands. Cases of one setup may
run in any order; steps of a scenario run in their order.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

# An exact text, or a pattern that is searched for.
Text = str | re.Pattern[str]


@dataclasses.dataclass(frozen=True)
class Rest:
    """A request to the REST API.

    Attributes:
        name: What the case is about, unique among all cases.
        path: Path and query, sent as they are.
        body: The request's body; a function for one that is large.
        answer: The body as JSON. Numbers are compared as they are written, so that 3.0 is not 3.
        contains: JSON of which every key and value has to be in the answer's.
        error: The message in `{"error": ...}`.
        text: The body, whatever its type.
        status: The HTTP status.
        method: GET without a body, POST with one.
        headers: Further headers of the request.
        answer_headers: Headers of the answer; None for one that has to be absent.
        setup: The setup that the server was started with.
        within_secs: For a step: repeat until the answer is right, at most this long.
    """

    name: str
    path: str
    body: str | bytes | Callable[[], bytes] | None = None
    answer: str | None = None
    _: dataclasses.KW_ONLY
    contains: str | None = None
    error: Text | None = None
    text: Text | None = None
    status: int = 200
    method: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answer_headers: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    setup: str = "main"
    within_secs: float = 0


@dataclasses.dataclass(frozen=True)
class Grpc:
    """A call of a gRPC method.

    Attributes:
        name: What the case is about, unique among all cases.
        method: A method of PredictionService or ModelService, or a full path that takes bytes.
        request: The message in protobuf's text format, or the bytes for a full path.
        answer: The whole answer in text format, or the bytes for a full path.
        contains: JSON of which every key and value has to be in the answer's; for bytes, a text in them.
        code: The canonical code.
        details: The status message.
        deadline_secs: The client's deadline.
        is_secure: Whether to use TLS where the setup does.
        is_stream: Whether the method, a full path, takes and gives a stream; both of one message here.
        setup: The setup that the server was started with.
        within_secs: For a step: repeat until the answer is right, at most this long.
    """

    name: str
    method: str
    request: str | bytes
    answer: str | bytes | None = None
    _: dataclasses.KW_ONLY
    contains: str | None = None
    code: str = "OK"
    details: Text | None = None
    deadline_secs: float = 60
    is_secure: bool = True
    is_stream: bool = False
    setup: str = "main"
    within_secs: float = 0


@dataclasses.dataclass(frozen=True)
class Files:
    """A change of the models' folder, which the runner has to be able to write.

    Attributes:
        name: What it does.
        copy: A folder below `models`, and where it is copied to.
        remove: A folder below `models`.
        write: A file below the contract's folder, and its text; `{seen}` is the folder as the server sees it.
    """

    name: str
    copy: tuple[str, str] | None = None
    remove: str | None = None
    write: tuple[str, str] | None = None


Case = Rest | Grpc


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Steps in their order; a failed one ends the scenario."""

    name: str
    steps: tuple[Rest | Grpc | Files, ...]
    setup: str = "main"


def one_of(*texts: str) -> re.Pattern[str]:
    """Return a pattern for messages that begin with one of the texts."""
    return re.compile("^(?:" + "|".join(map(re.escape, texts)) + ")")


def find_difference(expected: Any, got: Any, *, is_part: bool = False, at: str = "$") -> str | None:
    """Return the first difference between two values of JSON; None if they are equal.

    Args:
        expected: What has to be there.
        got: What is there.
        is_part: Allow further keys in objects.
        at: The place of both in their documents.
    """
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected:
            if key not in got:
                return f"{at}.{key} is missing"
            if difference := find_difference(expected[key], got[key], is_part=is_part, at=f"{at}.{key}"):
                return difference
        further = sorted(set(got) - set(expected))
        return f"{at} has further keys {further}" if further and not is_part else None
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{at}: expected {len(expected)} elements, got {len(got)}"
        for place, (one, other) in enumerate(zip(expected, got, strict=True)):
            if difference := find_difference(one, other, is_part=is_part, at=f"{at}[{place}]"):
                return difference
        return None
    if type(expected) is not type(got) or expected != got:
        return f"{at}: expected {expected!r}, got {got!r}"
    return None


def find_text_difference(what: str, expected: Text, got: str) -> str | None:
    """Return how a text differs from an exact one or from a pattern; None if it does not."""
    is_right = expected == got if isinstance(expected, str) else expected.search(got) is not None
    shown = expected if isinstance(expected, str) else expected.pattern
    return None if is_right else f"{what}: expected {shown!r}, got {got[:600]!r}"
