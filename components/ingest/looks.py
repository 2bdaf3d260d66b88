"""Finds images that look the same: re-encoded, scaled or mirrored copies of one image.

Their bytes tell nothing, and one of them in train and another in test makes what is measured too good. Two
steps keep this quick and sure:

1. Each image has a look, 8 x 8 grey pixels of the upright image, made while it is decoded to check it.
   `find_candidates` finds the pairs of looks that differ by little, also if one is mirrored.
2. `is_alike` compares both images of a candidate, decoded again, at up to 128 x 128 grey pixels,
   where another frame of the same scene differs somewhere.

docs/ingest.md has the measured thresholds.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from components.ingest.canonical import CanonicalImage
from components.ingest.preview import Preview

LOOK_PX = 8
# The shortest side at which a JPEG is decoded for its look, in pixels: no slower than an eighth of its size.
DECODED_PX = 40
# The shortest side for the second comparison.
DETAIL_PX = 256
# Sides of the second comparison in pixels; images need three times as many. Smaller images are compared as
# they are, if they have the same size.
_DETAILS_PX = (128, 64, 32, 16)
_LEAST_SCALE = 3
# Levels, of 255. Two looks of one image differ by at most the first anywhere, and by a root mean square of at
# most the second plus the third times the standard deviation of the look.
_LOOK_MOST, _LOOK_NOISE, _LOOK_SHARE = 10, 0.8, 0.03
# The same for the second comparison.
_MOST, _NOISE, _SHARE = 32, 0.4, 0.07
# Standard deviation of a look, of 255 levels: there is nothing to compare in a plain image.
_LEAST_CONTRAST = 3.0
# Candidates of a look, the nearest ones: a set of a thousand plain images has a million pairs.
_MOST_CANDIDATES = 16
# The top and bottom halves of copies differ by nearly the same: images are compared within bands of that.
_BAND = 16.0
# Looks whose distances to others are computed at once, and about as many distances.
_MOST_BLOCK, _LEAST_BLOCK, _DISTANCES = 512, 32, 1 << 22
# Looks that are floats at once.
_CHUNK = 1 << 13


def make_look(preview: Preview) -> bytes:
    """Return an image's look: LOOK_PX * LOOK_PX grey levels, rows from the top."""
    return preview.shrink(LOOK_PX, LOOK_PX)


def find_candidates(
    looks: bytes, report: Callable[[int], None] = lambda count: None
) -> list[tuple[int, int, bool]]:
    """Return the pairs of looks that may be of one image; a plain image has none.

    It takes seconds for 100,000 looks: each is compared with those that are about equally bright.

    Args:
        looks: From `make_look`, one after the other.
        report: Not called; worker processes give it.

    Returns:
        The numbers of two looks, the lower one first, and whether one is mirrored; sorted.
    """
    return sorted(set(_candidates(np.frombuffer(looks, np.uint8).reshape(-1, LOOK_PX * LOOK_PX))))


def _candidates(looks: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int, bool]]:
    """Yield pairs of the rows, each at least once."""
    index, mirrored, slopes, most_deviation = _turn(looks)
    most_rms = _LOOK_NOISE + _LOOK_SHARE * most_deviation
    if not len(index):
        return
    for start in np.arange(slopes.min(), slopes.max() + _BAND, _BAND):
        # A pair belongs to the band of its lower slope.
        band = np.nonzero((slopes >= start) & (slopes < start + _BAND + 2 * most_rms))[0]
        if len(band) > 1:
            points = _take_points(looks, index[band], mirrored[band])
            for one, other in _pairs_in(points, most_rms):
                first, second = int(index[band[one]]), int(index[band[other]])
                if first != second:
                    is_mirrored = bool(mirrored[band[one]] != mirrored[band[other]])
                    yield min(first, second), max(first, second), is_mirrored


def _turn(
    looks: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.float32], float]:
    """Have looks with their brighter half on the left.

    A look with halves that are about equally bright is there both ways: its copy may be turned either way.

    Returns:
        The row of each, whether it was mirrored, by how much its top half is brighter than the bottom one,
        and the largest standard deviation of a look.
    """
    half = LOOK_PX // 2
    kept: tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]] = [], []
    # Floats take many times the bytes of the looks, which are there for all images.
    for start in range(0, len(looks), _CHUNK):
        grid = looks[start : start + _CHUNK].reshape(-1, LOOK_PX, LOOK_PX)
        deviations = grid.std(axis=(1, 2))
        leaning = grid[:, :, :half].mean(axis=(1, 2)) - grid[:, :, half:].mean(axis=(1, 2))
        tolerance = 2 * (_LOOK_NOISE + _LOOK_SHARE * deviations)
        is_plain = deviations < _LEAST_CONTRAST
        for rows, turns in zip(kept, (leaning >= -tolerance, leaning < tolerance), strict=True):
            rows.append(start + np.nonzero(turns & ~is_plain)[0])
    as_is, turned = (np.concatenate([np.zeros(0, np.int64), *rows]) for rows in kept)
    index = np.concatenate([as_is, turned])
    mirrored = np.arange(len(index)) >= len(as_is)
    slopes = np.zeros(len(index), np.float32)
    most_deviation = 0.0
    for start in range(0, len(index), _CHUNK):
        part = slice(start, start + _CHUNK)
        points = _take_points(looks, index[part], mirrored[part]).astype(np.float32)
        middle = points.shape[1] // 2
        slopes[part] = points[:, :middle].mean(axis=1) - points[:, middle:].mean(axis=1)
        most_deviation = max(most_deviation, float(points.std(axis=1).max(initial=0.0)))
    return index, mirrored, slopes, most_deviation


def _take_points(
    looks: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return some looks, mirrored or not, [N, LOOK_PX * LOOK_PX]."""
    grid = looks[rows].reshape(-1, LOOK_PX, LOOK_PX)
    turned: npt.NDArray[np.uint8] = np.where(mirrored[:, None, None], grid[:, :, ::-1], grid)
    return turned.reshape(-1, LOOK_PX * LOOK_PX)


def _pairs_in(looks: npt.NDArray[np.uint8], most_rms: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of looks that are near each other."""
    means = looks.mean(axis=1, dtype=np.float32)
    order = np.argsort(means, kind="stable")
    # Around 0. As floats all of them would take much memory.
    means, centred = means[order], (looks[order] ^ np.uint8(128)).view(np.int8)
    squares, allowed = np.empty_like(means), np.empty_like(means)
    for start in range(0, len(centred), _CHUNK):
        part = slice(start, start + _CHUNK)
        points = centred[part].astype(np.float32)
        squares[part] = (points * points).sum(axis=1)
        allowed[part] = points.shape[1] * (_LOOK_NOISE + _LOOK_SHARE * points.std(axis=1)) ** 2
    block = max(_LEAST_BLOCK, min(_MOST_BLOCK, _DISTANCES // max(1, len(order))))
    for first in range(0, len(order), block):
        last = min(first + block, len(order))
        end = int(np.searchsorted(means, means[last - 1] + most_rms, side="right"))
        points = centred[first:last].astype(np.float32)
        distances = np.empty((last - first, end - first), np.float32)
        for start in range(first, end, _CHUNK):
            stop = min(start + _CHUNK, end)
            distances[:, start - first : stop - first] = points @ centred[start:stop].astype(np.float32).T
        distances *= -2
        distances += squares[first:last, None]
        distances += squares[None, first:end]
        near = np.triu(distances <= allowed[first:last, None] + 1, 1)
        for one in np.nonzero(near.any(axis=1))[0]:
            others = np.nonzero(near[one])[0]
            if len(others) > _MOST_CANDIDATES:
                others = others[np.argsort(distances[one, others], kind="stable")[:_MOST_CANDIDATES]]
            most = np.abs(points[one] - centred[first + others]).max(axis=1)
            for other in others[most <= _LOOK_MOST]:
                yield int(order[first + one]), int(order[first + other])


def is_alike(one: CanonicalImage, other: CanonicalImage, *, mirrored: bool) -> bool:
    """Return whether two images are the same, apart from what encoding and scaling change.

    Args:
        one: An image with a preview of DETAIL_PX or more.
        other: Another one.
        mirrored: Whether to mirror the second one.
    """
    assert one.preview is not None
    assert other.preview is not None
    sizes = one.full_size, other.full_size
    side = next((px for px in _DETAILS_PX if min(map(min, sizes)) >= _LEAST_SCALE * px), None)
    if side is None and sizes[0] != sizes[1]:
        return False
    width, height = sizes[0] if side is None else (side, side)
    first, second = (
        np.frombuffer(preview.shrink(width, height), np.uint8).reshape(height, width).astype(np.float32)
        for preview in (one.preview, other.preview)
    )
    if mirrored:
        second = second[:, ::-1]
    difference = first - second
    limit = _NOISE + _SHARE * min(float(first.std()), float(second.std()))
    return bool(np.abs(difference).max() <= _MOST and np.sqrt((difference**2).mean()) <= limit)
