"""Augmentation of images with boxes, as `training.augmentation` says (docs/detection.md).

As in components/trainer/augment/changes.py, what happens is a function of the seed and of the batch's number
alone. Images are float32 [N, H, W, C], targets float32 [N, B, 5] (components/tasks/detection/trainer.py); N,
H, W and B are known when the graph is made.

Sources: Liu et al., SSD, 2016, section 2.2 (crops with a minimum overlap) and 3.6 (zooming out).
"""

import math
from collections.abc import Callable

import tensorflow as tf

from components.tasks.detection.geometry import area, clip, from_window, pairwise_iou, to_window
from components.trainer.augment.changes import Augment, Draws, erase, make_colour_steps, select
from components.trainer.augment.config import AugmentationConfig, ObjectCropConfig, ZoomOutConfig
from components.transform.levels import Levels

# Parts of an image that are tried until one is allowed; if none is, the image stays whole.
_TRIALS = 40
# Least area of what is left of a box, as a share of the image.
_LEAST_AREA = 1e-4

# (images, targets, draws) -> images, targets
Step = Callable[[tf.Tensor, tf.Tensor, Draws], tuple[tf.Tensor, tf.Tensor]]


def make_augmenter(config: AugmentationConfig, seed: int, levels: Levels | None = None) -> Augment | None:
    """Return the function that varies batches as the recipe asks; None if it asks for nothing.

    Args:
        config: The recipe's `training.augmentation`; of moves, `flip`, `zoom_out` and `object_crop`.
        seed: What happens is a function of this and of the batch's number.
        levels: Those of the images; needed where colours are changed.

    Raises:
        MiranteError: Colours are to be changed, and `levels` are missing or those of gray images.
    """
    steps: list[tuple[str, Step]] = []
    if config.flip != "none":
        steps.append(("flip", lambda images, targets, draws: _flip(images, targets, draws, config.flip)))
    if config.zoom_out.chance or config.object_crop.chance:
        steps.append(("window", lambda images, targets, draws: _apply_window(images, targets, draws, config)))
    plain = list(make_colour_steps(config, levels))
    if config.erasing:
        plain.append(("erasing", lambda images, draws: erase(images, draws, config.erasing)))
    steps += [(name, _keep_boxes(change)) for name, change in plain]
    if not steps:
        return None

    # Python alone decides here what the graph holds: nothing for AutoGraph to rewrite, in Keras even less.
    @tf.autograph.experimental.do_not_convert
    def augment(number: tf.Tensor, images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shapes = images.shape, targets.shape
        for name, step in steps:
            images, targets = step(images, targets, Draws(seed, name, number))
        return tf.ensure_shape(images, shapes[0]), tf.ensure_shape(targets, shapes[1])

    return augment


def _keep_boxes(change: Callable[[tf.Tensor, Draws], tf.Tensor]) -> Step:
    """Make a step that leaves boxes where they are."""
    return lambda images, targets, draws: (change(images, draws), targets)


def _flip(images: tf.Tensor, targets: tf.Tensor, draws: Draws, flip: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror images and boxes in each direction with probability 0.5."""
    for direction, axis in (("horizontal", 2), ("vertical", 1)):
        if direction not in flip:
            continue
        mirrored = draws.uniform([images.shape[0]]) < 0.5
        images = select(mirrored, tf.reverse(images, [axis]), images)
        x0, y0, x1, y1, label = tf.unstack(targets, axis=-1)
        sides = (1 - x1, y0, 1 - x0, y1) if direction == "horizontal" else (x0, 1 - y1, x1, 1 - y0)
        turned = tf.where(label[..., tf.newaxis] != 0, tf.stack([*sides, label], axis=-1), 0.0)
        targets = select(mirrored, turned, targets)
    return images, targets


def _apply_window(
    images: tf.Tensor, targets: tf.Tensor, draws: Draws, config: AugmentationConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Show each image in a larger frame, a part of it, or a part of it in a frame; resamples once."""
    count = images.shape[0]
    whole = tf.tile([[0.0, 0.0, 1.0, 1.0]], [count, 1])
    frame = _draw_frames(whole, draws, config.zoom_out)
    part = _draw_parts(crop_targets(targets, frame), draws, config.object_crop)
    window = from_window(part, frame)  # a part of the frame, in shares of the image
    return sample_windows(images, window), crop_targets(targets, window)


def _draw_frames(whole: tf.Tensor, draws: Draws, config: ZoomOutConfig) -> tf.Tensor:
    """Draw frames float32 [N, 4] in shares of the image, up to `largest` times its side."""
    drawn = draws.uniform([4, whole.shape[0]])
    size = 1.0 + drawn[0] * (config.largest - 1.0)
    corner = -tf.transpose(drawn[1:3]) * (size - 1.0)[:, tf.newaxis]
    frame = tf.concat([corner, corner + size[:, tf.newaxis]], axis=-1)
    return tf.where((drawn[3] < config.chance)[:, tf.newaxis], frame, whole)


def _draw_parts(targets: tf.Tensor, draws: Draws, config: ObjectCropConfig) -> tf.Tensor:
    """Draw parts float32 [N, 4] of images that overlap a box enough and keep its centre, or the whole."""
    count = targets.shape[0]
    shape = [count, _TRIALS]
    share = draws.uniform(shape, *config.area)
    aspect = tf.exp(draws.uniform(shape, math.log(config.aspect[0]), math.log(config.aspect[1])))
    sides = tf.minimum(tf.sqrt(tf.stack([share * aspect, share / aspect], axis=-1)), 1.0)
    corners = draws.uniform([*shape, 2]) * (1.0 - sides)
    tried = tf.concat([corners, corners + sides], axis=-1)  # [N, trials, 4]

    boxes, is_box = targets[..., :4], targets[..., 4] != 0
    bounds = tf.constant(config.min_overlap)
    bound = tf.gather(bounds, tf.cast(draws.uniform([count]) * len(config.min_overlap), tf.int32))
    inside = _holds(tried[:, :, tf.newaxis], _centres(boxes)[:, tf.newaxis])
    enough = pairwise_iou(tried, boxes) >= bound[:, tf.newaxis, tf.newaxis]
    allowed = tf.reduce_any(inside & enough & is_box[:, tf.newaxis], axis=-1)
    # Where there is no box, any part will do.
    allowed |= ~tf.reduce_any(is_box, axis=-1, keepdims=True)
    first = tf.gather(tried, tf.argmax(tf.cast(allowed, tf.int32), axis=1), batch_dims=1)
    is_cut = (draws.uniform([count]) < config.chance) & tf.reduce_any(allowed, axis=1)
    return tf.where(is_cut[:, tf.newaxis], first, tf.constant([[0.0, 0.0, 1.0, 1.0]]))


def _centres(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2.0


def _holds(windows: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Return whether windows [..., 4] hold points [..., 2]: bool [...]."""
    return tf.reduce_all((points >= windows[..., :2]) & (points < windows[..., 2:]), axis=-1)


def crop_targets(targets: tf.Tensor, windows: tf.Tensor) -> tf.Tensor:
    """Return what is left of targets [N, B, 5] in windows float32 [N, 4] of their images.

    Boxes are cut off at the window's edges; a box whose centre is outside is dropped.
    """
    boxes, labels = targets[..., :4], targets[..., 4:]
    moved = clip(to_window(boxes, windows[:, tf.newaxis]))
    is_seen = _holds(windows[:, tf.newaxis], _centres(boxes)) & (area(moved) >= _LEAST_AREA)
    is_seen &= labels[..., 0] != 0
    return tf.where(is_seen[..., tf.newaxis], tf.concat([moved, labels], axis=-1), 0.0)


def sample_windows(images: tf.Tensor, windows: tf.Tensor) -> tf.Tensor:
    """Return windows float32 [N, 4] of images, in the images' size, with 0 around the images."""
    count, height, width, _ = images.shape
    # A rim of one more pixel: between the middle of the last pixel and the edge there is still image.
    rimmed = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    ends = []
    for low, high, size in ((windows[:, 1], windows[:, 3], height), (windows[:, 0], windows[:, 2], width)):
        half = (high - low) / (2 * size)
        # TensorFlow counts from the middle of the first pixel, of the rim now, to that of the last.
        ends.append([(edge * size + 0.5) / (size + 1) for edge in (low + half, high - half)])
    (top, bottom), (left, right) = ends
    places = tf.stack([top, left, bottom, right], axis=-1)
    return tf.image.crop_and_resize(rimmed, places, tf.range(count), [height, width])
