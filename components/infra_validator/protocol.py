"""What InfraValidator and `mirante predict` ask a task about a model's answers: module `answers` of its room.

The module imports NumPy only: InfraValidator's process loads it by its path, and nothing else of Mirante.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# A box to draw: (xmin, ymin, xmax, ymax) in pixels, its text, and the label that decides its colour.
Drawn = tuple[tuple[float, float, float, float], str, int]


class TaskAnswers(Protocol):
    """The module `answers` of a task's room."""

    @property
    def OUTPUTS(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """Names of the outputs that `serving_default` and `serving_tf_examples` have."""

    @property
    def COMPARED(self) -> tuple[str, ...]:  # noqa: N802
        """The numeric outputs that must be equal for the same image under all signatures."""

    @property
    def ALSO(self) -> Mapping[str, Mapping[str, str]]:  # noqa: N802
        """Further signatures, which take serialized examples, and what they call their part of OUTPUTS."""

    @property
    def DRAWS(self) -> bool:  # noqa: N802
        """True if answers have boxes to draw."""

    def find_problems(
        self, name: str, outputs: Mapping[str, Any], count: int, labels: Sequence[str]
    ) -> list[str]:
        """Return what is wrong with a signature's outputs, as sentences.

        Args:
            name: The signature's.
            outputs: Those of OUTPUTS that the signature has, as arrays.
            count: The number of images in the request.
            labels: All classes, in the order of their labels.
        """

    def list_predictions(
        self, outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
    ) -> list[dict[str, Any]]:
        """Return one image's predictions as JSON, scores descending.

        Args:
            outputs: The image's row of each output of `serving_default`.
            image_px: Width and height of the upright image.
            min_score: The lowest score of a prediction; the task's own when None.
        """

    def find_boxes_to_draw(
        self, outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
    ) -> list[Drawn]:
        """Return the boxes to draw on an image, with the arguments of `predictions`."""

    def summarize(self, predictions: Sequence[Mapping[str, Any]], min_score: float | None) -> list[str]:
        """Return the predictions that fit on one line, as text.

        Args:
            predictions: As `predictions` returned them.
            min_score: The lowest score to show; the task's own when None.
        """
