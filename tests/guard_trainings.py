"""Trainings that the guard has to tell apart, in NumPy alone: a hidden layer, thousands of steps a second.

Each is a function of a seed; the guard hears what the Trainer tells it. `HEALTHY` must be left
alone, `SICK` must be stopped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from components.tasks.classification.guard import ClassificationGuard, Guessing
from components.tasks.detection.guard import DetectionGuard
from components.trainer.config import GuardConfig
from components.trainer.guard import Guard, NotLearningError, Pace
from components.trainer.result import StageResult

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Training:
    """One training of a hidden layer on clouds of points, one of each class.

    Attributes:
        classes: How many.
        train: Points to learn from.
        evaluation: Points that steer.
        distance: Of the clouds' middles; 4 is easy, 0.5 hard, 0 cannot be learned.
        shares: Of the classes; even when None.
        eval_shares: Likewise; those of train when None.
        noise: Share of labels that are drawn anew.
        steps: Of the training.
        batch: Points a step.
        rate: Learning rate of Adam.
        sgd: Plain gradient descent instead of Adam.
        warmup: Steps in which the rate rises.
        cosine: Whether the rate falls to 0 in the end.
        parity: Label by the parity of this many signs, a problem that begins with a plateau.
        start: Steps of a training before, by the usual rate, whose weights are taken.
        smoothing: Of labels.
        shuffled: Which labels have nothing to do with the points: `train`, `eval` or `both`.
        inputs: What points are multiplied by.
        eval_inputs: What those of eval are multiplied by, besides.
        bias: First bias of all hidden units; -1e6 is a dead layer.
        frozen: Parameters that stay: none have gradients but those of the rest.
        dropout: Share of hidden units.
        settle: Steps until evaluations count; before, they are by the first weights.
        dies_at: A step at which all hidden units die.
        first_step: The guard sees none before.
        guard_steps: `training.guard.steps`.
    """

    classes: int = 2
    train: int = 2000
    evaluation: int = 400
    distance: float = 3.0
    shares: tuple[float, ...] | None = None
    eval_shares: tuple[float, ...] | None = None
    noise: float = 0.0
    steps: int = 1500
    batch: int = 32
    rate: float = 1e-3
    sgd: bool = False
    warmup: int = 0
    cosine: bool = False
    parity: int = 0
    start: int = 0
    smoothing: float = 0.0
    shuffled: str = ""
    inputs: float = 1.0
    eval_inputs: float = 1.0
    bias: float = 0.0
    frozen: bool = False
    dropout: float = 0.0
    settle: int = 0
    dies_at: int = 0
    first_step: int = 1
    guard_steps: int = 500

    def run(self, seed: int) -> str | None:
        """Train; return what the guard says when it stops it, None when it does not."""
        rng = np.random.default_rng(seed)
        middles = rng.normal(size=(self.classes, _INPUTS))
        middles *= self.distance / np.linalg.norm(middles, axis=1, keepdims=True) / math.sqrt(2)
        points, labels = self._draw(rng, middles, self.train, self.shares, "train")
        eval_points, eval_labels = self._draw(
            rng, middles, self.evaluation, self.eval_shares or self.shares, "eval"
        )
        eval_points = eval_points * self.eval_inputs
        net = _Net(rng, self.classes, self.bias)
        usual = dataclasses.replace(self, rate=1e-3, sgd=False, warmup=0, cosine=False)
        for step in range(1, self.start + 1):
            rows = rng.integers(0, self.train, self.batch)
            net.step(points[rows], labels[rows], usual, step)
        net.forget_momenta()
        guard = ClassificationGuard(
            GuardConfig(steps=self.guard_steps),
            Guessing.on(labels, self.classes, self.smoothing),
            Guessing.on(eval_labels, self.classes, self.smoothing),
            [str(label) for label in range(self.classes)],
            Pace(self.steps, self.warmup, self.settle, rate_falls=self.cosine),
            self.train,
        )
        try:
            self._train(rng, net, guard, (points, labels), (eval_points, eval_labels))
        except NotLearningError as e:
            return str(e)
        return None

    def _draw(
        self,
        rng: np.random.Generator,
        middles: Array,
        count: int,
        shares: tuple[float, ...] | None,
        split: str,
    ) -> tuple[Array, Array]:
        labels = rng.choice(self.classes, count, p=shares)
        if self.parity:
            points = rng.normal(size=(count, _INPUTS))
            labels = (np.sign(points[:, : self.parity]).prod(axis=1) > 0).astype(int)
        else:
            points = rng.normal(size=(count, _INPUTS)) + middles[labels]
        wrong = rng.random(count) < self.noise
        labels[wrong] = rng.integers(0, self.classes, wrong.sum())
        if self.shuffled in (split, "both"):
            labels = rng.permutation(labels)
        return points * self.inputs, labels

    def _train(
        self,
        rng: np.random.Generator,
        net: _Net,
        guard: Guard,
        train: tuple[Array, Array],
        evaluation: tuple[Array, Array],
    ) -> None:
        points, labels = train
        batch = min(self.batch, self.train)
        first, began = net.copy(), net.values()
        order, epoch = np.empty(0, int), 0
        told: list[Mapping[str, float]] = []
        guard.check_inputs(points[: self.batch])
        for step in range(1, self.steps + 1):
            while len(order) < batch:
                order = np.concatenate([order, rng.permutation(self.train)])
            rows, order = order[:batch], order[batch:]
            if step == self.dies_at:
                net.parts["b1"] -= 1e6
            result = net.step(points[rows], labels[rows], self, step, rng)
            told.append(result)
            if step >= self.first_step:
                guard.step(step, result["loss"], {"accuracy": result["accuracy"]}, result["norm"], batch)
            if step * batch >= (epoch + 1) * self.train or step == self.steps:
                epoch = step * batch // self.train
                mean = {key: float(np.mean([one[key] for one in told])) for key in ("loss", "accuracy")}
                seen = first if step < self.settle else net
                if step >= self.first_step:
                    guard.epoch(
                        step,
                        mean,
                        seen.evaluate(*evaluation, self.smoothing),
                        len(evaluation[1]),
                        change=float(np.linalg.norm(net.values() - began) / np.linalg.norm(began)),
                        is_last=step == self.steps,
                    )
                told = []


_INPUTS, _HIDDEN = 16, 32


class _Net:
    """Points [N, 16] to logits [N, classes] by 32 ReLUs; `parts` are views into one array of all values."""

    def __init__(self, rng: np.random.Generator, classes: int, bias: float):
        parts = {
            "w1": rng.normal(size=(_INPUTS, _HIDDEN)) * math.sqrt(2 / _INPUTS),
            "b1": np.full(_HIDDEN, bias),
            "w2": rng.normal(size=(_HIDDEN, classes)) * math.sqrt(1 / _HIDDEN),
            "b2": np.zeros(classes),
        }
        self._shapes = {name: value.shape for name, value in parts.items()}
        self._take(np.concatenate([value.ravel() for value in parts.values()]))
        self.forget_momenta()

    def _take(self, flat: Array) -> None:
        self._flat = flat
        ends = np.cumsum([math.prod(shape) for shape in self._shapes.values()])
        self.parts = {
            name: part.reshape(shape)
            for (name, shape), part in zip(self._shapes.items(), np.split(flat, ends[:-1]), strict=True)
        }

    def forget_momenta(self) -> None:
        self._steps = 0
        self._momenta = np.zeros_like(self._flat), np.zeros_like(self._flat)

    def copy(self) -> _Net:
        net = _Net.__new__(_Net)
        net._shapes = self._shapes
        net._take(self._flat.copy())
        return net

    def values(self) -> Array:
        return self._flat.copy()

    def _forward(self, points: Array) -> tuple[Array, Array]:
        hidden = np.maximum(points @ self.parts["w1"] + self.parts["b1"], 0)
        return hidden, hidden @ self.parts["w2"] + self.parts["b2"]

    def step(
        self,
        points: Array,
        labels: Array,
        training: Training,
        number: int,
        rng: np.random.Generator | None = None,
    ) -> dict[str, float]:
        """Do one step; return `loss`, `accuracy` and `norm` before it."""
        parts = self.parts
        hidden = np.maximum(points @ parts["w1"] + parts["b1"], 0)
        if training.dropout and rng is not None:
            hidden = hidden * (rng.random(hidden.shape) >= training.dropout) / (1 - training.dropout)
        logits = hidden @ parts["w2"] + parts["b2"]
        losses, error = _cross_entropy(logits, labels, training.smoothing)
        error /= len(labels)
        behind = (error @ parts["w2"].T) * (hidden > 0)
        gradients = (points.T @ behind, behind.sum(axis=0), hidden.T @ error, error.sum(axis=0))
        gradient = np.concatenate([part.ravel() for part in gradients])
        if training.frozen:
            gradient = np.zeros_like(gradient)
        rate = training.rate * min(1.0, number / training.warmup if training.warmup else 1.0)
        if training.cosine:
            rate *= 0.5 * (1 + math.cos(math.pi * number / training.steps))
        self._steps += 1
        squares = gradient**2
        change = gradient
        if not training.sgd:
            one, two = self._momenta
            one += 0.1 * (gradient - one)
            two += 0.001 * (squares - two)
            change = (one / (1 - 0.9**self._steps)) / (np.sqrt(two / (1 - 0.999**self._steps)) + 1e-7)
        self._flat[:] = (self._flat - rate * change).astype(np.float32)
        accuracy = float((logits.argmax(axis=1) == labels).mean())
        return {"loss": float(losses.mean()), "accuracy": accuracy, "norm": math.sqrt(squares.sum())}

    def evaluate(self, points: Array, labels: Array, smoothing: float) -> StageResult:
        _, logits = self._forward(points)
        losses, _ = _cross_entropy(logits, labels, smoothing)
        given = logits.argmax(axis=1)
        return StageResult(
            float(losses.mean()),
            {"accuracy": float((given == labels).mean())},
            {"predicted": np.bincount(given, minlength=logits.shape[1])},
            np.arange(len(labels)),
            {},
            float(losses.std() / math.sqrt(max(1, len(labels) - 1))),
        )


def _cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """Return losses [N] and their gradients by the logits."""
    rows, classes = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    shifted -= np.log(sums)
    powers /= sums
    losses = -(1 - smoothing) * shifted[np.arange(rows), labels]
    powers[np.arange(rows), labels] -= 1 - smoothing
    if smoothing:
        losses -= smoothing * shifted.mean(axis=1)
        powers -= smoothing / classes
    return losses, powers


_RARE, _UNEVEN = (0.97, 0.03), (0.85, 0.15)
_LONG_TAIL = tuple((0.7**n / sum(0.7**m for m in range(20))) for n in range(20))

HEALTHY: dict[str, Training] = {
    "two classes": Training(),
    "ten classes": Training(classes=10),
    "100 classes": Training(classes=100, train=4000, distance=6),
    "300 classes of ten": Training(classes=300, train=3000, distance=8, steps=1200),
    "85 to 15 %": Training(shares=_UNEVEN),
    "97 to 3 %, hard": Training(shares=_RARE, distance=1.8, train=3000),
    "97 to 3 %, eval of 30": Training(shares=_RARE, distance=2, evaluation=30),
    "99 to 1 %": Training(shares=(0.99, 0.01), train=5000, distance=2),
    "20 classes, long tail": Training(classes=20, shares=_LONG_TAIL, train=3000, distance=4),
    "200 images, eval of 6": Training(train=200, evaluation=6, steps=1000),
    "85 to 15 %, eval of 40": Training(train=400, shares=_UNEVEN, evaluation=40),
    "74 to 26 %, eval of 16": Training(
        train=3000, shares=(0.74, 0.26), eval_shares=(0.5, 0.5), evaluation=16
    ),
    "20 images, eval of 4": Training(train=20, evaluation=4, batch=8, steps=2000),
    "eval of 1": Training(evaluation=1),
    "eval of one class": Training(eval_shares=(1.0, 0.0), evaluation=50),
    "other shares in eval": Training(shares=_UNEVEN, eval_shares=(0.3, 0.7)),
    "30 % of labels wrong": Training(noise=0.6, train=4000),
    "30 % wrong, warm start at the ceiling": Training(noise=0.6, train=4000, start=3000),
    "40 % of labels wrong": Training(noise=0.8, train=8000, evaluation=1000, steps=2500),
    "warm start at the ceiling": Training(start=3000),
    "warm start, small rate": Training(start=3000, rate=1e-5),
    "warm start, gradient descent by a small rate": Training(start=3000, rate=1e-3, sgd=True),
    "hard: 69 % can be had": Training(distance=1.0, train=4000),
    "hard: 60 % can be had": Training(distance=0.5, train=20000, evaluation=2000, steps=3000),
    "overfits, 69 % for others": Training(distance=1.0, train=150, evaluation=300, steps=4000),
    "overfits, eval of 20": Training(distance=0.8, train=60, evaluation=20, steps=4000),
    "slow rate": Training(rate=2e-5, steps=4000),
    "gradient descent, slow": Training(sgd=True, rate=2e-3, steps=4000, classes=10),
    "plateau: parity of 2": Training(parity=2, train=8000, steps=5000, rate=3e-3),
    "plateau: parity of 3": Training(parity=3, train=20000, steps=12000, rate=3e-3),
    "plateau of a third and more: parity of 3": Training(parity=3, train=20000, steps=9000, rate=2e-3),
    "plateau, train images learned first: parity of 3": Training(
        parity=3, train=2000, steps=6000, rate=3e-3, evaluation=1000
    ),
    "warm-up of 600 steps": Training(warmup=600, steps=3000),
    "batches of 1": Training(batch=1, steps=3000),
    "batches of 512": Training(batch=512, train=4000, steps=600),
    "labels smoothed": Training(smoothing=0.2, classes=10),
    "dropout of 0.7": Training(dropout=0.7, classes=5),
    "cosine from a high rate": Training(cosine=True, rate=0.1, steps=3000, classes=5),
    "cosine from a rate of 0.5": Training(cosine=True, rate=0.5, steps=3000, classes=5),
    "all learned, gradients of 0": Training(distance=60, steps=3000, rate=1e-2),
    "pixels times 20": Training(inputs=20.0, steps=3000),
    "evaluations by old statistics": Training(settle=1200, steps=3000),
    "continued at step 700": Training(first_step=700, steps=2500),
    "guard.steps of 100": Training(guard_steps=100, steps=600, classes=5),
}

SICK: dict[str, Training] = {
    "rate too high": Training(rate=1e30, sgd=True),
    "rate too high, no NaN": Training(rate=30.0, classes=10),
    "rate of nothing": Training(rate=1e-12),
    "rate of nothing, warm start": Training(rate=1e-12, start=3000),
    "rate far too low": Training(rate=1e-7, classes=10, steps=3000),
    "dead units": Training(bias=-1e6),
    "all frozen": Training(frozen=True),
    "units die at step 2,000": Training(dies_at=2000, steps=5000),
    "labels shuffled": Training(shuffled="both", train=20000, evaluation=4000, steps=5000),
    "labels shuffled, ten classes": Training(
        shuffled="both", classes=10, train=20000, evaluation=4000, steps=5000
    ),
    "labels shuffled, 100 classes": Training(
        shuffled="both", classes=100, train=20000, evaluation=4000, steps=5000
    ),
    "labels shuffled, 85 to 15 %": Training(
        shuffled="both", shares=_UNEVEN, train=30000, evaluation=4000, steps=8000
    ),
    "labels shuffled, overfits": Training(shuffled="both", train=150, evaluation=4000, steps=6000, rate=3e-3),
    "eval labels of another order": Training(shuffled="eval", evaluation=4000),
    "nothing to see": Training(distance=0.0, train=20000, evaluation=4000, steps=5000),
    "pixels times a millionth": Training(inputs=1e-6, steps=3000),
    "eval images black": Training(eval_inputs=0.0),
    "images all alike": Training(inputs=0.0),
    "pixels without a number": Training(inputs=math.nan),
}


@dataclasses.dataclass(frozen=True)
class Course:
    """A detector's training as the guard hears of it: one evaluation in 100 steps.

    Attributes:
        loss: Of a step.
        map_50: After a step.
        boxes: Of the eval split.
        steps: Of the training.
    """

    loss: Callable[[int], float]
    map_50: Callable[[int], float]
    boxes: int = 100
    steps: int = 3000

    def run(self, seed: int) -> str | None:
        """Tell the guard; return what it says when it stops."""
        rng = np.random.default_rng(seed)
        guard = DetectionGuard(GuardConfig(), 1.5, Pace(self.steps), self.boxes)
        try:
            for step in range(1, self.steps + 1):
                loss = self.loss(step) * math.exp(rng.normal(0, 0.2))
                guard.step(step, loss, {"class_loss": loss / 2, "box_loss": loss / 2}, 1.0, 8)
                if step % 100 == 0:
                    evaluation = StageResult(
                        self.loss(step), {"map_50": self.map_50(step)}, {}, np.empty(0), {}
                    )
                    guard.epoch(step, {"loss": loss}, evaluation, 30, is_last=step == self.steps)
        except NotLearningError as e:
            return str(e)
        return None


def _from(step: int, value: float) -> Callable[[int], float]:
    return lambda number: value if number >= step else 0.0


HEALTHY_DETECTORS = {
    "a detector": Course(lambda n: 0.4 + 3 * math.exp(-n / 200), _from(300, 0.3)),
    "a slow detector": Course(lambda n: 0.5 + 2.5 * math.exp(-n / 1500), _from(2500, 0.1)),
    "a detector, eval of 5 boxes": Course(lambda n: 0.4 + 3 * math.exp(-n / 200), _from(10**9, 0.0), boxes=5),
    "a detector that begins late": Course(
        lambda n: 1.5 + math.exp(-n / 30) if n < 450 else 0.4 + 1.1 * math.exp(-(n - 450) / 300),
        _from(800, 0.2),
    ),
    "a detector that begins after three fifths": Course(
        lambda n: 1.5 + math.exp(-n / 30) if n < 1800 else 0.4 + 1.1 * math.exp(-(n - 1800) / 300),
        _from(2200, 0.2),
    ),
    "a detector from a loss of 150": Course(
        lambda n: 0.5 + 150 * math.exp(-n / 600), _from(2500, 0.1), steps=6000
    ),
    "a hard one": Course(lambda n: 1.2 + math.exp(-n / 100), _from(700, 0.01)),
}
SICK_DETECTORS = {
    "a detector that guesses": Course(lambda n: 1.52 + math.exp(-n / 50), _from(10**9, 0.0)),
    "a detector that diverged": Course(lambda n: 40.0, _from(10**9, 0.0)),
    "no box fits an anchor": Course(lambda n: 0.3 + 3 * math.exp(-n / 100), _from(10**9, 0.0)),
    "a detector without numbers": Course(lambda n: 1.0 if n < 200 else math.nan, _from(10**9, 0.0)),
}
