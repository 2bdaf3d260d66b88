"""Classes of different size: plain training, class weights and balanced sampling, side by side.

    python benchmarks/uneven.py [mnist|photos|speed]...        (`make bench-uneven`: all of them)

mnist    600 images of each digit but 30 eights (5 %), LeNet from the start; tested on the 10,000 test images
photos   600 cats and 30 dogs (5 %), a head on frozen MobileNetV2 features; tested on 150 of each
speed    images per second of LeNet's steps with each setting, in turn, and the ratio to plain training

Prints test accuracy, balanced accuracy, and the lowest recall and f1 of a class, as the mean over three seeds
and the values of each. Needs the real image sets: MIRANTE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import gzip
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
PHOTO_WEIGHTS = "mobilenet_v2_1.0_224_dequantized_no_top.h5"
SEEDS = 3
ROUNDS = 7
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class_weights: balanced": {"class_weights": "balanced"},
    "sampling: balanced": {"sampling": "balanced"},
}
METRICS = ("accuracy", "balanced_accuracy", "min_class_recall", "min_class_f1")
Array = np.ndarray[Any, Any]


def read_mnist(split: str) -> tuple[Array, Array]:
    """Return images float32 [N, 28, 28, 1], 0 to 1, and labels int64 [N]."""
    with gzip.open(DATA / "mnist" / f"{split}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(DATA / "mnist" / f"{split}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return (pixels.reshape(-1, 28, 28, 1) / 255).astype(np.float32), labels.astype(np.int64)


def take_unevenly(labels: Array, many: int, few: int, rare: int) -> Array:
    """Return rows with the first `many` images of each class, and `few` of the class `rare`."""
    return np.sort(
        np.concatenate(
            [np.flatnonzero(labels == label)[: few if label == rare else many] for label in np.unique(labels)]
        )
    )


def read_photos(folder: str, many: int, few: int) -> tuple[Array, Array]:
    """Return features float32 [N, 1280] of the first cats and dogs, and labels, 0 for cats."""
    import keras
    from PIL import Image

    paths = [sorted((DATA / "cats_vs_dogs" / folder / name).iterdir()) for name in ("cats", "dogs")]
    chosen = [*paths[0][:many], *paths[1][:few]]
    network = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3),
        include_top=False,
        pooling="avg",
        weights=str(DATA / "weights" / PHOTO_WEIGHTS),
    )
    pixels = np.stack(
        [np.asarray(Image.open(path).convert("RGB").resize((224, 224)), np.float32) for path in chosen]
    )
    labels = np.repeat([0, 1], [len(paths[0][:many]), len(paths[1][:few])])
    return network.predict(pixels / 127.5 - 1, batch_size=32, verbose=0), labels


def train(make_model: Callable[[], Any], data: tuple[Array, ...], classes: int, **settings: Any) -> Any:
    """Train on (train images, labels, test images, labels) and return the test metrics."""
    import keras
    import tensorflow as tf

    from components.tasks.classification.metrics import Tally, measure
    from components.tasks.classification.trainer import Classification
    from components.trainer.checkpoints import Checkpoints
    from components.trainer.config import TrainingConfig
    from components.trainer.fit import fit
    from components.trainer.input.examples import ArrayExamples
    from components.trainer.run import Run
    from components.trainer.strategy import Place
    from components.trainer.tracking.trackers import Trackers

    config = TrainingConfig(schedule="cosine", **settings)
    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    model = make_model()
    images, labels, test_images, test_labels = data
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            Classification([str(label) for label in range(classes)], config),
            ArrayExamples("train", images, labels),
            # Nothing is chosen by it.
            ArrayExamples("eval", test_images[::5], test_labels[::5]),
            config,
            Place(tf.distribute.get_strategy()),
            Checkpoints(f"{folder}/checkpoints/x"),
            Trackers({}),
        )
        fit(model, run, pretrained=False)
    tally = Tally(classes, with_curves=False)
    for rows in np.array_split(np.arange(len(test_labels)), max(1, len(test_labels) // 500)):
        tally.add(test_labels[rows], tf.nn.softmax(model(test_images[rows], training=False)).numpy())
    return measure(tally)[0]


def compare(
    name: str, make_model: Callable[[], Any], data: tuple[Array, ...], classes: int, epochs: int
) -> None:
    for setting, options in SETTINGS.items():
        found = [
            train(make_model, data, classes, epochs=epochs, seed=seed, **options) for seed in range(SEEDS)
        ]
        shown = (
            f"{metric} {statistics.mean(one[metric] for one in found):.4f} "
            f"({', '.join(f'{one[metric]:.4f}' for one in found)})"
            for metric in METRICS
        )
        print(f"{name}: {setting:24}" + ", ".join(shown), flush=True)


def lenet() -> Any:
    from components.models import build_model
    from components.models.config import ModelConfig

    return build_model(ModelConfig(name="lenet", dropout=0.3), (28, 28, 1), 10)


def uneven_mnist() -> tuple[Array, Array]:
    images, labels = read_mnist("train")
    rows = take_unevenly(labels, 600, 30, 8)
    return images[rows], labels[rows]


def bench_mnist() -> None:
    compare("mnist", lenet, (*uneven_mnist(), *read_mnist("t10k")), 10, epochs=10)


def bench_photos() -> None:
    from components.models import linear_head

    data = (*read_photos("train", 600, 30), *read_photos("validation", 150, 150))
    compare("photos", lambda: linear_head(1280, 2, 0.2), data, 2, epochs=20)


def bench_speed() -> None:
    """Time the loop's steps and their input, the settings in turn."""
    import tensorflow as tf

    from components.tasks.classification.trainer import Classification
    from components.trainer.config import TrainingConfig
    from components.trainer.input.batches import training_batches
    from components.trainer.input.examples import ArrayExamples
    from components.trainer.optimizers.make import make_optimizer
    from components.trainer.step import build_step
    from components.trainer.strategy import Place

    examples = ArrayExamples("train", *uneven_mnist())
    names, steps = [str(label) for label in range(10)], 85  # an epoch

    def timer(options: dict[str, Any]) -> Callable[[], float]:
        config = TrainingConfig(global_batch_size=64, **options)
        model = lenet()
        optimizer = make_optimizer(config, 0.001)
        optimizer.build(model.trainable_variables)
        step = build_step(
            model,
            Classification(names, config),
            examples,
            config,
            Place(tf.distribute.get_strategy()),
            optimizer,
            tf.Variable(0, dtype=tf.int64),
        )
        batches = iter(training_batches(examples, config))

        def timed() -> float:
            began = time.monotonic()
            results = [step(next(batches)) for _ in range(steps)]
            _ = [float(result["loss"]) for result in results]
            return time.monotonic() - began

        return timed

    timers = {setting: timer(options) for setting, options in SETTINGS.items()}
    secs: dict[str, list[float]] = {setting: [] for setting in timers}
    for number in range(ROUNDS + 1):
        for setting, timed in timers.items():
            taken = timed()
            if number:  # the first round warms up
                secs[setting].append(taken)
    plain = statistics.median(secs["plain"])
    for setting, values in secs.items():
        median = statistics.median(values)
        print(
            f"speed: {setting:24}{steps * 64 / median:8.0f} images/s, ratio {plain / median:.3f}",
            flush=True,
        )


BENCHES = {"mnist": bench_mnist, "photos": bench_photos, "speed": bench_speed}


def main(parts: list[str]) -> int:
    if not (DATA / "mnist").is_dir():
        print(f"{DATA}: no mnist there: set MIRANTE_TEST_DATA to the real image sets", file=sys.stderr)
        return 2
    for part in parts or BENCHES:
        BENCHES[part]()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands have it
    sys.path.insert(0, str(REPOSITORY))
    sys.exit(main(sys.argv[1:]))
