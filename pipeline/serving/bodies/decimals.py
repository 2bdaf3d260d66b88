"""Floating-point numbers as text: six digits if they are enough to read the same number back."""

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


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
