"""Classes of different size: weights of the loss, balanced sampling, and what a guard makes of both."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from components.base.errors import UsageError
from components.base.outcome import Output
from components.tasks.classification.trainer import Classification
from components.trainer import loop
from components.trainer.class_balance import REPORT, class_weights, report, weigh
from components.trainer.config import TrainingConfig
from components.trainer.input.batches import chunks
from components.trainer.input.examples import ArrayExamples
from components.trainer.input.order import balanced_order, make_order
from components.trainer.optimizers.make import make_optimizer
from components.trainer.step import build_evaluate, build_step
from components.trainer.strategy import Place
from pipeline.pages import make_page
from tests.make.trainings import CLASSES, make_network, make_striped, train

BALANCED = TrainingConfig(class_weights="balanced")
# 40 lying, 4 standing.
UNEVEN = np.repeat([0, 1], [40, 4])


def uneven_stripes(seed: int = 0) -> ArrayExamples:
    """Stripes with labels as in UNEVEN, shuffled."""
    many = make_striped(200, seed)
    rows = np.concatenate([np.flatnonzero(many.labels == 0)[:40], np.flatnonzero(many.labels == 1)[:4]])
    rows = np.random.default_rng(seed).permutation(rows)
    images, labels = many.load(tf.constant(rows))
    return ArrayExamples("train", images.numpy(), labels.numpy())


# --- weights


def test_balanced_weights_by_hand() -> None:
    # 44 images of 2 classes: 44 / (2 x 40) and 44 / (2 x 4).
    assert class_weights(BALANCED, CLASSES, UNEVEN).tolist() == [0.55, 5.5]  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(20))
def test_balanced_weights_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 12))
    labels = rng.choice(classes, int(rng.integers(30, 3000)), p=rng.dirichlet(np.ones(classes)))
    weights = class_weights(BALANCED, [str(number) for number in range(classes)], labels)
    there = np.unique(labels)
    assert weights is not None
    np.testing.assert_allclose(
        weights[there], compute_class_weight("balanced", classes=there, y=labels), rtol=1e-15
    )
    # The mean weight of an image is 1: the learning rate means what it did.
    assert weights[labels].mean() == pytest.approx(1.0, abs=1e-12)


def test_weights_by_name() -> None:
    config = TrainingConfig(class_weights={"standing": 3})
    assert class_weights(config, CLASSES, UNEVEN).tolist() == [1.0, 3.0]  # type: ignore[union-attr]
    assert class_weights(TrainingConfig(), CLASSES, UNEVEN) is None


def test_a_class_that_the_data_lack_is_refused() -> None:
    config = TrainingConfig(class_weights={"standin": 3})
    said = r"training\.class_weights: the data have no class 'standin': did you mean 'standing'\? Known here"
    with pytest.raises(UsageError, match=said):
        config.check_classes(CLASSES)
    with pytest.raises(UsageError, match=said):
        class_weights(config, CLASSES, UNEVEN)
    BALANCED.check_classes(CLASSES)


def test_a_mixed_image_has_the_mean_weight_of_its_parts() -> None:
    weights = np.array([0.55, 5.5])
    assert weigh(tf.constant([1, 0]), weights).numpy().tolist() == pytest.approx([5.5, 0.55])
    mixed = tf.constant([[0.25, 0.75], [1.0, 0.0]])
    assert weigh(mixed, weights).numpy().tolist() == pytest.approx([0.25 * 0.55 + 0.75 * 5.5, 0.55])


@pytest.mark.slow
@pytest.mark.both_stacks
def test_a_step_is_that_of_keras_with_these_class_weights() -> None:
    config = TrainingConfig(
        class_weights="balanced",
        optimizer="sgd",
        learning_rate=0.5,
        label_smoothing=0.1,
        global_batch_size=44,
    )
    examples = uneven_stripes()
    batch = examples.load(tf.range(44))
    model = make_network(batch_norm=False)
    optimizer = make_optimizer(config, config.learning_rate)
    optimizer.build(model.trainable_variables)
    counter = tf.Variable(0, dtype=tf.int64)
    place = Place(tf.distribute.get_strategy())
    trainee = Classification(CLASSES, config)
    result = build_step(model, trainee, examples, config, place, optimizer, counter)(batch)

    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = make_network(batch_norm=False)
    expected.compile(
        keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True),
        plain,
    )
    loss = expected.train_on_batch(batch[0], tf.one_hot(batch[1], 2), class_weight={0: 0.55, 1: 5.5})
    assert float(result["loss"]) == pytest.approx(float(loss), rel=1e-5)
    for mine, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    # An evaluation has the plain loss.
    evaluated = build_evaluate(model, trainee, examples, config, place)()
    assert evaluated.loss == pytest.approx(float(plain(tf.one_hot(batch[1], 2), model(batch[0]))), rel=1e-5)


# --- sampling


def test_every_class_equally_often_and_every_image_in_its_turn() -> None:
    labels = np.repeat([3, 0, 7], [50, 7, 1])  # 58 images of 3 classes
    order = balanced_order(labels, seed=5)
    epochs = [order(epoch) for epoch in range(6)]
    for rows in epochs:
        assert len(rows) == 58
        assert sorted(Counter(labels[rows].tolist()).values()) == [19, 19, 20]
    # After 3 epochs, 174 images, no class has had one more than another; each of its images had its turn.
    drawn = np.bincount(np.concatenate(epochs[:3]), minlength=58)
    assert {label: int(drawn[labels == label].sum()) for label in (3, 0, 7)} == {3: 58, 0: 58, 7: 58}
    assert set(drawn[labels == 3]) == {1, 2}
    assert set(drawn[labels == 0]) == {8, 9}
    assert drawn[labels == 7] == [58]
    assert not np.array_equal(epochs[0], epochs[3])


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    order, again = balanced_order(UNEVEN, seed=1), balanced_order(UNEVEN, seed=1)
    later = [again(epoch) for epoch in (4, 2, 0)]  # in any order, as a resumed training asks
    for rows, epoch in zip(later, (4, 2, 0), strict=True):
        np.testing.assert_array_equal(rows, order(epoch))
    assert not np.array_equal(order(0), balanced_order(UNEVEN, seed=2)(0))


@pytest.mark.parametrize("first_step", [0, 1, 3, 11])
def test_any_step_can_be_had_at_once_and_workers_share_it(first_step: int) -> None:
    def steps(first: int, count: int, replicas: int = 1, worker: int = 0) -> list[list[int]]:
        place = Place(None, replicas, worker, replicas)  # type: ignore[arg-type]
        dealt = chunks(balanced_order(UNEVEN, seed=1), 44, 16, first, place)
        return [rows.tolist() for _, rows in itertools.islice(dealt, count)]

    whole = steps(0, first_step + 3)
    assert steps(first_step, 3) == whole[first_step:]
    halves = [steps(first_step, 3, 2, worker) for worker in (0, 1)]
    assert [one + other for one, other in zip(*halves, strict=True)] == whole[first_step:]


def test_without_sampling_the_order_is_what_it_was() -> None:
    place = Place(None)  # type: ignore[arg-type]
    expected = np.random.default_rng([7, 0]).permutation(44)[:16]
    order = make_order(TrainingConfig(seed=7), uneven_stripes())
    np.testing.assert_array_equal(next(chunks(order, 44, 16, 0, place))[1], expected)


# --- a training


@pytest.mark.slow
def test_a_stopped_training_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(
        sampling="balanced",
        epochs=3,
        global_batch_size=12,
        learning_rate=0.01,
        checkpoints={"steps": 2, "min_secs": 0},
    )

    def outcome(folder: Path) -> tuple[Any, list[float]]:
        model = make_network(dropout=0.3)
        course = train(model, config, folder, train=uneven_stripes())
        return model.get_weights(), course.epochs("loss")

    undisturbed, losses = outcome(tmp_path / "undisturbed")
    build = loop.build_step

    def stopping(*given: Any) -> Any:
        step, calls = build(*given), itertools.count(1)

        def stop(batch: Any) -> Any:
            if next(calls) == 6:  # in the second epoch of 44 images, by 12
                raise KeyboardInterrupt
            return step(batch)

        return stop

    monkeypatch.setattr(loop, "build_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        outcome(tmp_path / "stopped")
    monkeypatch.setattr(loop, "build_step", build)
    weights, rest = outcome(tmp_path / "stopped")
    assert rest == losses[1:]
    for one, other in zip(weights, undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_guard_compares_with_the_best_guess_of_this_loss() -> None:
    def guess(**settings: Any) -> float:
        trainee = Classification(CLASSES, TrainingConfig(**settings))
        return trainee.guard(TrainingConfig().guard, UNEVEN, UNEVEN)._guessing_loss

    plain = -(40 * math.log(40 / 44) + 4 * math.log(4 / 44)) / 44
    assert guess() == pytest.approx(plain)
    # One half for each class, whether they are weighted or drawn equally often.
    assert guess(class_weights="balanced") == pytest.approx(math.log(2))
    assert guess(sampling="balanced") == pytest.approx(math.log(2))
    # Three times the loss of each class is three times the loss.
    assert guess(class_weights={"lying": 3, "standing": 3}) == pytest.approx(3 * plain)


def test_the_report_has_a_line_for_each_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = uneven_stripes()
    with caplog.at_level("INFO", "mirante.trainer"):
        report(BALANCED, CLASSES, examples, str(tmp_path))
        assert (tmp_path / REPORT).read_text().splitlines() == [
            "Class weights: the training loss of an image is multiplied by the weight of its class.",
            "lying: 40 train images, weight 0.55",
            "standing: 4 train images, weight 5.5",
        ]
        assert "smallest class standing: 4 train images, weight 5.5; largest class lying: 40" in caplog.text
        report(TrainingConfig(sampling="balanced"), CLASSES, examples, str(tmp_path))
    assert (tmp_path / REPORT).read_text().splitlines() == [
        "Balanced sampling: an epoch has 44 images, 22 of each class.",
        "lying: 40 train images, each 0.55 times per epoch",
        "standing: 4 train images, each 5.5 times per epoch",
    ]
    page = make_page("Trainer", {"model_run": Output(str(tmp_path), {})}, "classification", CLASSES)
    for line in (
        "an epoch has 44 images, 22 of each class.",
        "standing: 4 train images, each 5.5 times per epoch",
    ):
        assert line in page.html
    report(TrainingConfig(), CLASSES, examples, str(tmp_path / "plain"))
    assert not (tmp_path / "plain").exists()
