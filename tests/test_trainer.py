"""Training: what goes in, which weights change, the rates and losses, and that a seed gives one result."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.config import AugmentationConfig, ModelConfig, TrainingConfig
from components.errors import MiranteError
from components.models import BACKBONE, HEAD, linear_head
from components.trainer import fit as fit_module
from components.trainer import input as input_module
from components.trainer import run_fn
from components.trainer.augment import Augment, augmenter
from components.trainer.fit import fit, learning_rate, make_loss, make_optimizer
from components.trainer.input import SplitInput, available_memory_bytes
from schemas.curated import write_schema
from tests.tiny import CLASS_NAMES, Tiny, encode, noise, record, write_split

pytest_plugins = ["tests.fixtures"]

# More than one batch of anything, and no multiple of the batch sizes.
COUNT = 70


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The files of a split whose labels are 0 .. COUNT - 1, so that every example is known by its label."""
    records = [record(encode(noise(index, 16, 16)), index) for index in range(COUNT)]
    return str(write_split(tmp_path_factory.mktemp("numbered") / "Split-train", records, shards=3) / "*")


def labels_of(dataset: tf.data.Dataset) -> list[int]:
    return [int(label) for _, labels in dataset for label in labels]


def by_label(dataset: tf.data.Dataset) -> dict[int, bytes]:
    return {
        int(label): image.tobytes()
        for images, labels in dataset
        for image, label in zip(images.numpy(), labels.numpy(), strict=True)
    }


@pytest.fixture(params=["cached", "uncached"])
def caching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "uncached":
        monkeypatch.setattr(input_module, "CACHE_MEMORY_SHARE", 0.0)
    return bool(request.param == "cached")


# --- input


def test_a_split_is_counted_and_batched(
    numbered: str, make_tiny: Callable[[int], Tiny], caching: bool
) -> None:
    split = SplitInput("train", [numbered], make_tiny(3).tft_output)
    assert split.num_examples == COUNT
    assert split.image_shape == (16, 16, 3)
    assert split.fits_in_memory is caching
    batches = list(split.batches(32))
    assert [images.shape for images, _ in batches] == [(32, 16, 16, 3), (32, 16, 16, 3), (6, 16, 16, 3)]
    assert {(images.dtype, labels.dtype) for images, labels in batches} == {(tf.float32, tf.int64)}
    assert sorted(labels_of(split.batches(32))) == list(range(COUNT))


def test_without_shuffling_the_order_is_that_of_the_files(
    numbered: str, make_tiny: Callable[[int], Tiny], caching: bool
) -> None:
    split = SplitInput("train", [numbered], make_tiny(3).tft_output)
    first = labels_of(split.batches(32))
    assert labels_of(split.batches(7)) == first
    assert labels_of(SplitInput("train", [numbered], make_tiny(3).tft_output).batches(32)) == first


BATCHES_AN_EPOCH = math.ceil(COUNT / 16)


def epoch_of(split: SplitInput, seed: int = 1) -> tf.data.Dataset:
    return split.training_batches(16, seed).take(BATCHES_AN_EPOCH)


def test_the_whole_split_is_shuffled_anew_in_every_epoch(
    numbered: str, make_tiny: Callable[[int], Tiny], caching: bool
) -> None:
    def epochs(seed: int) -> list[list[int]]:
        split = SplitInput("train", [numbered], make_tiny(3).tft_output)
        order = labels_of(split.training_batches(16, seed).take(3 * BATCHES_AN_EPOCH))
        return [order[at : at + COUNT] for at in range(0, 3 * COUNT, COUNT)]

    shuffled = epochs(seed=5)
    for order in shuffled:
        assert sorted(order) == list(range(COUNT))
    assert len({tuple(order) for order in shuffled}) == 3
    assert epochs(seed=5) == shuffled
    assert epochs(seed=6) != shuffled
    # From a buffer of n, no example comes more than n places early; here some come from far behind.
    in_files = labels_of(SplitInput("train", [numbered], make_tiny(3).tft_output).batches(16))
    earliest = max(in_files.index(label) - place for place, label in enumerate(shuffled[0]))
    assert earliest > COUNT * 2 // 3


def test_cached_and_uncached_give_the_same_examples(
    numbered: str, make_tiny: Callable[[int], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = SplitInput("train", [numbered], make_tiny(3).tft_output)
    assert cached.fits_in_memory
    examples = by_label(cached.batches(16))
    assert len(examples) == COUNT
    assert by_label(epoch_of(cached)) == examples
    monkeypatch.setattr(input_module, "CACHE_MEMORY_SHARE", 0.0)
    uncached = SplitInput("train", [numbered], make_tiny(3).tft_output)
    assert not uncached.fits_in_memory
    assert by_label(uncached.batches(16)) == examples
    assert by_label(epoch_of(uncached)) == examples


EVERYTHING = AugmentationConfig(flip="horizontal", translation=0.25, erasing=0.5)


def test_augmented_batches_are_the_same_for_a_seed_and_differ_by_step(
    numbered: str, make_tiny: Callable[[int], Tiny], caching: bool
) -> None:
    split = SplitInput("train", [numbered], make_tiny(3).tft_output)

    def steps(seed: int, first: int, count: int) -> list[bytes]:
        batches = split.training_batches(16, 1, augmenter(EVERYTHING, seed))
        return [images.numpy().tobytes() for images, _ in batches.skip(first).take(count)]

    whole = steps(seed=3, first=0, count=8)
    assert steps(seed=3, first=0, count=8) == whole
    # As a run that goes on in the middle of its second epoch.
    assert steps(seed=3, first=6, count=2) == whole[6:]
    assert steps(seed=4, first=0, count=1) != whole[:1]


def test_what_augmentation_does_to_images() -> None:
    columns = np.arange(8, dtype=np.float32)
    images = tf.constant(np.tile(columns[None, None, :, None], (200, 8, 1, 1)))  # [200, 8, 8, 1]
    assert augmenter(AugmentationConfig(), 0) is None
    flip = augmenter(AugmentationConfig(flip="horizontal"), 0)
    assert flip is not None
    rows = flip(tf.constant(7, tf.int64), images).numpy()[:, 0, :, 0]
    turned = [bool((row == columns[::-1]).all()) for row in rows]
    assert all(flipped or (row == columns).all() for flipped, row in zip(turned, rows, strict=True))
    assert 60 < sum(turned) < 140  # of 200, each by a throw of its own
    shift = augmenter(AugmentationConfig(translation=0.25), 0)
    assert shift is not None
    moved = shift(tf.constant(7, tf.int64), images).numpy()[:, 0, :, 0]
    # By whole pixels, up to two either way; the edge is mirrored.
    expected = {tuple(np.pad(columns, 2, "symmetric")[at : at + 8]) for at in range(5)}
    assert {tuple(row) for row in moved} == expected
    erase = augmenter(AugmentationConfig(erasing=0.5), 0)
    assert erase is not None
    ones = tf.ones((200, 32, 32, 1))
    holes = 1 - erase(tf.constant(7, tf.int64), ones).numpy().mean(axis=(1, 2, 3))
    assert 60 < (holes > 0).sum() < 140  # of 200
    assert 0.01 < holes[holes > 0].min() < holes.max() < 0.4


def test_the_memory_that_the_pixels_take_decides(
    numbered: str, make_tiny: Callable[[int], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = COUNT * 16 * 16 * 3 * 4  # float32
    for memory, fits in ((5 * needed, True), (5 * needed - 5, False)):
        monkeypatch.setattr(input_module, "available_memory_bytes", lambda memory=memory: memory)
        assert SplitInput("train", [numbered], make_tiny(3).tft_output).fits_in_memory is fits


def test_free_memory_is_some_and_no_more_than_there_is() -> None:
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    assert 100 * 2**20 < available_memory_bytes() < total


@pytest.mark.parametrize("files", ["no files", "empty files"])
def test_a_split_without_examples_is_refused(
    tmp_path: Path, make_tiny: Callable[[int], Tiny], files: str
) -> None:
    write_split(tmp_path / "Split-eval", [])
    pattern = str(tmp_path / ("Split-eval" if files == "empty files" else "nothing") / "*")
    with pytest.raises(MiranteError, match="the eval split has no examples: training needs train and eval"):
        SplitInput("eval", [pattern], make_tiny(3).tft_output)


# --- rates, optimisers, losses


def test_cosine_with_warmup_by_hand() -> None:
    config = TrainingConfig(epochs=3, schedule="cosine", warmup_epochs=1)
    rate = learning_rate(config, peak=0.8, epochs=3, steps_per_epoch=4)
    # Four steps up to the peak, then half a cosine wave over the other eight.
    by_hand = {0: 0.0, 1: 0.2, 2: 0.4, 4: 0.8, 6: 0.4 * (1 + math.cos(math.pi / 4)), 8: 0.4, 12: 0.0, 20: 0.0}
    for step, expected in by_hand.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_cosine_without_warmup_by_hand() -> None:
    rate = learning_rate(TrainingConfig(schedule="cosine"), peak=0.8, epochs=2, steps_per_epoch=5)
    for step, expected in {0: 0.8, 5: 0.4, 10: 0.0}.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_a_short_stage_still_reaches_its_peak() -> None:
    # Fine-tuning for two epochs with a warm-up of three: the warm-up is cut to one.
    config = TrainingConfig(epochs=5, schedule="cosine", warmup_epochs=3)
    rate = learning_rate(config, peak=0.8, epochs=2, steps_per_epoch=4)
    for step, expected in {0: 0.0, 4: 0.8, 6: 0.4, 8: 0.0}.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_a_constant_rate_is_the_rate() -> None:
    assert learning_rate(TrainingConfig(), peak=0.8, epochs=2, steps_per_epoch=4) == 0.8


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weight_decay_is_decoupled_and_spares_norms_and_biases(name: str, decay: float) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = make_optimizer(TrainingConfig(optimizer=name, weight_decay=decay), 0.1)
    assert isinstance(
        optimizer,
        {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}.get(name, keras.optimizers.AdamW),
    )
    # Without a gradient only the decay acts: 1 - rate * decay.
    optimizer.apply([tf.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    values = {variable.name: variable.numpy() for variable in model.trainable_variables}
    assert set(values) == {"kernel", "bias", "gamma", "beta"}
    np.testing.assert_allclose(values.pop("kernel"), np.full((2, 2), 1 - 0.1 * decay), rtol=1e-6)
    for name_, value in values.items():
        np.testing.assert_array_equal(value, [1.0, 1.0], err_msg=name_)


def test_sgd_has_nesterov_momentum() -> None:
    optimizer = make_optimizer(TrainingConfig(optimizer="sgd"), 0.1)
    variable = keras.Variable([0.0])
    for _ in range(2):
        optimizer.apply([tf.constant([1.0])], [variable])
    # Velocity -0.1, then -0.19; each step adds 0.9 x velocity - 0.1 x gradient: -0.19, then -0.271.
    assert variable.numpy() == pytest.approx([-0.461])


def test_label_smoothing_is_that_of_keras() -> None:
    logits = tf.constant(np.random.default_rng(0).normal(size=(6, 4)), tf.float32)
    labels = tf.constant([0, 1, 2, 3, 3, 0], tf.int64)
    loss = make_loss(TrainingConfig(label_smoothing=0.1))
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert float(tf.reduce_mean(loss(labels, logits))) == pytest.approx(
        float(theirs(tf.one_hot(labels, 4), logits)), rel=1e-6
    )
    # By hand: targets 0.9 and 0.1, log(e^2 + 1) = 2.126928.
    by_hand = 0.9 * (2.126928 - 2) + 0.1 * 2.126928
    smoothed = make_loss(TrainingConfig(label_smoothing=0.2))
    for label in ([0], [[0]]):  # Keras adds an axis to labels
        assert float(smoothed(tf.constant(label), tf.constant([[2.0, 0.0]]))[0]) == pytest.approx(by_hand)


def test_without_smoothing_the_loss_is_plain_cross_entropy() -> None:
    loss = make_loss(TrainingConfig())
    # By hand: the logarithm of 1 + e^-2.
    assert float(loss(tf.constant([0]), tf.constant([[2.0, 0.0]]))) == pytest.approx(0.126928, rel=1e-5)


# --- stages


class Features:
    """A split of given arrays, with what `fit` asks of a SplitInput."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, split: str = "train"):
        self.split = split
        self.num_examples = len(images)
        self._dataset = tf.data.Dataset.from_tensor_slices((images.astype(np.float32), labels))

    def batches(self, size: int) -> tf.data.Dataset:
        return self._dataset.batch(size)

    def training_batches(self, size: int, seed: int, augment: Augment | None = None) -> tf.data.Dataset:
        assert augment is None
        return self._dataset.shuffle(self.num_examples, seed=seed).batch(size).repeat()


def striped(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise [count, 8, 8, 1] with horizontal (0) or vertical (1) stripes on it."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    stripes = np.broadcast_to(np.arange(8) % 2 * 2.0 - 1, (8, 8))
    images = rng.normal(0, 0.3, (count, 8, 8)) + np.where(labels[:, None, None] == 1, stripes, stripes.T)
    return images[..., np.newaxis], labels


def small_network(seed: int = 0) -> keras.Model:
    """A convolution, a batch norm with statistics as if it had been trained, and a linear head."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    backbone = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(6, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ],
        name=BACKBONE,
    )
    backbone.get_layer("norm").moving_mean.assign([0.1] * 6)
    backbone.get_layer("norm").moving_variance.assign([0.5] * 6)
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, linear_head(6, 2, 0.0)(backbone(inputs)))


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy().copy() for variable in model.variables}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {
        "/".join(path.split("/")[-2:]) for path in before if not np.array_equal(before[path], after[path])
    }


@pytest.mark.parametrize("features_in_memory", [True, False])
def test_a_frozen_stage_leaves_the_backbone_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features_in_memory: bool
) -> None:
    if not features_in_memory:
        monkeypatch.setattr(fit_module, "CACHE_MEMORY_SHARE", 0.0)
    model = small_network()
    train, evaluation = Features(*striped(64, 0)), Features(*striped(20, 1), split="eval")
    before = weights_of(model)
    config = TrainingConfig(epochs=2, learning_rate=0.05, global_batch_size=16)
    fit(model, train, evaluation, config, pretrained=True, log_dir=str(tmp_path))
    assert changed(before, weights_of(model)) == {"logits/kernel", "logits/bias"}
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_training_the_head_on_features_is_training_it_on_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []
    for share in (fit_module.CACHE_MEMORY_SHARE, 0.0):
        monkeypatch.setattr(fit_module, "CACHE_MEMORY_SHARE", share)
        model = small_network()
        config = TrainingConfig(epochs=3, learning_rate=0.05, global_batch_size=64, optimizer="sgd")
        train, evaluation = Features(*striped(64, 0)), Features(*striped(20, 1), split="eval")
        fit(model, train, evaluation, config, pretrained=True, log_dir=str(tmp_path))
        heads.append(model.get_layer(HEAD).get_weights())
    # One batch is the whole split, so that the order does not matter.
    for on_features, on_images in zip(*heads, strict=True):
        np.testing.assert_allclose(on_features, on_images, rtol=1e-4, atol=1e-5)


def test_fine_tuning_changes_kernels_and_no_batch_norm_statistics(tmp_path: Path) -> None:
    model = small_network()
    before = weights_of(model)
    config = TrainingConfig(
        epochs=1, fine_tune_epochs=2, learning_rate=0.05, fine_tune_learning_rate=0.01, global_batch_size=16
    )
    train, evaluation = Features(*striped(64, 0)), Features(*striped(20, 1), split="eval")
    fit(model, train, evaluation, config, pretrained=True, log_dir=str(tmp_path))
    assert changed(before, weights_of(model)) == {
        "conv/kernel",
        "conv/bias",
        "logits/kernel",
        "logits/bias",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"head", "fine-tuning"}


def test_random_weights_are_trained_all_together(tmp_path: Path) -> None:
    model = small_network()
    before = weights_of(model)
    train, evaluation = Features(*striped(64, 0)), Features(*striped(20, 1), split="eval")
    config = TrainingConfig(epochs=8, learning_rate=0.05, global_batch_size=16)
    fit(model, train, evaluation, config, pretrained=False, log_dir=str(tmp_path))
    after = changed(before, weights_of(model))
    assert {"conv/kernel", "norm/gamma", "norm/beta", "logits/kernel", "logits/bias"} <= after
    assert {"norm/moving_mean", "norm/moving_variance"} <= after
    # Stripes are easy: half of the answers would be right by chance.
    images, labels = striped(100, 2)
    right = np.argmax(model(tf.constant(images, tf.float32), training=False), axis=1) == labels
    assert right.mean() > 0.9


def eval_losses(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [float(loss) for loss in re.findall(r"eval loss ([\d.]+)", caplog.text)]


# Stops two epochs after the best one; or ends before it would stop.
@pytest.mark.parametrize(("patience", "epochs_run"), [(2, "best + 2"), (50, "all")])
def test_early_stopping_keeps_the_best_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, patience: int, epochs_run: str
) -> None:
    # In eval a quarter of the labels are wrong: the surer the network gets, the worse its loss there.
    images, labels = striped(64, 1)
    labels[:16] = 1 - labels[:16]
    evaluation = Features(images, labels, split="eval")
    model = small_network()
    config = TrainingConfig(epochs=20, patience_epochs=patience, learning_rate=0.005, global_batch_size=8)
    with caplog.at_level(logging.INFO, "mirante.trainer"):
        fit(model, Features(*striped(64, 0)), evaluation, config, pretrained=False, log_dir=str(tmp_path))
    losses = eval_losses(caplog)
    best = min(losses)
    assert 0 < losses.index(best) < len(losses) - 1
    assert losses[-1] > best + 0.01
    assert len(losses) == (losses.index(best) + 1 + 2 if epochs_run == "best + 2" else 20)
    kept = keras.losses.sparse_categorical_crossentropy(
        labels, model(tf.constant(images, tf.float32), training=False), from_logits=True
    )
    assert float(tf.reduce_mean(kept)) == pytest.approx(best, abs=2e-4)


def test_without_patience_the_last_weights_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, labels = striped(64, 1)
    labels[:16] = 1 - labels[:16]
    model = small_network()
    config = TrainingConfig(epochs=12, learning_rate=0.02, global_batch_size=8)
    with caplog.at_level(logging.INFO, "mirante.trainer"):
        fit(
            model,
            Features(*striped(64, 0)),
            Features(images, labels, split="eval"),
            config,
            pretrained=False,
            log_dir=str(tmp_path),
        )
    kept = keras.losses.sparse_categorical_crossentropy(
        labels, model(tf.constant(images, tf.float32), training=False), from_logits=True
    )
    losses = eval_losses(caplog)
    assert len(losses) == 12
    assert float(tf.reduce_mean(kept)) == pytest.approx(losses[-1], abs=2e-4)
    assert losses[-1] > min(losses) + 0.01


# --- the whole, as TFX calls it


@dataclasses.dataclass(frozen=True)
class Trained:
    serving: Path
    run: Path

    def weights(self) -> list[np.ndarray]:
        return keras.models.load_model(self.run / "model.keras").get_weights()


@pytest.fixture(scope="module")
def train(
    tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable[[int], Tiny]
) -> Callable[[int], Trained]:
    """Runs `run_fn` with a seed on the tiny split."""

    def run(seed: int) -> Trained:
        split = make_tiny(3)
        folder = tmp_path_factory.mktemp("trained")
        arguments: Any = SimpleNamespace(
            train_files=[split.pattern],
            eval_files=[split.pattern],
            transform_output=split.tft_output.transform_savedmodel_dir.rpartition("/")[0],
            schema_path=str(write_schema(CLASS_NAMES, folder / "schema")),
            serving_model_dir=str(folder / "serving"),
            model_run_dir=str(folder / "run"),
            custom_config={
                "transform": split.config.model_dump(),
                "model": ModelConfig(name="lenet", dropout=0.3).model_dump(),
                "training": TrainingConfig(epochs=2, global_batch_size=5, seed=seed).model_dump(),
            },
        )
        run_fn(arguments)
        return Trained(folder / "serving", folder / "run")

    return run


def test_the_same_seed_gives_the_same_model(train: Callable[[int], Trained]) -> None:
    first = train(3)
    # Whatever random numbers were drawn in between.
    keras.utils.set_random_seed(99)
    again, other = train(3).weights(), train(4).weights()
    assert len(first.weights()) == 10  # two convolutions and three dense layers, kernel and bias
    assert all(np.array_equal(a, b) for a, b in zip(first.weights(), again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(again, other, strict=True))
    # What is served is what was trained.
    served = tf.saved_model.load(str(first.serving))
    images = tf.constant([encode(noise(index, 20, 20)) for index in range(4)])
    logits = keras.models.load_model(first.run / "model.keras")(served.transform(images))
    probabilities = served.signatures["serving_default"](image_bytes=images)["probabilities"]
    np.testing.assert_allclose(probabilities, tf.nn.softmax(logits), rtol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # the images differ
    assert (first.run / "training").is_dir()
