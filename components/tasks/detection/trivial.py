"""The trivial detector, which finds nothing, and the evidence that a model is better."""

from collections.abc import Mapping

from components.evaluator.bounds import NO, UNKNOWN, YES

TRIVIAL = "one that finds nothing"
# A detector that finds every second object misses this many in less than 1 of 100 test splits.
_ENOUGH_OBJECTS = 7


def judge_trivial(objects: int, found_any: bool) -> float:
    """Return whether a detector is better than one that finds nothing: YES, UNKNOWN or NO.

    Args:
        objects: The number of objects to find, without difficult ones.
        found_any: Whether the detector found any of them, at an IoU of 0.5.
    """
    if found_any:
        return YES
    return NO if objects >= _ENOUGH_OBJECTS else UNKNOWN


def describe_evidence(metrics: Mapping[str, float]) -> str:
    """Return the metrics that show whether a detector finds anything, as text."""
    return f"map_50 is {metrics.get('map_50', 0.0):.4f}"
