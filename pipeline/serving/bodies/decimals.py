"""Floating-point numbers as text: six digits if they are enough to read the same number back."""

import math
from decimal import Decimal
from typing import Any

import numpy as np

from pipeline.serving.arrays import Array


def format_decimal(value: Any) -> str:
    """Return the text of one NumPy float32 or float64."""
    return format_decimals(np.asarray([value], dtype=value.dtype))[0]


def format_decimals(values: Array) -> list[str]:
    """Return the texts of float32 or float64 values [N]: `0.5`, `2.0`, `9e+06`, `NaN`, `-Infinity`."""
    exact = values.tolist()
    texts = [f"{value:.6g}" for value in exact]
    with np.errstate(over="ignore"):
        same = (np.array(texts, dtype=np.float64).astype(values.dtype) == values).tolist()
    if not all(same):
        # NaN is among these: it is never the same.
        digits = 9 if values.dtype == np.float32 else 17
        texts = [
            text if is_same else f"{value:.{digits}g}"
            for text, value, is_same in zip(texts, exact, same, strict=True)
        ]
    return [text if "." in text or "e" in text else _SPECIAL.get(text) or text + ".0" for text in texts]


def format_shortest(value: float) -> str:
    """Return a finite number as RapidJSON prints it: `0.00001` but `1e-7`, `1000000.0` but `1e22`."""
    if not value:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    sign, parts, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, parts))
    # Where the point is, counted from the first digit.
    point = len(digits) + exponent
    if 0 < point <= _MOST_WHOLE_DIGITS:
        text = f"{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"
    elif -_MOST_ZEROS < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = f"{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e{point - 1}"
    return f"-{text}" if sign else text


_MOST_WHOLE_DIGITS = 21
_MOST_ZEROS = 6
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
