"""What an inspection asks of a task: module `inspection` of its room. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import Protocol


class TaskInspection(Protocol):
    """The module `inspection` of a task's room."""

    @property
    def HAS_ONE_CLASS(self) -> bool:  # noqa: N802 - a constant of the module
        """True if a model's answers can be compared with the class of an image."""

    @property
    def HAS_BOXES(self) -> bool:  # noqa: N802
        """True if the classes of an image have boxes."""

    def choose_recipe(
        self, source: str, images: int, side_px: float, *, is_gray: bool
    ) -> tuple[str, Mapping[str, object]]:
        """Return a built-in recipe, and the values that data need instead of its own, by their keys.

        Args:
            source: What reads the data.
            images: How many there are.
            side_px: The median of their shorter sides.
            is_gray: Whether all are gray.
        """
