"""Speed of training, side by side in one run: medians of several rounds, and their ratios.

    python -m benchmarks.training [input|keras|graph|precision]... [--rounds N] [--only cifar10|photos]
                                                      (`make bench-training`: all of them)

input      the Trainer's steps, fed by its own input, against the same steps fed with batches that are ready
           in memory: CIFAR-10 images, and photos at 224 px, each with pixels in memory and decoded anew
keras      the Trainer against `model.fit` on the same network and the best tf.data pipeline known: all
           in memory, shuffled by index, gathered by batch, prefetched; XLA off, oneDNN on: faster on CPUs
graph      the step in a graph against the same step run eagerly (`training.debug: eager`)
precision  float32 against mixed_bfloat16 and mixed_float16: steps, and accuracy on digits over three seeds

The candidates take turns, round by round. Exits 1 where the Trainer reaches less than 0.95 of what it is
compared with in `input` and `keras`. Needs the real image sets: MIRANTE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Row, note_row

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
ROUNDS = 5
MIN_RATIO = 0.95
# What the table of all benchmarks asks for, of the Trainer's speed by that of `model.fit`.
GOAL_OF_KERAS = 1.5
PARTS = ("input", "keras", "graph", "precision")


def compare(
    what: str,
    images: int,
    candidates: dict[str, Callable[[], float]],
    rounds: int = ROUNDS,
    goal: float | None = None,
) -> dict[str, float]:
    """Run the steps of every candidate in turn, in several rounds; each returns the seconds that it took.

    Prints images/s and the ratio to the first candidate's, which is returned for each, and notes the last
    candidate's row with the goal for its ratio.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            secs = candidate()
            if number:  # the first round warms up
                seconds[name].append(secs)
    first = statistics.median(next(iter(seconds.values())))
    ratios = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        ratios[name] = first / median
        print(
            f"{what}: {name:38}{images / median:8.0f} images/s (median of {rounds}; "
            f"{images / max(values):.0f} to {images / min(values):.0f}), ratio {ratios[name]:.3f}",
            flush=True,
        )
    peer, *_, ours = candidates
    speeds = {name: [images / secs for secs in seconds[name]] for name in (peer, ours)}
    note_row(Row(what, "images/s", speeds[ours], peer, speeds[peer], goal, is_least=True))
    return ratios


@dataclasses.dataclass(frozen=True)
class Workload:
    """Real images behind their Transform graph, and what trains on them.

    Attributes:
        name: For the report.
        files: Pattern of the TFRecord files.
        tft_output: The Transform graph.
        model: Settings of the network.
        input_shape: Of the images.
        classes: How many.
        batch_size: Of a step.
        steps: Steps a round.
    """

    name: str
    files: str
    tft_output: Any
    model: Any
    input_shape: tuple[int, int, int]
    classes: int
    batch_size: int
    steps: int


def make_workloads(folder: Path) -> Iterator[Workload]:
    import tensorflow as tf

    from components.ingest import IngestConfig, ingest
    from components.models.config import ModelConfig
    from components.transform.config import TransformConfig
    from tests.make.graphs import fit_transform

    for name, source, images, config, model, size, steps in (
        (
            "cifar10",
            "cifar",
            6000,
            TransformConfig(height_px=32, width_px=32, normalization="standardize"),
            ModelConfig(name="cifar_resnet"),
            64,
            50,
        ),
        (
            "photos",
            "folder",
            600,
            TransformConfig(normalization="minus_one_one"),
            ModelConfig(name="mobilenet_v2", alpha=1.0),
            32,
            6,
        ),
    ):
        data = DATA / {"cifar10": "cifar10", "photos": "cats_vs_dogs"}[name]
        ingested = ingest(source, data, folder / name, IngestConfig())
        shards = sorted(str(path) for path in (folder / name).glob("train-*-of-*"))
        records = [item.numpy() for item in tf.data.TFRecordDataset(shards).take(images)]
        file = folder / f"{name}.tfrecord.gz"
        with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
            for item in records:
                writer.write(item)
        yield Workload(
            name,
            str(file),
            fit_transform(folder / f"{name}-transform", records[:500], config),
            model,
            (config.height_px, config.width_px, config.channels),
            len(ingested.class_names),
            size,
            steps,
        )


def read_split(workload: Workload, cache: Any = "memory") -> Any:
    from components.tasks.classification.trainer import Classification
    from components.trainer.config import TrainingConfig
    from components.trainer.input.split import SplitInput

    config = TrainingConfig(cache=cache)
    return SplitInput("train", [workload.files], workload.tft_output, Classification(()), config)


def feed(workload: Workload, cache: Any = "memory") -> Iterator[Any]:
    from components.trainer.config import TrainingConfig
    from components.trainer.input.batches import training_batches

    config = TrainingConfig(global_batch_size=workload.batch_size)
    return iter(training_batches(read_split(workload, cache), config))


class Steps:
    """The Trainer's step on one network, fed from wherever batches come."""

    def __init__(self, workload: Workload, **training: Any):
        import keras
        import tensorflow as tf

        from components.models import build_model
        from components.tasks.classification.trainer import Classification
        from components.trainer.config import TrainingConfig
        from components.trainer.optimizers.make import make_optimizer
        from components.trainer.step import build_step
        from components.trainer.strategy import Place

        self.config = TrainingConfig(
            optimizer="sgd", learning_rate=0.01, global_batch_size=workload.batch_size, **training
        )
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(self.config.precision)
        self.model = build_model(workload.model, workload.input_shape, workload.classes)
        keras.config.set_dtype_policy("float32")
        optimizer = make_optimizer(self.config, self.config.learning_rate)
        optimizer.build(self.model.trainable_variables)
        self.step = build_step(
            self.model,
            Classification(()),
            read_split(workload),
            self.config,
            Place(tf.distribute.get_strategy()),
            optimizer,
            tf.Variable(0, dtype=tf.int64),
        )

    def timed(self, batches: Iterator[Any], steps: int) -> float:
        """Return the seconds of this many steps; each result is read as the loop reads it."""
        began = time.monotonic()
        results = [self.step(next(batches)) for _ in range(steps)]
        _ = [float(result["loss"]) for result in results]
        return time.monotonic() - began


def bench_input(workload: Workload) -> bool:
    steps = Steps(workload)
    size = workload.batch_size

    memory = feed(workload)
    ready = [next(memory) for _ in range(workload.steps)]
    decoded = feed(workload, "none")
    disk = feed(workload, "disk")
    ratios = compare(
        f"input, {workload.name}",
        workload.steps * size,
        {
            "batches ready in memory": lambda: steps.timed(iter(ready), workload.steps),
            "Mirante, cache: memory": lambda: steps.timed(memory, workload.steps),
            "Mirante, cache: disk": lambda: steps.timed(disk, workload.steps),
            "Mirante, cache: none (decoded anew)": lambda: steps.timed(decoded, workload.steps),
        },
    )
    # For images of 32 px decoding costs as much as a small network: there the cache is what counts.
    counted = ["Mirante, cache: memory"] if workload.name == "cifar10" else list(ratios)[1:]
    return all(ratios[name] >= MIN_RATIO for name in counted)


def bench_keras(workload: Workload, rounds: int = ROUNDS) -> bool:
    import keras
    import tensorflow as tf

    from components.models import build_model

    steps = Steps(workload)
    split = read_split(workload)
    images, labels = split.load(tf.range(split.num_examples))
    keras.utils.set_random_seed(0)
    model = build_model(workload.model, workload.input_shape, workload.classes)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    rows = tf.data.Dataset.range(split.num_examples).shuffle(split.num_examples).repeat()
    batches = rows.batch(workload.batch_size, drop_remainder=True).map(
        lambda row: (tf.gather(images, row), tf.gather(labels, row))
    )
    endless = batches.prefetch(tf.data.AUTOTUNE)

    def keras_fit() -> float:
        began = time.monotonic()
        model.fit(endless, steps_per_epoch=workload.steps, epochs=1, verbose=0)
        return time.monotonic() - began

    mirante = feed(workload)
    ratios = compare(
        f"keras, {workload.name}",
        workload.steps * workload.batch_size,
        {
            "model.fit on tf.data": keras_fit,
            "Mirante": lambda: steps.timed(mirante, workload.steps),
        },
        rounds,
        GOAL_OF_KERAS,
    )
    return ratios["Mirante"] >= MIN_RATIO


def bench_graph(workload: Workload) -> bool:
    batches = feed(workload)
    graph, eager, xla = Steps(workload), Steps(workload, debug="eager"), Steps(workload, jit_compile=True)
    compare(
        f"graph, {workload.name}",
        workload.steps * workload.batch_size,
        {
            "eager": lambda: eager.timed(batches, workload.steps),
            "graph": lambda: graph.timed(batches, workload.steps),
            "graph, compiled by XLA": lambda: xla.timed(batches, workload.steps),
        },
    )
    return True


def bench_precision(workload: Workload) -> bool:
    import tensorflow as tf

    batches = feed(workload)
    precisions = ("float32", "mixed_bfloat16", "mixed_float16")
    steps = {precision: Steps(workload, precision=precision) for precision in precisions}
    # 16 bits are emulated where the processor does not have them.
    few = max(1, workload.steps // 10)
    compare(
        f"precision, {workload.name}",
        few * workload.batch_size,
        {precision: functools.partial(steps[precision].timed, batches, few) for precision in precisions},
    )
    for precision in precisions:
        if precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
            continue  # emulated, a hundred times slower
        accuracies = [digits_accuracy(precision, seed) for seed in range(3)]
        shown = ", ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        print(f"precision, digits: {precision:20} eval accuracy {shown}", flush=True)
    return True


def digits_accuracy(precision: str, seed: int) -> float:
    """Return the accuracy of a LeNet after 15 epochs on scikit-learn's digits, on the last 397 of 1,797."""
    import keras
    import numpy as np
    import tensorflow as tf
    from sklearn.datasets import load_digits

    from components.models import build_model
    from components.models.config import ModelConfig
    from components.tasks.classification.trainer import Classification
    from components.trainer.checkpoints import Checkpoints
    from components.trainer.config import TrainingConfig
    from components.trainer.fit import fit
    from components.trainer.input.examples import ArrayExamples
    from components.trainer.run import Run
    from components.trainer.strategy import Place
    from components.trainer.tracking.trackers import Trackers
    from tests.make.trainings import Course

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32).repeat(2, axis=1).repeat(2, axis=2)
    config = TrainingConfig(epochs=15, seed=seed, precision=precision, schedule="cosine")
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    model = build_model(ModelConfig(name="lenet", dropout=0.3), (16, 16, 1), 10)
    keras.config.set_dtype_policy("float32")
    course = Course()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            Classification([str(digit) for digit in range(10)]),
            ArrayExamples("train", images[:1400], digits.target[:1400]),
            ArrayExamples("eval", images[1400:], digits.target[1400:]),
            config,
            Place(tf.distribute.get_strategy()),
            Checkpoints(f"{folder}/checkpoints/x"),
            Trackers({"course": course}),
        )
        fit(model, run, pretrained=False)
    return course.epochs("eval_accuracy")[-1]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Speed of training, side by side in one run.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them when not given")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of `keras`")
    parser.add_argument("--only", help="one workload: cifar10 or photos")
    given = parser.parse_args(argv)
    if not (DATA / "cifar10").is_dir():
        print(f"{DATA}: no cifar10 there: set MIRANTE_TEST_DATA to the real image sets", file=sys.stderr)
        return 2
    keras = functools.partial(bench_keras, rounds=given.rounds)
    benches: dict[str, Callable[[Workload], bool]] = {
        "input": bench_input,
        "keras": keras,
        "graph": bench_graph,
        "precision": bench_precision,
    }
    reached = True
    with tempfile.TemporaryDirectory(prefix="mirante-bench-") as name:
        workloads = [each for each in make_workloads(Path(name)) if given.only in (None, each.name)]
        for part in given.parts or PARTS:
            for workload in workloads if part in ("input", "keras") else workloads[:1]:
                reached = benches[part](workload) and reached
    return 0 if reached else 1


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands have it
    sys.path.insert(0, str(REPOSITORY))
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # At the end of the interpreter protobuf frees messages after its own module, and crashes.
    os._exit(code)
