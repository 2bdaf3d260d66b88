"""RandAugment (https://arxiv.org/abs/1909.13719): of a list of changes, a few by chance, all of one strength.

Images are float32 [H, W, C], RGB or gray, in 0..1; a strength is signed, -1..1, and 0 leaves the image alone
(auto_contrast and equalize know no strength). `keras.layers.RandAugment` is not it: it makes the same changes
to all images of a batch, computes all eleven that it knows for each that it makes, and at its default
strength turns images by up to half a circle.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# (image, strength float32 []) -> image
Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# What strength 1 does, as in the paper.
_SHEAR = 0.3
_TRANSLATION = 0.45
_ROTATION = math.radians(30)
_BLEND = 0.9
_POSTERIZE_BITS = 4

_GRAY = (0.2989, 0.587, 0.114)
_BLUR = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def _affine(image: tf.Tensor, x: tuple[tf.Tensor, ...], y: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """Move to (x, y), seen from the middle, the pixel at (x0 x + x1 y + x2, y0 x + y1 y + y2).

    Edges are mirrored.
    """
    height, width, _ = image.shape
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    values = [
        *(x[0], x[1], x[2] + middle_x - x[0] * middle_x - x[1] * middle_y),
        *(y[0], y[1], y[2] + middle_y - y[0] * middle_x - y[1] * middle_y),
        *(0.0, 0.0),
    ]
    transformed = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.stack([tf.cast(value, tf.float32) for value in values])[tf.newaxis],
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(transformed[0], image.shape)


def _gray(image: tf.Tensor) -> tf.Tensor:
    return image if image.shape[-1] == 1 else tf.reduce_sum(image * _GRAY, axis=-1, keepdims=True)


def _move_away(other: tf.Tensor, image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return other + (image - other) * (1 + _BLEND * strength)


def shear_x(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Slant the image sideways."""
    return _affine(image, (1, _SHEAR * strength, 0), (0, 1, 0))


def shear_y(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Slant the image up and down."""
    return _affine(image, (1, 0, 0), (_SHEAR * strength, 1, 0))


def translate_x(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move the image sideways."""
    return _affine(image, (1, 0, _TRANSLATION * strength * image.shape[1]), (0, 1, 0))


def translate_y(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move the image up or down."""
    return _affine(image, (1, 0, 0), (0, 1, _TRANSLATION * strength * image.shape[0]))


def rotate(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Turn the image."""
    cos, sin = tf.cos(_ROTATION * strength), tf.sin(_ROTATION * strength)
    return _affine(image, (cos, -sin, 0), (sin, cos, 0))


def brightness(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move values away from black, or towards it."""
    return _move_away(tf.zeros_like(image), image, strength)


def contrast(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move values away from the mean gray, or towards it."""
    return _move_away(tf.reduce_mean(_gray(image)), image, strength)


def color(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move values away from gray, or towards it."""
    return _move_away(_gray(image), image, strength)


def sharpness(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Move values away from the blurred image, or towards it."""
    channels = image.shape[-1]
    padded = tf.pad(image, [[1, 1], [1, 1], [0, 0]], "SYMMETRIC")[tf.newaxis]
    kernel = tf.tile(tf.constant(_BLUR)[:, :, tf.newaxis, tf.newaxis], [1, 1, channels, 1])
    blurred = tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")[0]
    return _move_away(blurred, image, strength)


def posterize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Keep 8 to 4 bits of each value."""
    step = tf.pow(2.0, tf.round(_POSTERIZE_BITS * tf.abs(strength)))
    # Half a level more: 254.99998, which was 255, is not to become 254.
    return tf.floor((image * 255 + 0.5) / step) * step / 255


def solarize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Invert values above a threshold."""
    return tf.where(image > 1 - tf.abs(strength), 1 - image, image)


def auto_contrast(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Stretch each channel to 0..1."""
    low, high = (of(image, axis=[0, 1], keepdims=True) for of in (tf.reduce_min, tf.reduce_max))
    return tf.where(high > low, tf.math.divide_no_nan(image - low, high - low), image)


def equalize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Make all levels of a channel equally frequent."""
    height, width, channels = image.shape
    values = tf.cast(tf.clip_by_value(tf.round(image * 255), 0, 255), tf.int32)
    flat = tf.transpose(tf.reshape(values, [height * width, channels]))
    offsets = 256 * tf.range(channels)[:, tf.newaxis]
    counts = tf.math.bincount(tf.reshape(flat + offsets, [-1]), minlength=256 * channels)
    shares = tf.cumsum(tf.reshape(counts, [channels, 256]), axis=1)
    first = tf.gather(shares, tf.reduce_min(flat, axis=1), batch_dims=1)[:, tf.newaxis]
    table = tf.cast(shares - first, tf.float32) / tf.cast(tf.maximum(height * width - first, 1), tf.float32)
    equal = tf.reshape(tf.transpose(tf.gather(table, flat, batch_dims=1)), [height, width, channels])
    return tf.where(tf.reshape(first, [channels]) < height * width, equal, image)


CHANGES: tuple[Change, ...] = (
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    rotate,
    brightness,
    contrast,
    color,
    sharpness,
    posterize,
    solarize,
    auto_contrast,
    equalize,
)


# Traced once for a shape, not for every change of every stage: it takes a second.
@tf.function(autograph=False)
def _apply_change(image: tf.Tensor, place: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    made = tf.switch_case(place, [lambda change=change: change(image, strength) for change in CHANGES])
    return tf.clip_by_value(made, 0.0, 1.0)


def rand_augment(images: tf.Tensor, chosen: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Change each image of a batch in its own way.

    Args:
        images: float32 [N, H, W, C] in 0..1.
        chosen: int32 [N, ops], places in `CHANGES`.
        strengths: float32 [N, ops].

    Returns:
        Like `images`.
    """

    def one(parts: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, places, amounts = parts
        for op in range(chosen.shape[1]):
            image = _apply_change(image, places[op], amounts[op])
        return image

    signature = tf.TensorSpec(images.shape[1:], tf.float32)
    return tf.map_fn(one, (images, chosen, strengths), fn_output_signature=signature)
