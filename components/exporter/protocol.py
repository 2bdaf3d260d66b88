"""What an export asks of a task: the module `export` of its room."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from components.base.arrays import Array

# Answers for pixels: takes uint8 [N, height, width, channels], returns an array [N, ...] by name.
Ask = Callable[[Array], dict[str, Array]]


class TaskExport(Protocol):
    """The module `export` of a task's room."""

    @property
    def OUTPUTS(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """The outputs of `serving_tf_examples` that an export has: all but texts."""

    def read_truth(self, record: bytes) -> Any:
        """Return what `measure` needs of a record, without its image."""

    def measure(
        self,
        answers: Mapping[str, Array],
        frames: Array | None,
        truths: Sequence[Any],
        class_names: Sequence[str],
    ) -> float:
        """Return the task's first metric, 0 to 1, the higher the better.

        It is nan if the images have nothing to find.

        Args:
            answers: Each of OUTPUTS for all images.
            frames: Where the images are in the pixels that were asked about, without padding, as shares
                [N, 4]; None for all of it, and for answers about the images themselves.
            truths: What `read_truth` returns of their records, in the same order.
            class_names: All classes, in the order of their labels.
        """
