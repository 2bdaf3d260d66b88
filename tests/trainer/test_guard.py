"""The guard: trainings that learn nothing are stopped with a diagnosis, those that learn are left alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from components.tasks.classification.guard import ClassificationGuard, Guessing
from components.trainer.config import GuardConfig, TrainingConfig
from components.trainer.evidence import Mean, Share
from components.trainer.guard import NotLearningError, Pace
from components.trainer.input.examples import ArrayExamples
from components.trainer.result import StageResult
from tests.guard_trainings import HEALTHY, HEALTHY_DETECTORS, SICK, SICK_DETECTORS, Course, Training
from tests.make.trainings import load_images, make_network, make_striped, train

pytestmark = pytest.mark.stack_free


def refusal(config: TrainingConfig, folder: Path, **given: object) -> str:
    with pytest.raises(NotLearningError) as caught:
        train(make_network(), config, folder, **given)  # type: ignore[arg-type]
    return str(caught.value)


def relabelled(examples: ArrayExamples, labels: np.ndarray) -> ArrayExamples:
    return ArrayExamples(examples.split, load_images(examples).numpy(), labels)


def shuffled(count: int, seed: int, split: str) -> ArrayExamples:
    examples = make_striped(count, seed, split)
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


def test_evidence_by_hand() -> None:
    # Deviations of -2, 0, 2: a standard deviation of 2, of the mean 2 / sqrt(3).
    mean = Mean.of([1.0, 3.0, 5.0])
    assert (mean.value, mean.error) == (3.0, pytest.approx(2 / math.sqrt(3)))
    assert mean.high - mean.value == pytest.approx(3 * mean.error)
    assert Mean.of([1.0, 3.0, 5000.0], largest=5.0) == mean
    assert Mean(1.0, 0.1).is_below(Mean(1.5, 0.1))  # the difference is 3.5 of its errors
    assert not Mean(1.0, 0.1).is_below(Mean(1.4, 0.1))  # 2.8
    # 100 throws of a fair coin: three deviations are 15.
    assert not Share(0.65, 0.5, 100).is_above_chance()
    assert Share(0.66, 0.5, 100).is_above_chance()
    # All six are right: Wilson's bounds are 6 / (6 + 9) and 1.
    six = Share(1.0, 0.5, 6)
    assert (six.least_skill, six.largest_skill) == (pytest.approx(-0.2), pytest.approx(1.0))


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


@pytest.mark.slow
def test_labels_that_are_shuffled(tmp_path: Path) -> None:
    # Too many for so small a network to overfit.
    said = refusal(
        TrainingConfig(epochs=100, global_batch_size=32, guard={"steps": 100}),
        tmp_path,
        train=shuffled(2000, 0, "train"),
        evaluation=shuffled(1000, 1, "eval"),
    )
    assert "guessing for" in said or "that holds for other" in said
    assert "labels have nothing to do with the images" in said


@pytest.mark.slow
def test_a_learning_rate_of_next_to_nothing(tmp_path: Path) -> None:
    said = refusal(
        TrainingConfig(epochs=100, learning_rate=1e-9, global_batch_size=32, guard={"steps": 100}),
        tmp_path,
        train=make_striped(500, 0),
    )
    assert "the weights are those that the training began with" in said or "no better than guessing" in said
    assert "training.learning_rate" in said


def test_dead_units(tmp_path: Path) -> None:
    model = make_network(batch_norm=False)
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
    images = load_images(make_striped(64, 0)).numpy()
    images[:, 0] = np.nan  # one line of eight
    said = refusal(
        TrainingConfig(epochs=2), tmp_path, train=ArrayExamples("train", images, np.arange(64) % 2)
    )
    assert "12.5% of the values of the first images are NaN or infinite" in said


@pytest.mark.slow
def test_all_eval_images_taken_for_one_class(tmp_path: Path) -> None:
    # Eval images without contrast: whatever was learned, they are all the same to the network.
    # Batch norms of momentum 0.99 take 459 steps to follow the weights: 115 epochs of 4.
    evaluation = ArrayExamples("eval", np.zeros((40, 8, 8, 1), np.float32), np.arange(40) % 2)
    said = refusal(
        TrainingConfig(epochs=150, learning_rate=0.02, global_batch_size=16, guard={"steps": 20}),
        tmp_path,
        evaluation=evaluation,
    )
    assert "every one of the 40 eval images has been taken for" in said
    assert "'lying'" in said or "'standing'" in said


COIN = Guessing(math.log(2), np.array([0.5, 0.5]))


def evaluated(accuracy: float, loss: float, predicted: list[int], loss_error: float = 0.0) -> StageResult:
    totals = {"predicted": np.array(predicted)}
    return StageResult(loss, {"accuracy": accuracy}, totals, np.empty(0), {}, loss_error)


def test_overfitting_fails_at_the_end_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    guard = ClassificationGuard(GuardConfig(steps=50), COIN, COIN, ("a", "b"))
    evaluation = evaluated(0.52, 1.0, [240, 160])
    said = (
        "train accuracy is 0.9900, and on the 400 eval images it is 0.5200, where chance gives 0.5000, after"
    )
    for step in range(100, 200, 20):
        guard.epoch(step, {"loss": 0.1, "accuracy": 0.99}, evaluation, 400)
    assert len(caplog.records) == 1
    assert f"guard: {said} 100 steps: the network overfits, it learns the train images" in caplog.text
    with pytest.raises(NotLearningError, match=f"{said} 200 steps: the network overfits, it learns"):
        guard.epoch(200, {"loss": 0.1, "accuracy": 0.99}, evaluation, 400, is_last=True)


def test_images_of_one_class_fail_at_the_end_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    guard = ClassificationGuard(GuardConfig(steps=50), COIN, COIN, ("a", "b"))
    for step in (100, 120):
        guard.epoch(step, {"loss": 0.1, "accuracy": 0.99}, evaluated(0.5, 1.0, [0, 40]), 40)
    assert "guard: every one of the 40 eval images has been taken for 'b' in 2 evaluations" in caplog.text
    with pytest.raises(NotLearningError, match="has been taken for 'b' in 3 evaluations"):
        guard.epoch(140, {"loss": 0.1, "accuracy": 0.99}, evaluated(0.5, 1.0, [0, 40]), 40, is_last=True)


def test_eval_shares_of_their_own_are_no_proof_against_a_plateau() -> None:
    # 85 % of train images are of class a, 30 of 100 eval images: who names a only tells nothing apart.
    of_train, of_eval = (Guessing.on(np.arange(100) >= n, 2, 0.0) for n in (85, 30))
    guard = ClassificationGuard(GuardConfig(steps=50), of_train, of_eval, ("a", "b"))
    for step in (100, 120, 140):
        metrics = {"loss": 0.42, "accuracy": 0.85}
        guard.epoch(step, metrics, evaluated(0.3, 1.0, [100, 0]), 100, is_last=step == 140)


def guessing(guard: ClassificationGuard, steps: range, loss: float = math.log(2)) -> None:
    """Tell a guard of steps of 320 images that are as often right as a coin."""
    rng = np.random.default_rng(0)
    for number in steps:
        metrics = {"accuracy": 0.5 + rng.normal(0, 0.02)}
        guard.step(number, loss * math.exp(rng.normal(0, 0.02)), metrics, 1.0, 320)


@pytest.mark.parametrize("loss", [math.log(2), 1.5 * math.log(2)])
def test_a_plateau_fails_at_the_end_and_not_before(loss: float, caplog: pytest.LogCaptureFixture) -> None:
    guard = ClassificationGuard(GuardConfig(steps=50), COIN, COIN, ("a", "b"), Pace(3000))
    guessing(guard, range(1, 3001), loss)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is not below that of guessing, 0.6931; training continues" in caplog.text
    # Too few eval images to say anything.
    with pytest.raises(NotLearningError, match=r"no better than guessing for \d+ steps \(up to step 3000\)"):
        guard.epoch(3000, {"loss": loss, "accuracy": 0.5}, evaluated(0.5, loss, [6, 4]), 10, is_last=True)


def test_what_has_diverged_is_stopped_after_the_wait() -> None:
    def guard(**pace: bool) -> ClassificationGuard:
        return ClassificationGuard(GuardConfig(steps=52), COIN, COIN, ("a", "b"), Pace(1000, **pace))

    # A fifth of 1,000 steps; from there on it is looked at every 13 steps, and 208 is 16 of them.
    with pytest.raises(NotLearningError, match=r"far worse than guessing for 26 steps \(up to step 208\)"):
        guessing(guard(), range(1, 1001), loss=2)
    # A rate that falls may mend it.
    guessing(guard(rate_falls=True), range(1, 1001), loss=2)
    # It was better before, and is what is exported.
    for keeps_best in (True, False):
        former = guard(keeps_best=keeps_best)
        guessing(former, range(1, 101), loss=0.1)
        former.epoch(100, {"loss": 0.1, "accuracy": 0.9}, evaluated(0.9, 0.1, [50, 50]), 100)
        former.epoch(101, {"loss": 2.0, "accuracy": 0.5}, evaluated(0.5, 2.0, [50, 50]), 100)
        if keeps_best:
            guessing(former, range(102, 1001), loss=2)
        else:
            with pytest.raises(NotLearningError, match="far worse than guessing"):
                guessing(former, range(102, 1001), loss=2)


# Train and eval accuracy, what is taken for which class, and the shares of the classes in eval: all healthy.
@pytest.mark.parametrize(
    ("train", "right", "predicted", "shares"),
    [
        (1.0, 1.0, [3, 3], [0.5, 0.5]),  # six images, all right
        (1.0, 1.0, [34, 6], [0.85, 0.15]),  # forty, unbalanced, all right
        (0.97, 14 / 16, [10, 6], [0.5, 0.5]),
        (0.99, 0.52, [60, 40], [0.5, 0.5]),  # of a hundred, 0.52 may be 0.66: unclear
        (0.98, 0.97, [100, 0], [0.97, 0.03]),  # a rare class that is not yet named
    ],
)
def test_an_eval_split_that_proves_nothing_stops_nothing(
    train: float, right: float, predicted: list[int], shares: list[float]
) -> None:
    eval_loss = float(-(np.array(shares) * np.log(shares)).sum())
    of_eval = Guessing(eval_loss, np.array(shares))
    of_train = of_eval if shares[0] > 0.9 else COIN
    guard = ClassificationGuard(GuardConfig(steps=500), of_train, of_eval, ("a", "b"), Pace(5000), 2000)
    for step in range(500, 5001, 100):
        metrics = {"loss": 0.1, "accuracy": train}
        guard.epoch(
            step, metrics, evaluated(right, 0.6, predicted, 0.2), sum(predicted), is_last=step == 5000
        )


def test_an_eval_loss_that_is_no_number() -> None:
    guard = ClassificationGuard(GuardConfig(steps=None), COIN, COIN, ("a", "b"))
    guard.epoch(1, {"loss": 0.1, "accuracy": 1.0}, evaluated(0.5, math.nan, [8, 8]), 16)
    guard.epoch(2, {"loss": 0.1, "accuracy": 1.0}, evaluated(0.5, 0.6, [8, 8]), 16)
    guard.epoch(3, {"loss": 0.1, "accuracy": 1.0}, evaluated(0.5, math.inf, [8, 8]), 16)
    with pytest.raises(NotLearningError, match="eval loss is nan in 2 evaluations"):
        guard.epoch(4, {"loss": 0.1, "accuracy": 1.0}, evaluated(0.5, math.nan, [8, 8]), 16)


def test_gradients_may_be_0_when_all_is_learned() -> None:
    guard = ClassificationGuard(GuardConfig(), COIN, COIN, ("a", "b"))
    for number in range(1, 100):
        guard.step(number, 0.0, {"accuracy": 1.0}, 0.0, 32)


@pytest.mark.slow
def test_a_training_that_learns_is_left_alone_and_weights_that_stay_are_not(tmp_path: Path) -> None:
    model = make_network()
    learning = TrainingConfig(epochs=40, learning_rate=0.02, global_batch_size=8, guard={"steps": 20})
    course = train(model, learning, tmp_path / "before")
    assert course.epochs("eval_accuracy")[-1] > 0.9
    # The network starts better than guessing, so that the loss alone is no proof.
    config = TrainingConfig(
        epochs=5, learning_rate=1e-9, optimizer="sgd", global_batch_size=8, guard={"steps": 20}
    )
    with pytest.raises(NotLearningError, match="the weights are those that the training began with: after"):
        train(model, config, tmp_path)


def test_a_late_start_is_left_alone() -> None:
    # Nothing for 40 steps, then it learns; and with a warm-up of 100 steps, nothing for 140.
    for warmup in (0, 100):
        guard = ClassificationGuard(GuardConfig(steps=50), COIN, COIN, ("a", "b"), Pace(300, warmup))
        for number in range(1, 300):
            share = min(1.0, max(0.0, (number - warmup - 40) / 50))
            guard.step(number, math.log(2) * (1 - 0.5 * share), {"accuracy": 0.5 + 0.4 * share}, 1.0, 32)


def by_length(trainings: Mapping[str, Training | Course]) -> list[object]:
    """Names of trainings, the long ones among the slow tests."""
    marks = {
        name: [pytest.mark.slow] if training.steps > 1200 else [] for name, training in trainings.items()
    }
    return [pytest.param(name, marks=marks[name]) for name in trainings]


@pytest.mark.parametrize("name", by_length(HEALTHY | HEALTHY_DETECTORS))
def test_a_healthy_training_is_not_stopped(name: str) -> None:
    assert (HEALTHY | HEALTHY_DETECTORS)[name].run(0) is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", by_length(SICK | SICK_DETECTORS))
def test_a_sick_training_is_stopped(name: str) -> None:
    assert (SICK | SICK_DETECTORS)[name].run(0) is not None
