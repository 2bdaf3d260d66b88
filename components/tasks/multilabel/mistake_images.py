"""The mistakes of a model that get a small image on pages."""

from collections import Counter
from collections.abc import Sequence

from components.evaluator import mistake_images
from components.evaluator.mistake_images import FIRST, MOST
from components.tasks.multilabel.mistakes import Mistakes

# Images of each class that is missed, or predicted by mistake.
_PER_KIND = 3


def choose(mistakes: Mistakes) -> list[int]:
    """Return the rows of the list of mistakes that get an image, rising."""
    of_kind: Counter[tuple[bool, int]] = Counter()
    chosen: list[int] = []
    for row, (_, _, true, found) in enumerate(mistakes.listed):
        kinds = [(True, label) for label in true if label not in found]
        kinds += [(False, label) for label in found if label not in true]
        of_kind.update(kinds)
        if len(chosen) < MOST and (row < FIRST or any(of_kind[kind] <= _PER_KIND for kind in kinds)):
            chosen.append(row)
    return chosen


def write_images(evaluation: str, mistakes: Mistakes, shards: Sequence[str]) -> None:
    """Write the images of some mistakes; see `components.evaluator.mistake_images`."""
    rows = {
        (mistakes.listed[row][1], tuple(mistakes.listed[row][2])): row for row in reversed(choose(mistakes))
    }
    mistake_images.write_images(evaluation, rows, shards, lambda labels: tuple(sorted(set(labels))))
