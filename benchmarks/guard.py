"""Tries the guard on many trainings: it must stop all that are sick and none that is healthy.

    python benchmarks/guard.py [--seeds N] [--only WORD]        (`make bench-guard`)

1. The trainings of tests/guard_trainings.py, in NumPy, by N seeds each (8), on all cores.
2. Trainings by the Trainer's own loop: small networks of Keras on stripes, and a small detector on shapes.

Prints a line for each kind that is judged wrongly, and a table; exits 1 when there is one.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def in_numpy(seeds: int, only: str) -> tuple[int, int, list[str]]:
    """Return how many healthy and sick trainings there were, and a line for each wrong kind."""
    from tests.guard_trainings import HEALTHY, HEALTHY_DETECTORS, SICK, SICK_DETECTORS

    kinds = [
        (name, is_sick, seeds)
        for is_sick, trainings in ((False, HEALTHY | HEALTHY_DETECTORS), (True, SICK | SICK_DETECTORS))
        for name in trainings
        if only in name
    ]
    counts = [sum(seeds for _, sick, _ in kinds if sick == is_sick) for is_sick in (False, True)]
    # Small matrices: a second thread for each would only wait for the first.
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        lines = [processes.submit(try_kind, *kind) for kind in kinds]
        return counts[0], counts[1], [line.result() for line in lines if line.result()]


def try_kind(name: str, is_sick: bool, seeds: int) -> str:
    """Return a line when one training of a kind was judged wrongly, else nothing."""
    import numpy as np

    from tests import guard_trainings as kinds

    logging.disable(logging.WARNING)
    healthy, sick = kinds.HEALTHY | kinds.HEALTHY_DETECTORS, kinds.SICK | kinds.SICK_DETECTORS
    with np.errstate(all="ignore"):
        said = {seed: (sick if is_sick else healthy)[name].run(seed) for seed in range(seeds)}
    wrong = [seed for seed, message in said.items() if bool(message) != is_sick]
    if not wrong:
        return ""
    kind = "sick" if is_sick else "healthy"
    first = (said[wrong[0]] or "not stopped")[:200]
    return f"{kind}, {name}: {len(wrong)} of {seeds} wrong, seeds {wrong}: {first}"


def by_the_loop(only: str) -> tuple[int, int, list[str]]:
    """The same of trainings by the Trainer's loop."""
    import keras
    import numpy as np

    from components.trainer.config import TrainingConfig
    from components.trainer.guard import NotLearningError
    from components.trainer.input.examples import ArrayExamples
    from tests.make import shapes
    from tests.make.trainings import load_images, make_network, make_striped, train

    def config(**given: Any) -> TrainingConfig:
        usual = {"epochs": 40, "learning_rate": 0.01, "global_batch_size": 16, "guard": {"steps": 200}}
        return TrainingConfig(**{**usual, **given})

    def shuffled(count: int, seed: int, split: str) -> ArrayExamples:
        examples = make_striped(count, seed, split)
        labels = np.random.default_rng(seed + 100).permutation(examples.labels)
        return ArrayExamples(split, load_images(examples).numpy(), labels)

    def uneven(count: int, seed: int, split: str, share: float) -> ArrayExamples:
        examples = make_striped(count, seed, split)
        rows = np.flatnonzero((examples.labels == 0) | (np.arange(count) % int(1 / share) == 0))
        return ArrayExamples(split, load_images(examples).numpy()[rows], examples.labels[rows])

    def regularised() -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(6, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(1.0))(
            inputs
        )
        outputs = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
        return keras.Model(inputs, outputs)

    def dead() -> keras.Model:
        model = make_network(batch_norm=False)
        model.get_layer("backbone").get_layer("conv").bias.assign([-1e6] * 6)
        return model

    def black(count: int) -> ArrayExamples:
        return ArrayExamples("eval", np.zeros((count, 8, 8, 1), np.float32), np.arange(count) % 2)

    def detector(folder: Path, rate: float, epochs: int) -> None:
        task = shapes.make_task(64)
        train(
            shapes.make_network(task, 64, batch_norm=True),
            config(epochs=epochs, learning_rate=rate, guard={"steps": 60}),
            folder,
            train=shapes.make_examples("train", 96, 0, 64),
            evaluation=shapes.make_examples("eval", 24, 1000, 64),
            task=task,
        )

    def twice(folder: Path) -> None:
        model = make_network()
        many = make_striped(2000, 0, wrong=600)
        for part in ("first", "again"):
            train(
                model,
                config(epochs=8),
                folder / part,
                train=many,
                evaluation=make_striped(200, 1, "eval", wrong=60),
            )

    healthy: dict[str, Callable[[Path], Any]] = {
        "stripes": lambda f: train(make_network(), config(), f, train=make_striped(200, 0)),
        "stripes, eval of 6": lambda f: train(
            make_network(), config(), f, train=make_striped(200, 0), evaluation=make_striped(6, 1, "eval")
        ),
        "stripes, 20 to 1": lambda f: train(
            make_network(),
            config(),
            f,
            train=uneven(2000, 0, "train", 0.05),
            evaluation=uneven(80, 1, "eval", 0.05),
        ),
        "no batch norm": lambda f: train(
            make_network(batch_norm=False), config(), f, train=make_striped(400, 0)
        ),
        "dropout": lambda f: train(make_network(dropout=0.5), config(), f, train=make_striped(400, 0)),
        "head and fine-tuning": lambda f: train(
            make_network(),
            config(epochs=20, fine_tune_epochs=20, fine_tune_learning_rate=1e-4, patience_epochs=10),
            f,
            train=make_striped(400, 0),
            pretrained=True,
        ),
        "a regulariser larger than the loss": lambda f: train(
            regularised(), config(), f, train=make_striped(400, 0)
        ),
        "warm-up": lambda f: train(make_network(), config(warmup_epochs=10), f, train=make_striped(400, 0)),
        "mixed images": lambda f: train(
            make_network(), config(augmentation={"mix_up": 0.4}), f, train=make_striped(400, 0)
        ),
        "30 % of labels wrong, then warm": twice,
        "a detector": lambda f: detector(f, 0.003, 15),
    }
    sick: dict[str, Callable[[Path], Any]] = {
        "rate of 1e30": lambda f: train(make_network(), config(optimizer="sgd", learning_rate=1e30), f),
        "rate of 1e-12": lambda f: train(
            make_network(), config(learning_rate=1e-12), f, train=make_striped(400, 0)
        ),
        "dead units": lambda f: train(dead(), config(), f, train=make_striped(400, 0)),
        "labels shuffled": lambda f: train(
            make_network(),
            config(),
            f,
            train=shuffled(4000, 0, "train"),
            evaluation=shuffled(1000, 1, "eval"),
        ),
        "eval labels shuffled": lambda f: train(
            make_network(), config(), f, train=make_striped(400, 0), evaluation=shuffled(1000, 1, "eval")
        ),
        "eval images black": lambda f: train(
            make_network(), config(), f, train=make_striped(400, 0), evaluation=black(100)
        ),
        "a detector at 1e-9": lambda f: detector(f, 1e-9, 25),
    }
    wrong, counts = [], [0, 0]
    for is_sick, trainings in enumerate((healthy, sick)):
        for name, run in trainings.items():
            if only not in name:
                continue
            counts[is_sick] += 1
            said = ""
            with tempfile.TemporaryDirectory() as folder:
                try:
                    run(Path(folder))
                except NotLearningError as e:
                    said = str(e)
            if bool(said) != bool(is_sick):
                wrong.append(
                    f"{'sick' if is_sick else 'healthy'}, by the loop, {name}: {said[:200] or 'not stopped'}"
                )
    return counts[0], counts[1], wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", default="", help="kinds whose names hold this word")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    faults: list[str] = []
    for what, run in (
        ("in NumPy", lambda: in_numpy(given.seeds, given.only)),
        ("by the Trainer's loop", lambda: by_the_loop(given.only)),
    ):
        began = time.monotonic()
        healthy, sick, wrong = run()
        faults += wrong
        print(
            f"{what}: {healthy} healthy and {sick} sick trainings, {len(wrong)} kinds judged wrongly, "
            f"{time.monotonic() - began:.0f} s",
            *wrong,
            sep="\n",
            flush=True,
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
