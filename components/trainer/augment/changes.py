"""Augmentation: varies training batches, as `training.augmentation` says (docs/augmentation.md).

What happens to a batch is a function of the seed and of the batch's number alone. So a run can be repeated,
an interrupted run resumes as if undisturbed, and batches can be made in parallel. Keras' layers do the work
where they do it well; what they draw comes from `Draws`, not from a state that they keep.

Images are float32 [N, H, W, C], normalised by Transform; N, H and W are known when the graph is made.
"""

import math
import zlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from components.base.errors import MiranteError
from components.trainer.augment.config import AugmentationConfig, CropConfig, RandAugmentConfig
from components.trainer.augment.rand_augment import CHANGES, rand_augment
from components.transform.levels import Levels

# (number int64 [], images float32 [N, H, W, C], labels int64 [N] or float32 [N, classes]) -> images, and
# labels: of mixed images they are float32 [N, classes].
Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

# Share of the image that an erased rectangle may be high, times the share that it may be wide.
_ERASED = (0.02, 0.33)


class Draws(keras.random.SeedGenerator):
    """Seeds for what one option draws for one batch.

    Keras asks a layer's own generator for the next seed and changes its state; given to the layer instead,
    this one has none. The name keeps options apart: adding one leaves the draws of the others alone.

    Args:
        seed: The training's seed.
        name: The option's name.
        number: The batch's number, int64 [].
    """

    def __init__(self, seed: int, name: str, number: tf.Tensor):
        # Not the base's: it makes a variable.
        self._entropy = [seed, zlib.crc32(name.encode())]
        self._number = tf.cast(number, tf.int32)  # what Keras need not convert
        self._count = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Return a seed int32 [2], another one with each call."""
        key = np.random.SeedSequence([*self._entropy, self._count]).generate_state(1)[0]
        self._count += 1
        return tf.stack([tf.constant(int(key) >> 1, tf.int32), self._number])

    def uniform(self, shape: list[int], low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """Draw float32 in [low, high)."""
        return keras.random.uniform(shape, low, high, seed=self)


# images float32 [N, H, W, C] -> likewise
Step = Callable[[tf.Tensor, Draws], tf.Tensor]
# images, labels float32 [N, classes] -> likewise
Mix = Callable[[tf.Tensor, tf.Tensor, Draws], tuple[tf.Tensor, tf.Tensor]]


def make_augmenter(
    config: AugmentationConfig, seed: int, num_classes: int, levels: Levels | None = None
) -> Augment | None:
    """Return the function that varies batches as the recipe asks; None if it asks for nothing.

    Args:
        config: The recipe's `training.augmentation`.
        seed: What happens is a function of this and of the batch's number.
        num_classes: Width of mixed labels.
        levels: Those of the images; needed where colours are changed.

    Raises:
        MiranteError: Colours are to be changed, and `levels` are missing or those of gray images.
    """
    steps = [*_make_moves(config), *make_colour_steps(config, levels)]
    if config.erasing:
        steps.append(("erasing", lambda images, draws: erase(images, draws, config.erasing)))
    mixes = _make_mixes(config)
    if not steps and not mixes:
        return None

    # Python alone decides what the graph holds: nothing for AutoGraph to rewrite, in Keras even less.
    @tf.autograph.experimental.do_not_convert
    def augment(number: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = images.shape
        for name, step in steps:
            images = step(images, Draws(seed, name, number))
        labels = tf.ensure_shape(labels, [*shape[:1], *labels.shape[1:]])
        if mixes:
            hot = tf.one_hot(labels, num_classes) if labels.shape.rank == 1 else labels
            images, labels = _mix(mixes, images, hot, seed, number)
        return tf.ensure_shape(images, shape), labels

    return augment


def _layer(layer: keras.layers.Layer) -> Step:
    def step(images: tf.Tensor, draws: Draws) -> tf.Tensor:
        drawn = layer.get_random_transformation(images, training=True, seed=draws)
        return layer.transform_images(images, drawn, training=True)

    return step


def _make_moves(config: AugmentationConfig) -> list[tuple[str, Step]]:
    steps: list[tuple[str, Step]] = []
    crop = config.crop
    if config.flip != "none":
        steps.append(("flip", lambda images, draws: _flip(images, draws, config.flip)))
    if config.translation:
        steps.append(("translation", lambda images, draws: _translate(images, draws, config.translation)))
    if crop.area != (1.0, 1.0):
        steps.append(("crop", lambda images, draws: _crop(images, draws, crop)))
    if config.zoom:
        steps.append(("zoom", _layer(keras.layers.RandomZoom((-config.zoom, config.zoom)))))
    if config.rotation:
        steps.append(("rotation", _layer(keras.layers.RandomRotation(config.rotation))))
    return steps


def _flip(images: tf.Tensor, draws: Draws, flip: str) -> tf.Tensor:
    """Mirror images in each direction with probability 0.5."""
    for direction, axis in (("horizontal", 2), ("vertical", 1)):
        if direction in flip:
            mirrored = draws.uniform([images.shape[0]]) < 0.5
            images = select(mirrored, tf.reverse(images, [axis]), images)
    return images


def select(condition: tf.Tensor, images: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Choose per image, bool [N], or per value, bool [N, H, W, C]; `tf.where` is up to 7 times slower."""
    return tf.raw_ops.Select(condition=condition, x=images, y=others)


def _translate(images: tf.Tensor, draws: Draws, share: float) -> tf.Tensor:
    """Move each image by whole pixels: interpolating between them would blur small images."""
    count, height, width, channels = images.shape
    drawn = draws.uniform([2, count, 1], -share, share)
    rows, columns = (
        _mirror(tf.range(size) - tf.cast(tf.round(shift * size), tf.int32), size)
        for size, shift in ((height, drawn[0]), (width, drawn[1]))
    )
    rows += height * tf.range(count)[:, tf.newaxis]
    pixels = width * rows[:, :, tf.newaxis] + columns[:, tf.newaxis, :]
    return tf.gather(tf.reshape(images, [-1, channels]), pixels)


def _mirror(places: tf.Tensor, size: int) -> tf.Tensor:
    """Mirror places -size .. 2 size - 1 at the edges into 0 .. size - 1."""
    inside = tf.where(places < 0, -1 - places, places)
    return tf.where(inside >= size, 2 * size - 1 - inside, inside)


def _crop(images: tf.Tensor, draws: Draws, crop: CropConfig) -> tf.Tensor:
    """Cut a rectangle out of each image and enlarge it to the image's size."""
    count, height, width, _ = images.shape
    area = draws.uniform([count], *crop.area)
    aspect = tf.exp(draws.uniform([count], math.log(crop.aspect[0]), math.log(crop.aspect[1])))
    sides = tf.minimum(tf.sqrt(tf.stack([area / aspect, area * aspect])), 1.0)
    corners = draws.uniform([2, count]) * (1.0 - sides)
    boxes = tf.transpose(tf.concat([corners, corners + sides], axis=0))
    return tf.image.crop_and_resize(images, boxes, tf.range(count), [height, width])


def make_colour_steps(config: AugmentationConfig, levels: Levels | None) -> list[tuple[str, Step]]:
    """Return the changes of colour, between undoing and redoing the normalisation."""
    # As Keras has them, a contrast of 0.3 alone would be 1 to 1.3; a hue of 1 is half a circle, and a
    # saturation of x a factor of x / (1 - x).
    steps: list[tuple[str, Step]] = []
    unit = (0.0, 1.0)
    if config.brightness:
        layer = keras.layers.RandomBrightness((-config.brightness, config.brightness), value_range=unit)
        steps.append(("brightness", _layer(layer)))
    if config.contrast:
        layer = keras.layers.RandomContrast((config.contrast, config.contrast), value_range=unit)
        steps.append(("contrast", _layer(layer)))
    if config.saturation:
        bounds = tuple(factor / (1 + factor) for factor in (1 - config.saturation, 1 + config.saturation))
        steps.append(("saturation", _layer(keras.layers.RandomSaturation(bounds, value_range=unit))))
    if config.hue:
        steps.append(("hue", _layer(keras.layers.RandomHue((0.0, 2 * config.hue), value_range=unit))))
    if config.rand_augment.ops:
        steps.append(("rand_augment", _rand_augment(config.rand_augment)))
    if config.trivial_augment:
        steps.append(("trivial_augment", _trivial_augment))
    if not steps:
        return []
    names = ", ".join(name for name, _ in steps)
    if levels is None:
        raise MiranteError(
            f"training.augmentation: {names} need the levels of black and white in the images, got none: "
            "give `augmenter` what `components.transform.levels` says"
        )
    if levels.channels == 1 and (config.saturation or config.hue):
        raise MiranteError(
            "training.augmentation: saturation and hue need transform.channels: 3, and the images have 1 "
            "channel: set both to 0"
        )
    enter: Step = lambda images, _: tf.clip_by_value(levels.to_unit(images), 0.0, 1.0)  # noqa: E731
    leave: Step = lambda images, _: levels.from_unit(images)  # noqa: E731
    return [("to unit", enter), *steps, ("from unit", leave)]


def _rand_augment(config: RandAugmentConfig) -> Step:
    def step(images: tf.Tensor, draws: Draws) -> tf.Tensor:
        shape = [images.shape[0], config.ops]
        chosen = keras.random.randint(shape, 0, len(CHANGES), seed=draws)
        signs = tf.where(draws.uniform(shape) < 0.5, -1.0, 1.0)
        return rand_augment(images, chosen, signs * config.magnitude)

    return step


def _trivial_augment(images: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Change each image once or not at all, as strongly as chance has it."""
    chosen = keras.random.randint([images.shape[0], 1], 0, len(CHANGES) + 1, seed=draws)
    strengths, none = draws.uniform(chosen.shape, -1.0, 1.0), chosen[:, 0] == len(CHANGES)
    return select(none, images, rand_augment(images, tf.minimum(chosen, len(CHANGES) - 1), strengths))


def _rectangles(
    images: tf.Tensor, height: tf.Tensor, width: tf.Tensor, top: tf.Tensor, left: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return rectangles of whole pixels in the images.

    Args:
        images: float32 [N, H, W, C].
        height: As a share of the image's, float32 [N].
        width: Likewise.
        top: As a share of what the height leaves, below 1, float32 [N].
        left: Likewise, of the width.

    Returns:
        Whether a value is inside, bool [N, H, W, C]; the share of the image that is, float32 [N].
    """
    insides, shares = [], []
    for share, start, size in ((height, top, images.shape[1]), (width, left, images.shape[2])):
        length = tf.round(share * size)
        start = tf.floor(start * (size - length + 1))
        place = tf.range(size, dtype=tf.float32) - start[:, tf.newaxis]
        insides.append((place >= 0) & (place < length[:, tf.newaxis]))
        shares.append(length / size)
    rows, columns = insides
    # To a last axis of 3 or 1, TensorFlow broadcasts at a fifth of the speed.
    values = tf.repeat(columns, images.shape[3], axis=1)
    return tf.reshape(rows[:, :, tf.newaxis] & values[:, tf.newaxis], images.shape), shares[0] * shares[1]


def erase(images: tf.Tensor, draws: Draws, chance: float) -> tf.Tensor:
    """Fill a random rectangle with 0, in a random subset of the images."""
    drawn = draws.uniform([5, images.shape[0]])
    least, most = _ERASED
    sides = tf.where(drawn[0] < chance, tf.sqrt(least + (most - least) * drawn[1:3]), 0.0)
    inside, _ = _rectangles(images, sides[0], sides[1], drawn[3], drawn[4])
    return select(inside, tf.zeros_like(images), images)


def _make_mixes(config: AugmentationConfig) -> list[tuple[str, Mix]]:
    mixes: list[tuple[str, Mix]] = []
    if config.mix_up:
        layer = keras.layers.MixUp(config.mix_up)

        def mix_up(images: tf.Tensor, labels: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = layer.get_random_transformation(images, training=True, seed=draws)
            return layer.transform_images(images, drawn), layer.transform_labels(labels, drawn)

        mixes.append(("mix_up", mix_up))
    if config.cut_mix:
        alpha = config.cut_mix

        def cut_mix(images: tf.Tensor, labels: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
            count = images.shape[0]
            side = tf.sqrt(1.0 - keras.random.beta([count], alpha, alpha, seed=draws))
            inside, share = _rectangles(images, side, side, *tf.unstack(draws.uniform([2, count])))
            other = keras.random.shuffle(tf.range(count), seed=draws)
            pasted = share[:, tf.newaxis]
            return (
                select(inside, tf.gather(images, other), images),
                labels * (1.0 - pasted) + tf.gather(labels, other) * pasted,
            )

        mixes.append(("cut_mix", cut_mix))
    return mixes


def _mix(
    mixes: list[tuple[str, Mix]], images: tf.Tensor, labels: tf.Tensor, seed: int, number: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply the only mix, or one of the two chosen at random for each batch."""
    branches = [
        lambda name=name, mix=mix: mix(images, labels, Draws(seed, name, number)) for name, mix in mixes
    ]
    if len(branches) == 1:
        return branches[0]()
    return tf.cond(Draws(seed, "mixes", number).uniform([]) < 0.5, *branches)
