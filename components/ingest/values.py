"""Read numbers as files of annotations hold them: 12, 12.0 and "12" are the same number."""

import math
import re
import reprlib

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
# More digits than any number that somebody counted, and more than any that somebody measured.
MOST_DIGITS = 100
_LARGEST = 1e15

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 44
_BRIEF.maxlevel = 3


def number(value: object) -> float:
    """Return a number of at most 1e15: a number, or text that is one.

    Raises:
        ValueError: It is anything else, True, False, a list and nan among it; says what it is.
    """
    read = math.nan
    if isinstance(value, str):
        digits = value.strip()
        if len(digits) <= MOST_DIGITS and _NUMBER.fullmatch(digits):
            read = float(digits)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            read = float(value)
        except OverflowError:
            read = math.inf
    if not abs(read) <= _LARGEST:
        raise ValueError(f"expected a number, got {brief(value)}")
    return read


def number_of(key: str, value: object) -> float:
    """Return `number` of a value.

    Raises:
        ValueError: As `number`, with the key before it.
    """
    try:
        return number(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def whole(value: object) -> int:
    """Return a whole number: an int, a float without a fraction, or text that is either.

    Raises:
        ValueError: It is anything else; says what it is.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= MOST_DIGITS and _WHOLE.fullmatch(value.strip()):
        return int(value)
    try:
        read = number(value)
    except ValueError:
        read = math.nan
    # Above that a float does not hold every whole number.
    if not (read.is_integer() and abs(read) <= 2**53):
        raise ValueError(f"expected a whole number, got {brief(value)}")
    return int(read)


def words(value: object) -> str:
    """Return a text.

    Raises:
        ValueError: It is not a text, or has half a letter (a lone surrogate), which UTF-8 does not allow.
    """
    try:
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeEncodeError:
        pass
    raise ValueError(f"expected a text, got {brief(value)}")


def brief(value: object) -> str:
    """Return a value for a message: cut where it is long or deep, odd letters escaped."""
    return _BRIEF.repr(value)
