"""The type of NumPy arrays in annotations, their shapes and dtypes being said in words; names in archives."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pack_names(names: Sequence[str]) -> Array:
    """Return names as bytes for a NumPy archive: an array of texts gives each the room of the longest."""
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


def unpack_names(packed: Array) -> list[str]:
    """Return what `pack_names` packed."""
    return [str(name) for name in json.loads(packed.tobytes())]
