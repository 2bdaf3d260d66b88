"""Floating-point numbers as text: six digits if they are enough to read the same number back."""

from typing import Any

import numpy as np

from pipeline.serving.arrays import Array


def format_decimal(value: Any) -> str:
    """Return the text of one NumPy float32 or float64."""
    return format_decimals(np.asarray([value], dtype=value.dtype))[0]


def format_decimals(values: Array) -> list[str]:
    """Return the texts of float32 or float64 values [N]: `0.5`, `2.0`, `9e+06`, `NaN`, `-Infinity`."""
    digits = 9 if values.dtype == np.float32 else 17
    exact = values.tolist()
    short = [f"{value:.6g}" for value in exact]
    with np.errstate(over="ignore"):
        back = np.array(short, dtype=np.float64).astype(values.dtype)
    if not np.isfinite(values).all() or not (back == values).all():
        same = (back == values).tolist()
        short = [
            text if is_same else _SPECIAL.get(text) or f"{value:.{digits}g}"
            for text, value, is_same in zip(short, exact, same, strict=True)
        ]
        short = [_SPECIAL.get(text, text) for text in short]
    return [text if "." in text or "e" in text or text[-1] in "yN" else text + ".0" for text in short]


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
