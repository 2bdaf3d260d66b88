"""Pixels: decoding, resizing and normalising, by values worked out by hand and by other libraries."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.tasks.classification.transform import LABEL
from components.tasks.detection.transform import BOXES, FRAME, LABELS
from components.transform import preprocessing_fn
from components.transform.config import TransformConfig
from components.transform.pixels import (
    IMAGE,
    decode,
    find_frames,
    normalize,
    place_padded,
    resize,
)
from schemas import features
from tests.make.graphs import Tiny, fit_transform
from tests.make.images import encode_image, make_noise
from tests.make.records import make_record

pytest_plugins = ["tests.fixtures"]

# RGB; 51 is a fifth of 255.
PIXEL = (255, 0, 51)
NORMALIZED = {
    "none": PIXEL,
    "zero_one": (1.0, 0.0, 0.2),
    "minus_one_one": (1.0, -1.0, -0.6),
    # By channel: (1 - 0.485) / 0.229 and so on.
    "imagenet": (2.248908, -2.035714, -0.915556),
    # Blue, green, red: 51 - 103.939, 0 - 116.779, 255 - 123.68
    "imagenet_caffe": (-52.939, -116.779, 131.32),
}


def config(height_px: int, width_px: int, **values: Any) -> TransformConfig:
    return TransformConfig(height_px=height_px, width_px=width_px, **values)


def in_tf_data(function: Callable[[tf.Tensor], tf.Tensor], value: Any) -> np.ndarray:
    dataset = tf.data.Dataset.from_tensors(value).map(function)
    return next(iter(dataset)).numpy()


def preprocess(images: list[bytes], settings: TransformConfig) -> dict[str, tf.Tensor]:
    inputs = {
        features.ENCODED: tf.constant([[image] for image in images]),
        features.LABEL: tf.constant([[index] for index in range(len(images))], tf.int64),
    }
    return preprocessing_fn(inputs, {"task": "classification", "transform": settings.model_dump()})


def from_pillow(encoded: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.mode == mode  # so that Pillow converts nothing
        pixels = np.asarray(image)
    return pixels[..., np.newaxis] if mode == "L" else pixels


# --- decode


@pytest.mark.parametrize(
    "options",
    [
        {"format": "JPEG", "quality": 75},
        {"format": "JPEG", "quality": 95, "subsampling": 0},
        {"format": "JPEG", "quality": 30, "subsampling": 1},
        {"format": "JPEG", "quality": 90, "progressive": True},
        {"format": "PNG"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
@pytest.mark.parametrize(("height", "width"), [(32, 48), (37, 53), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_agrees_with_pillow_to_the_last_bit(
    options: dict[str, Any], height: int, width: int, channels: int
) -> None:
    options = dict(options)
    encoded = encode_image(make_noise(height, height, width, channels), options.pop("format"), **options)
    expected = from_pillow(encoded, "L" if channels == 1 else "RGB")
    decoded = decode(tf.constant(encoded), channels)
    assert decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded.numpy(), expected)
    function = functools.partial(decode, channels=channels)
    np.testing.assert_array_equal(in_tf_data(function, encoded), expected)


def test_decode_needs_the_accurate_method_to_agree() -> None:
    # Why `decode` names a dct_method at all; should TensorFlow's default ever become exact, it need not.
    encoded = encode_image(make_noise(0, 64, 64), "JPEG", quality=90)
    by_default = tf.io.decode_jpeg(encoded).numpy().astype(int)
    assert 0 < np.abs(by_default - from_pillow(encoded, "RGB")).max() <= 8


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_gray_image_becomes_three_equal_channels(image_format: str) -> None:
    encoded = encode_image(make_noise(1, 9, 7, 1), image_format)
    decoded = decode(tf.constant(encoded), 3).numpy()
    assert decoded.shape == (9, 7, 3)
    np.testing.assert_array_equal(decoded, np.repeat(from_pillow(encoded, "L"), 3, axis=2))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_colour_image_becomes_its_luminance(image_format: str) -> None:
    # 0.299 R + 0.587 G + 0.114 B: 255 x 0.299 = 76.2, 255 x 0.587 = 149.7, 255 x 0.114 = 29.1.
    for colour, expected in (
        ((255, 0, 0), 76),
        ((0, 255, 0), 150),
        ((0, 0, 255), 29),
        ((100, 100, 100), 100),
    ):
        encoded = encode_image(np.full((8, 8, 3), colour, np.uint8), image_format)
        gray = decode(tf.constant(encoded), 1).numpy()
        assert gray.shape == (8, 8, 1)
        np.testing.assert_allclose(gray, expected, atol=1)


def test_what_is_no_image_raises() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(b"no image"), 3)


# --- resize


def resized(pixels: Any, settings: TransformConfig) -> np.ndarray:
    """Checks shape and dtype, and that eager and tf.data agree; gives [H, W] of the only channel."""
    image = np.asarray(pixels, np.uint8)[..., np.newaxis]
    eager = resize(tf.constant(image), settings)
    assert eager.dtype == tf.float32
    assert eager.shape == (settings.height_px, settings.width_px, settings.channels)
    np.testing.assert_array_equal(in_tf_data(lambda x: resize(x, settings), image), eager.numpy())
    return eager.numpy()[..., 0]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # Pixels are squares with their values in the middle: output i looks at (i + 0.5) * in / out - 0.5.
        ([0, 100], [0, 25, 75, 100]),  # at -0.25, 0.25, 0.75, 1.25
        ([0, 10, 20, 30], [5, 25]),  # at 0.5, 2.5
        ([0, 10, 20, 30, 40, 50], [10, 40]),  # at 1, 4: bilinear, not the mean of an area
        ([7, 8, 9], [7, 8, 9]),
    ],
)
def test_bilinear_fills_the_frame(row: list[int], expected: list[int]) -> None:
    out = resized([row], config(3, len(expected), channels=1))
    np.testing.assert_array_equal(out, [expected] * 3)
    # The same upright.
    out = resized([[value] for value in row], config(len(expected), 3, channels=1))
    np.testing.assert_array_equal(out, np.transpose([expected] * 3))


def test_pad_keeps_the_aspect_ratio_and_adds_black() -> None:
    # 1 x 2 grows to 2 x 4, between two black rows.
    out = resized([[0, 100]], config(4, 4, channels=1, resize="pad"))
    np.testing.assert_array_equal(out, [[0] * 4, [0, 25, 75, 100], [0, 25, 75, 100], [0] * 4])
    # 4 x 2 shrinks to 2 x 1; the column that is over goes to the right.
    out = resized([[10, 20], [30, 40], [50, 60], [70, 80]], config(2, 2, channels=1, resize="pad"))
    np.testing.assert_array_equal(out, [[25, 0], [65, 0]])
    # What fits already is kept.
    out = resized([[1, 2], [3, 4]], config(2, 2, channels=1, resize="pad"))
    np.testing.assert_array_equal(out, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        # Height and width to top, left, height, width.
        ((480, 640), (320, 320), (40, 0, 240, 320)),
        ((640, 480), (320, 320), (0, 40, 320, 240)),
        ((100, 100), (320, 320), (0, 0, 320, 320)),
        ((4, 2), (2, 2), (0, 0, 2, 1)),  # half a column left, half a column right: it goes right
        ((100, 300), (96, 96), (32, 0, 32, 96)),
        ((50, 100), (200, 300), (25, 0, 150, 300)),
        ((100, 200), (96, 96), (24, 0, 48, 96)),
        ((1, 1000), (10, 10), (4, 0, 1, 10)),  # a hundredth of a pixel is one
    ],
)
def test_where_a_padded_image_is(
    size: tuple[int, int], target: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    top, left, height, width = expected
    assert place_padded(tf.constant(size), target).numpy().tolist() == [top, left, height, width]
    white = resize(tf.fill((*size, 1), tf.constant(255, tf.uint8)), config(*target, channels=1, resize="pad"))
    is_image = np.zeros(target, bool)
    is_image[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(white.numpy()[..., 0], np.where(is_image, 255.0, 0.0))
    files = [encode_image(np.zeros((*size, 3), np.uint8), kind) for kind in ("JPEG", "PNG")]
    edges = np.array([left, top, left + width, top + height]) / (target[1], target[0], target[1], target[0])
    np.testing.assert_allclose(find_frames(tf.constant(files), target), [edges, edges], rtol=1e-6)


def test_a_padded_image_fills_the_frame_one_way_and_keeps_its_shape() -> None:
    sizes = np.random.default_rng(0).integers(20, 2000, (200, 4))
    for height, width, high, wide in sizes.tolist():
        top, left, fit_height, fit_width = (
            place_padded(tf.constant((height, width)), (high, wide)).numpy().tolist()
        )
        assert fit_height == high or fit_width == wide
        scale = min(high / height, wide / width)
        assert fit_height == max(1, int(height * scale + 1e-9))
        assert fit_width == max(1, int(width * scale + 1e-9))
        assert 0 <= high - fit_height - 2 * top <= 1
        assert 0 <= wide - fit_width - 2 * left <= 1


def test_pad_is_what_tensorflow_has_where_its_32_bits_suffice() -> None:
    image = tf.constant(make_noise(0, 48, 64))
    out = resize(image, config(32, 32, resize="pad"))
    np.testing.assert_array_equal(out, tf.image.resize_with_pad(image, 32, 32))


def test_boxes_go_along_where_an_image_is_padded() -> None:
    def sparse(rows: list[list[float]], kind: str = "float32") -> tf.SparseTensor:
        return tf.RaggedTensor.from_row_lengths(
            tf.constant([value for row in rows for value in row], kind), [len(row) for row in rows]
        ).to_sparse()

    # 200 x 100 px in a frame of 8 x 8: it fills the rows 2 to 5. Of the second image, a square, all is seen.
    inputs = {
        features.ENCODED: tf.constant(
            [[encode_image(make_noise(0, 100, 200))], [encode_image(make_noise(1, 9, 9))]]
        ),
        features.BOX_XMIN: sparse([[0.0, 0.5], [0.25]]),
        features.BOX_YMIN: sparse([[0.0, 0.5], [0.25]]),
        features.BOX_XMAX: sparse([[1.0, 0.75], [0.5]]),
        features.BOX_YMAX: sparse([[1.0, 1.0], [0.75]]),
        features.BOX_LABEL: sparse([[1, 2], [3]], "int64"),
        features.BOX_DIFFICULT: sparse([[0, 1], []], "int64"),
    }

    def outputs(mode: str) -> dict[str, Any]:
        settings = config(8, 8, resize=mode)
        custom_config = {"task": "detection", "transform": settings.model_dump(), "max_boxes": 3}
        return {name: value.numpy() for name, value in preprocessing_fn(inputs, custom_config).items()}

    found = outputs("pad")
    assert found[LABELS].tolist() == [[1, -2, 0], [3, 0, 0]]
    nothing = [0.0, 0.0, 0.0, 0.0]
    expected = [
        [[0.0, 0.25, 1.0, 0.75], [0.5, 0.5, 0.75, 0.75], nothing],
        [[0.25, 0.25, 0.5, 0.75], nothing, nothing],
    ]
    np.testing.assert_allclose(found[BOXES], expected)
    np.testing.assert_allclose(found[FRAME], [[0.0, 0.25, 1.0, 0.75], [0.0, 0.0, 1.0, 1.0]])
    stretched = outputs("bilinear")
    assert set(stretched) == {IMAGE, BOXES, LABELS}
    np.testing.assert_allclose(stretched[BOXES][0], [[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.75, 1.0], nothing])


def test_channels_are_resized_apart() -> None:
    image = np.array([[[0, 10, 200], [100, 30, 200]]], np.uint8)
    out = resize(tf.constant(image), config(1, 4)).numpy()
    np.testing.assert_array_equal(out[0], [[0, 10, 200], [25, 15, 200], [75, 25, 200], [100, 30, 200]])


def test_resize_refuses_other_channels() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        resize(tf.zeros((4, 4, 1), tf.uint8), config(2, 2, channels=3))


# --- normalize


@pytest.mark.parametrize(("normalization", "expected"), NORMALIZED.items())
def test_normalize_by_hand(normalization: str, expected: tuple[float, ...]) -> None:
    settings = config(1, 1, normalization=normalization)
    pixels = np.array([[[PIXEL]]], np.float32)
    eager = normalize(tf.constant(pixels), settings)
    assert eager.dtype == tf.float32
    np.testing.assert_allclose(eager.numpy(), [[[expected]]], rtol=1e-6, atol=2e-6)
    np.testing.assert_array_equal(in_tf_data(lambda x: normalize(x, settings), pixels), eager.numpy())


@pytest.mark.parametrize(
    ("normalization", "theirs"),
    [
        ("none", keras.applications.efficientnet.preprocess_input),
        ("minus_one_one", keras.applications.mobilenet_v2.preprocess_input),
        ("imagenet_caffe", keras.applications.vgg16.preprocess_input),
        ("imagenet", keras.applications.densenet.preprocess_input),
    ],
)
def test_normalize_agrees_with_keras_applications(normalization: str, theirs: Callable[..., Any]) -> None:
    pixels = make_noise(3, 8, 8)[np.newaxis].astype(np.float32)
    ours = normalize(tf.constant(pixels), config(8, 8, normalization=normalization)).numpy()
    np.testing.assert_allclose(ours, theirs(pixels.copy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalization", ["none", "zero_one", "minus_one_one"])
def test_gray_is_normalised_too(normalization: str) -> None:
    settings = config(1, 3, channels=1, normalization=normalization)
    out = normalize(tf.constant([[[[255.0], [0.0], [51.0]]]]), settings).numpy()
    np.testing.assert_allclose(out[0, 0, :, 0], NORMALIZED[normalization], rtol=1e-6)


# --- the whole


@pytest.mark.parametrize(("normalization", "expected"), NORMALIZED.items())
@pytest.mark.parametrize("mode", ["bilinear", "pad"])
def test_preprocessing_fn_from_file_to_pixels(
    normalization: str, expected: tuple[float, ...], mode: str
) -> None:
    # One row of three equal pixels; to 3 x 3 px it is stretched, or stands between two black rows.
    settings = config(3, 3, normalization=normalization, resize=mode)
    image = encode_image(np.full((1, 3, 3), PIXEL, np.uint8))
    outputs = preprocess([image, image], settings)
    assert set(outputs) == {IMAGE, LABEL}
    assert outputs[IMAGE].shape == (2, 3, 3, 3)
    assert (outputs[IMAGE].dtype, outputs[LABEL].dtype) == (tf.float32, tf.int64)
    np.testing.assert_array_equal(outputs[LABEL].numpy(), [0, 1])
    pixels = outputs[IMAGE].numpy()[1]
    np.testing.assert_allclose(pixels[1], [expected] * 3, rtol=1e-6, atol=2e-6)
    black = normalize(tf.zeros((1, 1, 1, 3)), settings).numpy()[0, 0, 0]
    outer = expected if mode == "bilinear" else black
    np.testing.assert_allclose(pixels[[0, 2]], [[outer] * 3] * 2, rtol=1e-6, atol=2e-6)


def test_preprocessing_fn_takes_images_of_any_size_in_one_batch() -> None:
    images = [
        encode_image(make_noise(0, 5, 9), "PNG"),
        encode_image(make_noise(1, 40, 3, 1), "JPEG"),
        encode_image(make_noise(2, 1, 1), "PNG"),
    ]
    settings = config(6, 4)
    together = preprocess(images, settings)[IMAGE].numpy()
    alone = [preprocess([image], settings)[IMAGE].numpy()[0] for image in images]
    np.testing.assert_array_equal(together, alone)
    assert together.max() > 0.5


# --- standardize, which needs a pass of the analyzers


@pytest.mark.slow
def test_standardize_by_hand(tmp_path: Path) -> None:
    # Red 0 and 200: mean 100, deviation 100. Green 10 and 50: 30 and 20. Blue always 7: nothing to divide by.
    images = [encode_image(np.full((2, 3, 3), colour, np.uint8)) for colour in ((0, 10, 7), (200, 50, 7))]
    settings = config(4, 4, normalization="standardize")
    graph = fit_transform(tmp_path, [make_record(image, 0) for image in images], settings)
    layer = graph.transform_features_layer()
    middle = encode_image(np.full((1, 1, 3), (100, 70, 7), np.uint8))
    pixels = layer({features.ENCODED: tf.constant([[image] for image in [*images, middle]])})[IMAGE].numpy()
    assert pixels.shape == (3, 4, 4, 3)
    for image, expected in zip(pixels, [(-1, -1, 0), (1, 1, 0), (0, 2, 0)], strict=True):
        np.testing.assert_allclose(image, np.broadcast_to(expected, (4, 4, 3)), rtol=1e-6)


@pytest.mark.parametrize("channels", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_standardize_over_a_split(make_tiny: Callable[[int], Tiny], channels: int) -> None:
    split = make_tiny(channels)
    plain = [resize(decode(tf.constant(image), channels), split.config).numpy() for image in split.encoded]
    exact = np.asarray(plain, np.float64)
    mean, variance = exact.mean(axis=(0, 1, 2)), exact.var(axis=(0, 1, 2))
    layer = split.tft_output.transform_features_layer()
    pixels = layer({features.ENCODED: tf.constant([[image] for image in split.encoded])})[IMAGE].numpy()
    # The constants in the graph are the split's, to float32's last digit.
    expected = (np.asarray(plain) - mean.astype(np.float32)) / np.sqrt(variance.astype(np.float32))
    np.testing.assert_allclose(pixels, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1, 2), dtype=np.float64), np.zeros(channels), atol=1e-6)
    np.testing.assert_allclose(pixels.std(axis=(0, 1, 2), dtype=np.float64), np.ones(channels), rtol=1e-6)
    assert math.prod(pixels.shape) == len(split.encoded) * 16 * 16 * channels
