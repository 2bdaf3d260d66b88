"""Numbers as files of annotations hold them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from components.ingest.values import brief, number, whole, words

pytestmark = pytest.mark.stack_free


@pytest.mark.parametrize(
    ("value", "read"),
    [(12, 12.0), (12.5, 12.5), ("12", 12.0), (" 12.0 ", 12.0), ("-.5", -0.5), ("1e2", 100.0), ("007", 7.0)],
)
def test_a_number_in_another_dress(value: Any, read: float) -> None:
    assert number(value) == read


@pytest.mark.parametrize(
    "value",
    [True, False, None, [1], {"a": 1}, "", "x", "1_000", "1,5", "nan", "inf", "\u0661", math.nan, -math.inf,
     10**400, "9" * 400, 1e300, b"1"],
)  # fmt: skip
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^expected a number, got "):
        number(value)


@pytest.mark.parametrize(
    ("value", "read"), [(3, 3), (3.0, 3), ("3", 3), ("3.0", 3), (-1, -1), (10**40, 10**40)]
)
def test_a_whole_number_in_another_dress(value: Any, read: int) -> None:
    assert whole(value) == read
    assert isinstance(whole(value), int)


@pytest.mark.parametrize("value", [3.5, "3.5", True, None, [3], "x", math.nan, math.inf, 1e300])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^expected a whole number, got "):
        whole(value)


def test_text() -> None:
    assert words("caf\u00e9") == "caf\u00e9"
    with pytest.raises(ValueError, match=r"expected a text, got '\\ud800'"):
        words("\ud800")
    with pytest.raises(ValueError, match=r"expected a text, got 3"):
        words(3)


def test_what_messages_show_is_short() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert brief(deep) == "[[[[...]]]]"
    assert len(brief("x" * 10_000)) < 60
