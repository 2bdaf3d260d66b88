"""Transform: encoded images to normalised pixels, in one graph for training, evaluation and serving.

The image contract of this module: an encoded image is a scalar string holding a JPEG or PNG with 8 bits a
channel; pixels are float32 [height_px, width_px, channels], RGB (BGR in `imagenet_caffe` alone), in the value
range that the normalization names:

    none             [0, 255]             as they are (EfficientNet, which scales them itself)
    zero_one         [0, 1]
    minus_one_one    [-1, 1]              MobileNetV2 (`keras.applications.mobilenet_v2.preprocess_input`)
    imagenet         about [-2.2, 2.7]    (x / 255 - mean) / std, ImageNet's RGB mean and deviation
    imagenet_caffe   [-124, 152]          BGR minus ImageNet's mean, no scaling (VGG16's published weights)
    standardize      mean 0, deviation 1  per channel over the train split, by a full pass of the analyzers
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

from components.transform.config import TransformConfig

IMAGE = "image"

# Deviations of the 0..1 pixels of ImageNet's training set, as torchvision and Keras ("torch" mode) use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# BGR means of the 0..255 pixels, from the Caffe release of VGG.
IMAGENET_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode one JPEG or PNG: a scalar string to uint8 [height, width, channels].

    JPEG is decoded by the accurate integer DCT, with which TensorFlow and Pillow agree exactly.
    """
    is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
    return tf.cond(
        is_jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=channels),
    )


def read_size(encoded: tf.Tensor) -> tf.Tensor:
    """Return height and width, int32 [2], from the header of a JPEG or PNG, a scalar string."""
    is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
    size = tf.cond(
        is_jpeg,
        lambda: tf.image.extract_jpeg_shape(encoded)[:2],
        # From a PNG's first chunk: https://www.w3.org/TR/png-3/#11IHDR
        lambda: tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)[::-1],
    )
    return tf.ensure_shape(size, [2])


def place_padded(size: tf.Tensor, target: tuple[int, int]) -> tf.Tensor:
    """Return where a padded image is: its top, left, height and width in pixels of the target, int32 [4].

    Scaled to fit without distortion and centred; an odd pixel of padding goes below or to the right.

    Args:
        size: Height and width of the image, int32 [2].
        target: Those that it is brought to.
    """
    # In whole numbers: tf.image.resize_with_pad, which does not say where it puts an image, reckons in 32
    # bits, and 200 pixels come to 95 of 96.
    height, width = tf.unstack(tf.cast(size, tf.int64))
    # What is thinner than a pixel still has one.
    fitting = tf.stack(
        [
            tf.clip_by_value(height * target[1] // width, 1, target[0]),
            tf.clip_by_value(width * target[0] // height, 1, target[1]),
        ]
    )
    return tf.cast(tf.concat([(target - fitting) // 2, fitting], axis=0), tf.int32)


def resize(image: tf.Tensor, config: TransformConfig) -> tf.Tensor:
    """Resize uint8 [height, width, C] to float32 [height_px, width_px, C] in 0..255, by `config.resize`."""
    target = (config.height_px, config.width_px)
    if config.resize == "pad":
        top, left, height, width = tf.unstack(place_padded(tf.shape(image)[:2], target))
        resized = tf.image.resize(image, (height, width))
        resized = tf.image.pad_to_bounding_box(resized, top, left, *target)
    else:
        resized = tf.image.resize(image, target)
    return tf.ensure_shape(resized, (*target, config.channels))


@tf.autograph.experimental.do_not_convert
def find_frames(encoded: tf.Tensor, target: tuple[int, int]) -> tf.Tensor:
    """Return where padded images, string [N], are: boxes float32 [N, 4] in shares of the target."""

    def frame(encoded: tf.Tensor) -> tf.Tensor:
        top, left, height, width = tf.unstack(place_padded(read_size(encoded), target))
        corners = tf.stack([left, top, left + width, top + height])
        return tf.cast(corners, tf.float32) / (target[1], target[0], target[1], target[0])

    return tf.map_fn(frame, encoded, fn_output_signature=tf.TensorSpec([4], tf.float32))


def normalize(pixels: tf.Tensor, config: TransformConfig) -> tf.Tensor:
    """Bring float32 [N, H, W, C] from 0..255 to the range of `config.normalization` (module docstring)."""
    if config.normalization == "none":
        return pixels
    if config.normalization == "zero_one":
        return pixels / 255.0
    if config.normalization == "minus_one_one":
        return pixels / 127.5 - 1.0
    if config.normalization == "imagenet":
        return (pixels / 255.0 - IMAGENET_MEAN) / IMAGENET_STD
    if config.normalization == "imagenet_caffe":
        return pixels[..., ::-1] - IMAGENET_CAFFE_MEAN_BGR
    # float64: a float32 sum over a whole data set's pixels would lose the last digits.
    by_channel = tf.cast(tf.reshape(pixels, (-1, config.channels)), tf.float64)
    mean = tf.cast(tft.mean(by_channel, reduce_instance_dims=False), tf.float32)
    variance = tf.cast(tft.var(by_channel, reduce_instance_dims=False), tf.float32)
    return (pixels - mean) / tf.sqrt(tf.maximum(variance, 1e-6))
