"""The guard of a detector: stops a training that finds nothing."""

from collections.abc import Mapping

from components.trainer.config import GuardConfig
from components.trainer.guard import EVALUATIONS, Guard, NotLearningError, Pace
from components.trainer.result import StageResult

# A detector that finds three of ten boxes finds one of this many, except once in a thousand times.
_FEW_BOXES = 20


class DetectionGuard(Guard):
    """Compares a detector with giving every anchor of every image the same answer.

    Args:
        config: The recipe's `training.guard`.
        guessing_loss: The loss of that answer, the best there is.
        pace: The stage's steps.
        num_eval_boxes: Boxes to find in an evaluation.
    """

    def __init__(
        self, config: GuardConfig, guessing_loss: float, pace: Pace | None = None, num_eval_boxes: int = 0
    ):
        super().__init__(config, guessing_loss, pace)
        self._num_eval_boxes = num_eval_boxes
        self._without_a_hit = 0

    def _knows(self, metrics: Mapping[str, float], examples: int) -> bool | None:
        return self._generalises

    def _guessing(self) -> str:
        return (
            f"the same answer for every place of every image gives {self._guessing_loss:.4f}. Likely causes: "
            "training.learning_rate is too high (or far too low); boxes have nothing to do with the images "
            "(annotations of other files, x and y changed, pixels taken for shares); images lost what "
            "matters in transform (height_px, width_px, normalization)"
        )

    def _look_at_evaluation(self, step: int, evaluation: StageResult, size: int) -> None:
        found = evaluation.metrics.get("map_50")
        if found is None:
            return
        self._generalises = found > 0
        self._has_generalised = self._has_generalised or self._generalises
        self._without_a_hit = 0 if self._generalises else self._without_a_hit + 1

    def _check_evaluation(
        self, step: int, train: Mapping[str, float], evaluation: StageResult, size: int, *, is_last: bool
    ) -> None:
        if self._without_a_hit < EVALUATIONS or self._is_useful:
            return
        said = (
            f"not one of the {self._num_eval_boxes:,} boxes of the {size:,} eval images has been found in "
            f"{self._without_a_hit} evaluations (step {step}, eval loss {evaluation.loss:.4f})"
        )
        if self._num_eval_boxes < _FEW_BOXES or not is_last:
            self._warn("no hit", f"{said}; training continues, since it may still find some")
            return
        raise NotLearningError(
            f"{said}. Likely causes: boxes are far smaller or larger than the anchors "
            "(model.detection.min_scale and max_scale); training.learning_rate is too high; eval images that "
            "are unlike the train images"
        )
