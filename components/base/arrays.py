"""The type of NumPy arrays in annotations, where their shape and dtype are said in words."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
