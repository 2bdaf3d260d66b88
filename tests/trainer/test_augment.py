"""Augmentation: what each option does to images and labels, and that a batch's number decides it."""

from __future__ import annotations

import colorsys
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pydantic import ValidationError

from components.base.errors import MiranteError, UsageError
from components.pictures.grid import draw_grid
from components.tasks.classification.trainer import Classification
from components.trainer.augment import rand_augment as ra
from components.trainer.augment.changes import make_augmenter
from components.trainer.augment.config import AugmentationConfig
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fit import fit
from components.trainer.input.batches import training_batches
from components.trainer.input.examples import ArrayExamples
from components.trainer.run import Run
from components.trainer.strategy import Place
from components.trainer.tracking.event_files import TensorBoard
from components.trainer.tracking.trackers import Trackers
from components.trainer.train import ShowInputs, save_png
from components.transform.config import TransformConfig
from components.transform.levels import Levels, known_levels, measured_levels, to_bytes
from components.transform.pixels import decode, normalize, resize
from pipeline.recipe.load import load_recipe
from schemas import features
from tests.make.graphs import Tiny, fit_transform
from tests.make.images import encode_image, make_noise
from tests.make.records import make_record

pytestmark = pytest.mark.stack_free

pytest_plugins = ["tests.fixtures"]

CLASSES = 5
UNIT = Levels((0.0,) * 3, (1.0,) * 3)
GRAY = Levels((0.0,), (1.0,))
EACH: dict[str, dict[str, Any]] = {
    "flip": {"flip": "horizontal"},
    "flip both": {"flip": "horizontal_and_vertical"},
    "crop": {"crop": {"area": [0.3, 0.9]}},
    "zoom": {"zoom": 0.3},
    "rotation": {"rotation": 0.1},
    "translation": {"translation": 0.25},
    "brightness": {"brightness": 0.3},
    "contrast": {"contrast": 0.5},
    "saturation": {"saturation": 0.5},
    "hue": {"hue": 0.2},
    "rand_augment": {"rand_augment": {"ops": 2, "magnitude": 0.6}},
    "trivial_augment": {"trivial_augment": True},
    "erasing": {"erasing": 0.5},
    "mix_up": {"mix_up": 1.0},
    "cut_mix": {"cut_mix": 1.0},
    "mix_up and cut_mix": {"mix_up": 1.0, "cut_mix": 1.0},
}
# But one of two that exclude each other.
EVERYTHING = {
    key: value for options in EACH.values() for key, value in options.items() if key != "trivial_augment"
}


@functools.cache
def prepared(options: str, levels: Levels | None) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    augment = make_augmenter(AugmentationConfig.model_validate_json(options), 0, CLASSES, levels)
    assert augment is not None
    # In a graph, as in training.
    return tf.function(augment)


def augmented(
    options: dict[str, Any],
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    number: int = 7,
    levels: Levels | None = UNIT,
) -> tuple[np.ndarray, np.ndarray]:
    made = prepared(json.dumps(options), levels)(
        tf.constant(number, tf.int64),
        tf.constant(images, tf.float32),
        tf.constant(np.zeros(len(images)) if labels is None else labels, tf.int64),
    )
    return made[0].numpy(), made[1].numpy()


def photos(count: int, side: int = 12, channels: int = 3) -> np.ndarray:
    """Noise float32 [count, side, side, channels] in 0..1."""
    return np.random.default_rng(1).random((count, side, side, channels), np.float32)


# --- a function of seed and number


@pytest.fixture(scope="module")
def examples() -> ArrayExamples:
    return ArrayExamples("train", photos(40), np.arange(40) % CLASSES)


# All at once: each graph takes half a second to trace, and the next test has the options one by one.
@pytest.mark.slow
def test_a_batch_is_decided_by_the_seed_and_its_number(examples: ArrayExamples) -> None:
    def steps(seed: int, first: int, count: int) -> list[tuple[bytes, bytes]]:
        # Each time anew, as by another process.
        augment = make_augmenter(AugmentationConfig.model_validate(EVERYTHING), seed, CLASSES, UNIT)
        batches = training_batches(
            examples, TrainingConfig(global_batch_size=8, seed=5), first_step=first, augment=augment
        )
        made = [(images.numpy(), labels.numpy()) for images, labels in batches.take(count)]
        assert all(np.isfinite(images).all() for images, _ in made)
        return [(images.tobytes(), labels.tobytes()) for images, labels in made]

    whole = steps(3, 0, 9)
    assert steps(3, 7, 2) == whole[7:]
    assert steps(4, 7, 1) != whole[7:8]


@pytest.mark.parametrize("options", EACH.values(), ids=list(EACH))
def test_another_number_varies_the_same_images_differently(options: dict[str, Any]) -> None:
    images, labels = photos(16), np.arange(16) % CLASSES
    first, again, other = (augmented(options, images, labels, number=number)[0] for number in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, images)


def test_replicas_see_different_throws() -> None:
    same = ArrayExamples("train", np.tile(photos(1), (8, 1, 1, 1)), np.zeros(8))
    place = Place(tf.distribute.get_strategy(), num_replicas=2)
    augment = make_augmenter(AugmentationConfig(translation=0.5), 0, CLASSES)
    config = TrainingConfig(global_batch_size=8)
    first, second = (
        images.numpy() for images, _ in training_batches(same, config, place=place, augment=augment).take(2)
    )
    assert first.shape == second.shape == (4, 12, 12, 3)
    assert not np.array_equal(first, second)


def test_an_option_more_leaves_the_throws_of_the_others() -> None:
    images = photos(20)
    flipped, _ = augmented({"flip": "horizontal"}, images)
    both, _ = augmented({"flip": "horizontal", "erasing": 1.0}, images)
    kept = both != 0
    assert 0.5 < kept.mean() < 1
    np.testing.assert_array_equal(both[kept], flipped[kept])


def test_nothing_asked_for_is_nothing_done() -> None:
    assert make_augmenter(AugmentationConfig(), 0, CLASSES) is None
    assert (
        make_augmenter(AugmentationConfig.model_validate({"rand_augment": {"magnitude": 0.9}}), 0, CLASSES)
        is None
    )


@pytest.mark.parametrize("options", [EVERYTHING, {"flip": "vertical"}], ids=["mixed", "not mixed"])
def test_shapes_stay_static(examples: ArrayExamples, options: dict[str, Any]) -> None:
    augment = make_augmenter(AugmentationConfig.model_validate(options), 0, CLASSES, UNIT)
    images, labels = training_batches(
        examples, TrainingConfig(global_batch_size=8), augment=augment
    ).element_spec
    assert images.shape == (8, 12, 12, 3)
    assert labels.shape == ((8, CLASSES) if "mix_up" in options else (8,))


# --- what moves


def test_flips_are_thrown_for_each_direction() -> None:
    image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    made, _ = augmented({"flip": "horizontal_and_vertical"}, np.tile(image, (200, 1, 1, 1)))
    forms = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    counts = [sum(np.array_equal(one, form) for one in made) for form in forms]
    assert sum(counts) == 200
    assert min(counts) > 25
    sideways, _ = augmented({"flip": "horizontal"}, np.tile(image, (200, 1, 1, 1)))
    counts = [sum(np.array_equal(one, form) for one in sideways) for form in forms]
    assert counts[0] + counts[1] == 200
    assert 60 < counts[0] < 140


def test_translation_is_by_whole_pixels_and_mirrors_the_edge() -> None:
    image = np.arange(48, dtype=np.float32).reshape(8, 6, 1)
    made, _ = augmented({"translation": 0.3}, np.tile(image, (2000, 1, 1, 1)))
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], "symmetric")
    expected = {padded[top : top + 8, left : left + 6].tobytes() for top in range(5) for left in range(5)}
    assert {one.tobytes() for one in made} == expected


def test_translation_beyond_the_image_mirrors_all_of_it() -> None:
    row = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    made, _ = augmented({"translation": 0.99}, np.tile(row, (300, 1, 1, 1)))
    padded = np.pad(row[0, :, 0], 4, "symmetric")
    assert {tuple(one[0, :, 0]) for one in made} == {tuple(padded[at : at + 4]) for at in range(9)}


def test_crops_are_of_the_area_and_aspect_asked_for() -> None:
    # Each pixel says where it is, so that a crop tells its corners.
    y, x = np.meshgrid(np.arange(21.0), np.arange(41.0), indexing="ij")
    images = np.tile(np.stack([y / 20, x / 40, x * 0], axis=-1).astype(np.float32), (300, 1, 1, 1))
    made, _ = augmented({"crop": {"area": [0.25, 0.49], "aspect": [0.5, 2.0]}}, images)
    height, width = made[:, -1, 0, 0] - made[:, 0, 0, 0], made[:, 0, -1, 1] - made[:, 0, 0, 1]
    area, aspect = height * width, width / height
    assert 0.25 - 1e-4 <= area.min() < 0.27
    assert 0.47 < area.max() <= 0.49 + 1e-4
    assert 0.5 - 1e-3 <= aspect.min() < 0.55
    assert 1.8 < aspect.max() <= 2.0 + 1e-3
    assert made[..., :2].min() >= 0
    assert made[..., :2].max() <= 1 + 1e-6
    # Anywhere in the image.
    assert made[:, 0, 0, 0].min() < 0.02
    assert made[:, -1, 0, 0].max() > 0.98


def test_a_crop_of_everything_is_the_image() -> None:
    images = photos(3)
    made, _ = augmented({"crop": {"area": [0.999999, 0.999999], "aspect": [1.0, 1.0]}}, images)
    np.testing.assert_allclose(made, images, atol=1e-4)


def test_zoom_keeps_the_aspect_and_the_middle() -> None:
    y, x = np.meshgrid(np.arange(21.0), np.arange(41.0), indexing="ij")
    images = np.tile(np.stack([y, x, x * 0], axis=-1).astype(np.float32), (200, 1, 1, 1))
    made, _ = augmented({"zoom": 0.2}, images)
    np.testing.assert_allclose(made[:, 10, 20, :2], np.tile([10.0, 20.0], (200, 1)), atol=1e-3)
    steps = made[:, 11, 20, 0] - made[:, 10, 20, 0]
    np.testing.assert_allclose(made[:, 10, 21, 1] - made[:, 10, 20, 1], steps, atol=1e-3)
    assert 0.8 <= steps.min() < 0.83
    assert 1.17 < steps.max() <= 1.2


def test_rotation_is_up_to_a_share_of_the_circle() -> None:
    y, x = np.meshgrid(np.arange(21.0), np.arange(21.0), indexing="ij")
    images = np.tile(np.stack([y, x, x * 0], axis=-1).astype(np.float32), (300, 1, 1, 1))
    made, _ = augmented({"rotation": 0.1}, images)
    step = made[:, 10, 11, :2] - made[:, 10, 10, :2]
    np.testing.assert_allclose(np.hypot(step[:, 0], step[:, 1]), 1.0, atol=1e-3)
    degrees = np.degrees(np.arctan2(step[:, 0], step[:, 1]))
    assert -36 <= degrees.min() < -33
    assert 33 < degrees.max() <= 36


def test_erasing_fills_rectangles_with_0_in_its_share_of_the_images() -> None:
    made, _ = augmented({"erasing": 0.5}, np.ones((300, 32, 32, 3), np.float32), levels=None)
    assert set(np.unique(made)) == {0.0, 1.0}
    holes = 1 - made.mean(axis=(1, 2, 3))
    assert 110 < (holes > 0).sum() < 190
    assert 0.015 < holes[holes > 0].min() < 0.05
    assert 0.25 < holes.max() < 0.35
    for image, hole in zip(made, holes, strict=True):
        # As many pixels as its rows times its columns: one rectangle, in all channels.
        empty = image[..., 0] == 0
        assert np.array_equal(empty, image[..., 2] == 0)
        assert empty.any(axis=0).sum() * empty.any(axis=1).sum() == round(hole * 1024)


# --- colours

NORMALIZATIONS = ["zero_one", "minus_one_one", "imagenet", "imagenet_caffe"]


def test_brightness_and_contrast_and_saturation_and_hue_are_of_the_size_asked_for() -> None:
    pixel = np.array([0.5, 0.4, 0.3], np.float32)
    images = np.tile(pixel, (300, 4, 4, 1))
    shift = (augmented({"brightness": 0.2}, images)[0] - images)[:, 0, 0]
    np.testing.assert_allclose(shift, shift[:, :1].repeat(3, axis=1), atol=1e-5)
    assert -0.2 <= shift.min() < -0.19
    assert 0.19 < shift.max() <= 0.2

    images[:, :2] = 0.6
    factor = augmented({"contrast": 0.3}, images)[0]
    factor = (factor[:, 0, 0] - factor[:, 3, 0]) / (0.6 - pixel)
    assert 0.7 - 1e-4 <= factor.min() < 0.71
    assert 1.29 < factor.max() <= 1.3 + 1e-4

    images[:] = pixel
    changed = augmented({"saturation": 0.4}, images)[0][:, 0, 0]
    saturation = np.array([colorsys.rgb_to_hsv(*one)[1] for one in changed]) / colorsys.rgb_to_hsv(*pixel)[1]
    assert 0.6 - 1e-3 <= saturation.min() < 0.62
    assert 1.38 < saturation.max() <= 1.4 + 1e-3

    turned = augmented({"hue": 0.05}, images)[0][:, 0, 0]
    hue = np.array([colorsys.rgb_to_hsv(*one)[0] for one in turned]) - colorsys.rgb_to_hsv(*pixel)[0]
    hue = (hue + 0.5) % 1 - 0.5
    assert -0.0501 <= hue.min() < -0.047
    assert 0.047 < hue.max() <= 0.0501


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("option", ["brightness", "saturation", "hue", "rand_augment"])
def test_colours_change_alike_under_every_normalization(normalization: str, option: str) -> None:
    config = TransformConfig(normalization=normalization)
    levels = known_levels(config)
    assert levels is not None
    pixels = photos(12)
    plain, _ = augmented(EACH[option], pixels)
    made, _ = augmented(EACH[option], normalize(tf.constant(pixels * 255), config).numpy(), levels=levels)
    # A level that is all but on a threshold may fall on either side of it.
    alike = np.isclose(levels.to_unit(made), plain, atol=1e-3)
    assert alike.mean() > 0.99


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_levels_bring_pixels_back(normalization: str) -> None:
    config = TransformConfig(normalization=normalization)
    levels = known_levels(config)
    assert levels is not None
    pixels = photos(2)
    images = normalize(tf.constant(pixels * 255), config)
    np.testing.assert_allclose(levels.to_unit(images), pixels, atol=1e-5)
    np.testing.assert_allclose(levels.from_unit(levels.to_unit(images)), images, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_levels_are_measured_where_only_the_graph_knows_them(make_tiny: Callable[[int], Tiny]) -> None:
    tiny = make_tiny(3)
    assert tiny.config.normalization == "standardize"
    assert known_levels(tiny.config) is None
    levels = measured_levels(tiny.tft_output, tiny.config)
    assert levels.channels == 3
    inputs = {
        features.ENCODED: tf.constant(tiny.encoded)[:, None],
        features.LABEL: tf.zeros([12, 1], tf.int64),
    }
    images = tiny.tft_output.transform_features_layer()(inputs)["image"]
    pixels = np.stack([resize(decode(one, 3), tiny.config) for one in tiny.encoded])
    np.testing.assert_allclose(levels.to_unit(images), pixels / 255, atol=1e-4)


@pytest.mark.slow
def test_measured_levels_are_the_known_ones(tmp_path: Path) -> None:
    # Upright in a broad frame: black at the sides.
    config = TransformConfig(height_px=6, width_px=14, resize="pad", normalization="imagenet_caffe")
    graph = fit_transform(tmp_path, [make_record(encode_image(make_noise(0, 8, 8)), 0)], config)
    measured, known = measured_levels(graph, config), known_levels(config)
    assert known is not None
    assert measured.bgr
    np.testing.assert_allclose(measured.black, known.black, atol=1e-3)
    np.testing.assert_allclose(measured.white, known.white, atol=1e-3)


def test_colours_without_levels_or_channels_are_refused() -> None:
    with pytest.raises(MiranteError, match="brightness, hue need the levels"):
        make_augmenter(AugmentationConfig(brightness=0.1, hue=0.1), 0, CLASSES)
    with pytest.raises(MiranteError, match=r"saturation and hue need transform\.channels: 3"):
        make_augmenter(AugmentationConfig(saturation=0.1), 0, CLASSES, GRAY)
    with pytest.raises(UsageError, match=r"saturation and hue are of colours, and transform\.channels is 1"):
        load_recipe("mnist", ["training.augmentation.hue=0.1"], "data")
    assert load_recipe("mnist", ["training.augmentation.rand_augment.ops=2"], "data")


@pytest.mark.slow
def test_gray_images_are_augmented_too() -> None:
    options = {key: value for key, value in EVERYTHING.items() if key not in ("saturation", "hue")}
    made, _ = augmented(options, photos(16, channels=1), np.zeros(16), levels=GRAY)
    assert made.shape == (16, 12, 12, 1)
    assert np.isfinite(made).all()


# --- RandAugment


@pytest.mark.parametrize("change", ra.CHANGES, ids=[change.__name__ for change in ra.CHANGES])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_change_of_strength_0_changes_nothing(change: ra.Change, channels: int) -> None:
    image = np.round(photos(1, 16, channels)[0] * 255) / 255
    made = change(tf.constant(image), tf.constant(0.0)).numpy()
    if change in (ra.auto_contrast, ra.equalize):
        assert made.min() == 0
        assert made.max() == 1
    else:
        np.testing.assert_allclose(made, image, atol=1e-5)
    strong = change(tf.constant(image), tf.constant(-0.8)).numpy()
    gray_has_no_colour = change is ra.color and channels == 1
    assert np.array_equal(strong, image) is gray_has_no_colour
    assert strong.shape == image.shape


def test_changes_do_what_pillow_does() -> None:
    from PIL import ImageEnhance, ImageOps

    pixels = make_noise(3, 128, 128)
    pixels[:64] //= 2
    image = Image.fromarray(pixels)
    strength = 0.5
    expected = {
        ra.brightness: ImageEnhance.Brightness(image).enhance(1.45),
        ra.contrast: ImageEnhance.Contrast(image).enhance(1.45),
        ra.color: ImageEnhance.Color(image).enhance(1.45),
        ra.posterize: ImageOps.posterize(image, 6),
        ra.solarize: ImageOps.solarize(image, 128),
        ra.equalize: ImageOps.equalize(image),
    }
    for change, wanted in expected.items():
        made = change(tf.constant(pixels / 255, tf.float32), tf.constant(strength))
        made = np.clip(made.numpy(), 0, 1) * 255
        # Pillow rounds on the way, and equalizes by a step of whole pixels.
        difference = np.abs(made - np.asarray(wanted, np.float32))
        assert difference.mean() < 1.5, change.__name__


def test_translation_and_rotation_of_rand_augment_keep_to_the_middle() -> None:
    image = np.zeros((21, 21, 1), np.float32)
    image[10, 10] = 1
    for change in (ra.rotate, ra.shear_x, ra.shear_y):
        assert change(tf.constant(image), tf.constant(1.0)).numpy()[10, 10, 0] == pytest.approx(1.0, abs=1e-4)
    moved = ra.translate_x(tf.constant(image), tf.constant(0.5)).numpy()[..., 0]
    # 0.45 x 0.5 x 21 = 4.725 pixels.
    assert moved[10, 5:7].sum() == pytest.approx(1.0, abs=1e-4)


def test_each_image_has_changes_of_its_own() -> None:
    images = np.tile(photos(1), (64, 1, 1, 1))
    made, _ = augmented({"rand_augment": {"ops": 1, "magnitude": 0.5}}, images)
    # Thirteen changes, most of them either way.
    assert 15 < len({one.tobytes() for one in made}) < 27


def test_trivial_augment_changes_each_image_once_and_by_its_own_strength() -> None:
    image = photos(1)
    made, _ = augmented({"trivial_augment": True}, np.tile(image, (64, 1, 1, 1)))
    same = sum(bool(np.allclose(one, image[0], atol=1e-6)) for one in made)
    # One of fourteen stays as it is; of the others nearly all differ.
    assert 1 <= same < 16
    assert 40 < len({one.tobytes() for one in made}) <= 64


# --- what is mixed


@pytest.mark.parametrize("option", ["mix_up", "cut_mix", "both"])
def test_labels_tell_what_images_are_mixed_of(option: str) -> None:
    options = {"mix_up": 1.0, "cut_mix": 1.0} if option == "both" else {option: 1.0}
    # Image i is i in all pixels, and of class i: the mean of a mixed one is the mean of its labels.
    labels = np.arange(CLASSES).repeat(8)
    images = np.tile(labels[:, None, None, None].astype(np.float32), (1, 20, 10, 3))
    for number in range(6):
        made, mixed = augmented(options, images, labels, number=number, levels=None)
        assert mixed.shape == (40, CLASSES)
        np.testing.assert_allclose(mixed.sum(axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(made.mean(axis=(1, 2, 3)), mixed @ np.arange(CLASSES), atol=1e-4)
        assert ((mixed > 0).sum(axis=1) == 2).sum() > 20
        if option == "cut_mix":
            assert set(np.unique(made)) <= set(range(CLASSES))


def test_two_ways_of_mixing_take_turns_by_chance() -> None:
    images, labels = photos(16), np.arange(16) % CLASSES
    whole = {key: EACH[key][key] for key in ("mix_up", "cut_mix")}
    by = dict.fromkeys(whole, 0)
    for number in range(20):
        both, _ = augmented(whole, images, labels, number=number)
        for key, alpha in whole.items():
            alone, _ = augmented({key: alpha}, images, labels, number=number)
            by[key] += np.array_equal(both, alone)
    assert sum(by.values()) == 20
    assert min(by.values()) >= 4


@pytest.mark.parametrize("option", ["mix_up", "cut_mix"])
def test_a_small_alpha_mixes_little(option: str) -> None:
    images, labels = photos(400, 16), np.arange(400) % CLASSES
    made, mixed = augmented({option: 0.05}, images, labels)
    assert np.isfinite(made).all()
    # Beta(0.05, 0.05) is above 0.9 or below 0.1 nine times in ten; a fifth of the others are of one class.
    assert 0.84 < (mixed.max(axis=1) > 0.9).mean() < 0.97


# --- settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": {"area": [0.5, 0.2]}}, r"area\n .*expected \[least, largest\]"),
        ({"crop": {"aspect": [0, 1]}}, r"aspect\n .*expected \[least, largest\]"),
        ({"crop": {"area": [0.5, 1.5]}}, "less than or equal to 1"),
        ({"rotation": 15}, "less than or equal to 0.5"),
        ({"rand_augment": {"ops": -1}}, "greater than or equal to 0"),
        ({"rand_augment": {"ops": 1}, "trivial_augment": True}, "expected rand_augment.ops: 0 next to it"),
        ({"mix_up": -0.1}, "greater than or equal to 0"),
        ({"cut_mix": 0.01}, r"cut_mix: expected 0 \(off\) or an alpha of 0\.05 to 10, got 0\.01"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AugmentationConfig.model_validate(options)


# --- images


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_grid_shows_the_pixels_as_they_were(normalization: str) -> None:
    config = TransformConfig(normalization=normalization)
    pixels = np.stack([make_noise(seed, 48, 32) for seed in range(5)])
    images = normalize(tf.constant(pixels, tf.float32), config).numpy()
    captions = ["one", "two", "a\nb", "", "a name that is far too long for an image so small"]
    picture = draw_grid(to_bytes(images, known_levels(config)), captions)
    assert picture.dtype == np.uint8
    # 3 columns and 2 rows; images are enlarged three times, captions take two lines below.
    assert picture.shape == (2 * (144 + 28 + 4) + 4, 3 * (128 + 4) + 4, 3)
    shown = picture[4 : 4 + 144 : 3, 4 : 4 + 96 : 3]
    np.testing.assert_allclose(shown.astype(int), pixels[0].astype(int), atol=1)
    # The caption below it, and nothing after the last image.
    assert picture[148:176, 4:132].min() < 100
    assert (picture[180:, 268:] == 255).all()


def test_a_grid_of_large_gray_images_by_their_own_range() -> None:
    images = np.linspace(-3, 5, 400 * 400, dtype=np.float32).reshape(1, 400, 400, 1)
    picture = draw_grid(to_bytes(images, None), ["x"])
    assert picture.shape == (4 + 192 + 14 + 4, 4 + 192 + 4, 3)
    shown = picture[4:196, 4:196]
    assert shown.min() <= 2
    assert shown.max() >= 253


def test_captions_name_the_largest_shares() -> None:
    show = Classification(["cat", "dog", "owl"]).show
    assert show(np.array(1)) == ("dog", [])
    assert show(np.array([0.3, 0.0, 0.7])) == ("70% owl\n30% cat", [])
    assert show(np.array([0.001, 0.999, 0.0])) == ("dog", [])


def test_the_first_batch_is_written_and_tracked(tmp_path: Path) -> None:
    class Told:
        def __init__(self) -> None:
            self.images: list[tuple[str, int, str, np.ndarray]] = []

        def scalars(self, stage: str, step: int, values: Any) -> None: ...

        def image(self, stage: str, step: int, name: str, image: np.ndarray) -> None:
            self.images.append((stage, step, name, image))

        def close(self) -> None: ...

    told = Told()
    show = ShowInputs(str(tmp_path), told, Classification(["cat", "dog"]), UNIT)
    # Features, no images.
    show("head", np.zeros((4, 10), np.float32), np.zeros(4, np.int64))
    assert told.images == []
    show("training", photos(40), np.zeros(40, np.int64))
    [(stage, step, name, picture)] = told.images
    assert (stage, step, name) == ("training", 0, "inputs")
    written = Image.open(io.BytesIO((tmp_path / "training" / "inputs.png").read_bytes()))
    np.testing.assert_array_equal(np.asarray(written), picture)
    assert picture.shape[1] == 6 * (132 + 4) + 4  # 36 of the 40


@pytest.mark.slow
def test_training_shows_each_stage_what_it_starts_with(tmp_path: Path) -> None:
    place = Place(tf.distribute.get_strategy())
    config = TrainingConfig(
        epochs=2,
        global_batch_size=8,
        augmentation=AugmentationConfig.model_validate({"hue": 0.2, "cut_mix": 1.0}),
        patience_epochs=1,
    )
    model = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    train, evaluation = (ArrayExamples(split, photos(16), np.arange(16) % 2) for split in ("train", "eval"))
    tracker = Trackers({"TensorBoard": TensorBoard(str(tmp_path))})
    trainee = Classification(["cat", "dog"])
    run = Run(
        trainee,
        train,
        evaluation,
        config,
        place,
        Checkpoints(str(tmp_path / "checkpoints")),
        tracker,
        UNIT,
        ShowInputs(str(tmp_path), tracker, trainee, UNIT),
    )
    fit(model, run, pretrained=False)
    tracker.close()
    shown = np.asarray(Image.open(tmp_path / "training" / "inputs.png"))
    augment = make_augmenter(config.augmentation, config.seed, 2, UNIT)
    [(images, labels)] = training_batches(train, config, augment=augment).take(1)
    captions = [Classification(["cat", "dog"]).show(label)[0] for label in labels.numpy()]
    np.testing.assert_array_equal(shown, draw_grid(to_bytes(images.numpy(), UNIT), captions))


def test_save_png_makes_folders(tmp_path: Path) -> None:
    save_png(str(tmp_path / "a" / "b" / "c.png"), make_noise(0, 3, 4))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a" / "b" / "c.png")), make_noise(0, 3, 4))
