"""Random changes of bytes and of text."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# What means something to one format or another, or to nobody.
TOKENS = (
    "", " ", "\t", ",", ";", '"', '""', "'", "\n", "\r", "\r\n", "\0", "\x1b[31m", "\ufeff", "\u2028",
    "\u202e", "e\u0301", "\u00e9", "\U0001f600", "..", "../", "/", "\\", "C:\\", "/etc/passwd", "file:///",
    "~", "a" * 300, "-1", "0", "1.0", "1e999", "nan", "inf", "9" * 5000, "true", "null", "[" * 200,
    "{" * 200, "<a>", "&amp;", "&x;", "<!DOCTYPE x>", "%s", "{}", "train", "test", "none", "0x10", "1_000",
    "\u0660", "\u00b2",
)  # fmt: skip


def change(random: Random, data: bytes, *, head_bytes: int | None = None) -> bytes:
    """Return the bytes with one to four changes; head_bytes: where they are, if not anywhere."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        end = min(len(changed), head_bytes or len(changed))
        random.choice(_CHANGES)(random, changed, random.randrange(end) if end else 0)
    return bytes(changed)


def change_text(random: Random, text: str) -> str:
    """Return the text with tokens put in or in the place of something."""
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(text) + 1)
        until = at + random.choice((0, 0, 1, 1, 3, 8))
        text = text[:at] + random.choice(TOKENS) + text[until:]
    return text


def _flip(random: Random, data: bytearray, at: int) -> None:
    if data:
        data[at] ^= 1 << random.randrange(8)


def _set(random: Random, data: bytearray, at: int) -> None:
    if data:
        data[at] = random.randrange(256)


def _cut(random: Random, data: bytearray, at: int) -> None:
    del data[at:]


def _remove(random: Random, data: bytearray, at: int) -> None:
    del data[at : at + random.choice((1, 2, 4, 16, 100))]


def _insert(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = random.randbytes(random.choice((1, 2, 4, 16)))


def _repeat(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + random.choice((1, 4, 64, 1000))] * random.choice((1, 2, 50))


def _splice(random: Random, data: bytearray, at: int) -> None:
    start = random.randrange(len(data) + 1)
    length = random.choice((2, 8, 64))
    data[at : at + length] = data[start : start + length]


def _number(random: Random, data: bytearray, at: int) -> None:
    size, letter = random.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
    value = random.choice(_NUMBERS) % (1 << 8 * size)
    data[at : at + size] = struct.pack(random.choice("<>") + letter, value)


def _token(random: Random, data: bytearray, at: int) -> None:
    token = random.choice(TOKENS).encode()
    data[at : at + random.choice((0, 1, len(token)))] = token


_CHANGES: tuple[Callable[[Random, bytearray, int], None], ...] = (
    _flip, _flip, _set, _cut, _remove, _insert, _repeat, _splice, _number, _number, _token,
)  # fmt: skip
