"""Find images to look at before a model does, by their sizes and by how bright they are."""

import statistics
from collections.abc import Iterator, Sequence

from pipeline.inspection.facts import Group
from pipeline.inspection.measure import Measured

# All but 2 % of the pixels are within this many gray levels of 255.
_BLANK_LEVELS = 6.0
# All but 1 % of the pixels are darker than this.
_DARK_LEVEL = 40.0
# Fewer pixels on the shorter side, and on half of the median's, show little.
_TINY_PX = 32
_TINY_SHARE = 0.5
# This many times as wide, or as high, as the median.
_ODD_TIMES = 3.0

BLANK = "blank: nearly all pixels have one colour"
DARK = "dark: nearly all pixels are nearly black"
TINY = f"tiny: the shorter side has less than {_TINY_PX} pixels and less than half of the median's"
ODD = f"odd aspect: more than {_ODD_TIMES:g} times as wide or as high as the median"


def find_suspects(measured: Sequence[Measured], paths: dict[int, str]) -> list[Group]:
    """Return the suspicious images by what is odd about them.

    Args:
        measured: The images, all of those whose sizes are known.
        paths: The path of each, by its key.
    """
    sized = [image for image in measured if image.width and not image.problem]
    if not sized:
        return []
    shorter_px = statistics.median(min(image.width, image.height) for image in sized)
    aspect = statistics.median(image.width / image.height for image in sized)
    found: dict[str, list[str]] = {BLANK: [], DARK: [], TINY: [], ODD: []}
    for image in sized:
        for kind in _kinds(image, shorter_px, aspect):
            found[kind].append(paths[image.key])
    return [Group.of(kind, images) for kind, images in found.items() if images]


def _kinds(image: Measured, shorter_px: float, aspect: float) -> Iterator[str]:
    if image.low is not None and image.high is not None:
        if image.high - image.low <= _BLANK_LEVELS:
            yield BLANK
        elif image.high <= _DARK_LEVEL:
            yield DARK
    side = min(image.width, image.height)
    if side < min(_TINY_PX, _TINY_SHARE * shorter_px):
        yield TINY
    times = image.width / image.height / aspect
    if max(times, 1 / times) > _ODD_TIMES:
        yield ODD
