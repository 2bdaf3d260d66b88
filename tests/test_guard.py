"""The guard: trainings that learn nothing are stopped with a diagnosis, those that learn are left alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from components.config import GuardConfig, TrainingConfig
from components.trainer.guard import ClassificationGuard, Guessing, NotLearningError
from components.trainer.input import ArrayExamples
from components.trainer.task import Evaluation
from tests.training import images_of, small_network, striped, train


def refusal(config: TrainingConfig, folder: Path, **given: object) -> str:
    with pytest.raises(NotLearningError) as caught:
        train(small_network(), config, folder, **given)  # type: ignore[arg-type]
    return str(caught.value)


def relabelled(examples: ArrayExamples, labels: np.ndarray) -> ArrayExamples:
    return ArrayExamples(examples.split, images_of(examples).numpy(), labels)


def shuffled(count: int, seed: int, split: str) -> ArrayExamples:
    examples = striped(count, seed, split)
    return relabelled(examples, np.random.default_rng(seed + 100).permutation(examples.labels))


def test_guessing_by_hand() -> None:
    # Three of four are of class 0: entropy of (3/4, 1/4).
    labels = np.array([0, 0, 0, 1])
    guessing = Guessing.on(labels, 2, 0.0)
    assert guessing.loss == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert guessing.accuracy == 0.75
    # Smoothed by 0.2: (0.75 * 0.8 + 0.1, 0.25 * 0.8 + 0.1).
    assert Guessing.on(labels, 2, 0.2).loss == pytest.approx(-(0.7 * math.log(0.7) + 0.3 * math.log(0.3)))
    # A class that does not occur takes part in no guess.
    assert Guessing.on(labels, 3, 0.0).loss == pytest.approx(guessing.loss)
    # 100 throws of a fair coin: three deviations are 15.
    coin = Guessing(math.log(2), 0.5)
    assert coin.is_no_better(0.65, 100)
    assert not coin.is_no_better(0.66, 100)


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    config = TrainingConfig(optimizer="sgd", learning_rate=1e30, epochs=3, global_batch_size=8)
    said = refusal(config, tmp_path)
    assert "loss is nan at step" in said or "loss is inf at step" in said
    assert "training.learning_rate is too high" in said


def test_numbers_are_looked_at_even_when_the_guard_is_off(tmp_path: Path) -> None:
    config = TrainingConfig(
        optimizer="sgd", learning_rate=1e30, epochs=3, global_batch_size=8, guard={"steps": None}
    )
    assert "loss is" in refusal(config, tmp_path)


def test_labels_that_are_shuffled(tmp_path: Path) -> None:
    # Too many to be learned by heart by so small a network.
    said = refusal(
        TrainingConfig(epochs=100, global_batch_size=32, guard={"steps": 100}),
        tmp_path,
        train=shuffled(2000, 0, "train"),
        evaluation=shuffled(100, 1, "eval"),
    )
    assert said.startswith("no better than guessing for 100 steps (up to step ")
    assert "always guessing gives 0.69" in said
    assert "labels have nothing to do with the images" in said


def test_a_learning_rate_of_next_to_nothing(tmp_path: Path) -> None:
    said = refusal(
        TrainingConfig(epochs=100, learning_rate=1e-9, global_batch_size=32, guard={"steps": 100}),
        tmp_path,
        train=striped(500, 0),
    )
    # A network of random weights may be right more often than not.
    assert "loss does not move" in said or "no better than guessing" in said
    assert "training.learning_rate" in said


def test_dead_units(tmp_path: Path) -> None:
    model = small_network(batch_norm=False)
    convolution = model.get_layer("backbone").get_layer("conv")
    convolution.bias.assign([-1e6] * 6)  # no ReLU is ever reached
    head = model.get_layer("head")
    head.trainable = False
    with pytest.raises(NotLearningError, match=r"all gradients have been 0 for 20 steps \(step 20, loss"):
        train(model, TrainingConfig(epochs=10, global_batch_size=8), tmp_path)


def test_images_that_are_all_alike(tmp_path: Path) -> None:
    blank = ArrayExamples("train", np.full((64, 8, 8, 1), 0.25, np.float32), np.arange(64) % 2)
    said = refusal(TrainingConfig(epochs=2), tmp_path, train=blank)
    assert "the first 32 images are all alike after Transform" in said
    assert "0.25 to 0.25" in said


def test_pixels_that_are_no_numbers(tmp_path: Path) -> None:
    images = images_of(striped(64, 0)).numpy()
    images[:, 0] = np.nan  # one line of eight
    said = refusal(
        TrainingConfig(epochs=2), tmp_path, train=ArrayExamples("train", images, np.arange(64) % 2)
    )
    assert "12.5% of the values of the first images are NaN or infinite" in said


def test_all_eval_images_taken_for_one_class(tmp_path: Path) -> None:
    # Eval images without contrast: whatever was learned, they are all the same to the network.
    evaluation = ArrayExamples("eval", np.zeros((40, 8, 8, 1), np.float32), np.arange(40) % 2)
    said = refusal(
        TrainingConfig(epochs=50, global_batch_size=16, guard={"steps": 20}),
        tmp_path,
        evaluation=evaluation,
    )
    assert "every one of the 40 eval images has been taken for" in said
    assert "'lying'" in said or "'standing'" in said


def test_what_is_learned_by_heart_and_holds_for_nothing_else() -> None:
    coin = Guessing(math.log(2), 0.5)
    guard = ClassificationGuard(GuardConfig(steps=50), coin, coin, ("a", "b"))
    nothing = np.empty(0)
    evaluation = Evaluation(1.0, {"accuracy": 0.52}, {"predicted": np.array([60, 40])}, nothing, {})
    guard.epoch(100, {"accuracy": 0.99}, evaluation, 100)
    with pytest.raises(
        NotLearningError, match=r"train accuracy is 0.9900, and on the 100 eval images it is 0.5"
    ):
        guard.epoch(110, {"accuracy": 0.99}, evaluation, 100)


def test_a_training_that_learns_is_left_alone(tmp_path: Path) -> None:
    course = train(
        small_network(),
        TrainingConfig(epochs=40, learning_rate=0.02, global_batch_size=8, guard={"steps": 20}),
        tmp_path,
    )
    assert course.epochs("eval_accuracy")[-1] > 0.9


def test_a_late_start_is_left_alone() -> None:
    # As with a warm-up: nothing for 40 steps, then it learns.
    coin = Guessing(math.log(2), 0.5)
    guard = ClassificationGuard(GuardConfig(steps=50), coin, coin, ("a", "b"))
    for number in range(1, 200):
        share = min(1.0, max(0.0, (number - 40) / 50))
        guard.step(number, math.log(2) * (1 - 0.5 * share), {"accuracy": 0.5 + 0.4 * share}, 1.0, 32)
