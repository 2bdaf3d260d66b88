"""Kills a training by SIGKILL at random moments, and compares what comes out with an undisturbed one.

    python benchmarks/kill_training.py [--kills N] [--seed N]

(`make accept-kill-training`: 20 kills.)

What is trained is a LeNet with dropout, augmentation, a schedule and patience on scikit-learn's digits, by
the Trainer's own entry point, in a process of its own each time. After every kill the same training is
started again, until it has been killed so often and one process came to its end; then the exported weights,
the curve of the last epoch and the served answers must be those of the undisturbed training, bit for bit.
Prints what was hit; the last line is a JSON object. Exits 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]

EPOCHS = 12
NAMES = tuple("0123456789")
# What each training is started with.
PYTHON = Path(sys.executable)


def prepare(folder: Path) -> None:
    """Records of the digits, a Transform graph fitted on them, and the schema."""
    sys.path.insert(0, str(REPOSITORY))
    from sklearn.datasets import load_digits

    from components.schema_gen.schema_file import write_schema
    from components.transform.config import TransformConfig
    from tests.make.graphs import fit_transform
    from tests.make.images import encode_image
    from tests.make.records import make_record, write_split

    digits = load_digits()
    images = (digits.images[..., None] * 15.9).astype("uint8").repeat(3, axis=3)
    records = [
        make_record(encode_image(image), int(label), NAMES)
        for image, label in zip(images, digits.target, strict=True)
    ]
    write_split(folder / "Split-train", records[:1400], shards=2)
    write_split(folder / "Split-eval", records[1400:])
    config = TransformConfig(height_px=16, width_px=16, channels=1, normalization="zero_one")
    fit_transform(folder / "transform", records[:20], config)
    (folder / "transform.json").write_text(config.model_dump_json(), encoding="utf-8")
    write_schema(NAMES, folder / "schema")


def train(data: Path, folder: Path) -> None:
    """Train; runs in the process that is killed."""
    sys.path.insert(0, str(REPOSITORY))
    import logging

    from components.models.config import ModelConfig
    from components.trainer import run_fn
    from components.trainer.config import TrainingConfig

    logging.getLogger("mirante").setLevel(logging.INFO)
    logging.getLogger("mirante").addHandler(logging.StreamHandler(sys.stdout))
    training = TrainingConfig(
        epochs=EPOCHS,
        global_batch_size=24,
        schedule="cosine",
        warmup_epochs=1,
        patience_epochs=6,
        augmentation={"translation": 0.1, "erasing": 0.2},
        checkpoints={"steps": 20, "min_secs": 0.2},
    )
    arguments: Any = SimpleNamespace(
        train_files=[str(data / "Split-train" / "*")],
        eval_files=[str(data / "Split-eval" / "*")],
        transform_output=str(data / "transform" / "graph"),
        schema_path=str(next((data / "schema").rglob("*.pbtxt"))),
        serving_model_dir=str(folder / "serving"),
        model_run_dir=str(folder / "run"),
        base_model=None,
        hyperparameters=None,
        custom_config={
            "task": "classification",
            "transform": json.loads((data / "transform.json").read_text(encoding="utf-8")),
            "model": ModelConfig(name="lenet", dropout=0.3).model_dump(),
            "training": training.model_dump(),
            "checkpoints": str(folder / "checkpoints"),
        },
    )
    run_fn(arguments)
    # What a line of log would round away.
    print("ended", flush=True)


class Trial:
    """One training in a process of its own."""

    def __init__(self, data: Path, folder: Path):
        folder.mkdir(exist_ok=True)
        self.log = folder / "log.txt"
        self._file = open(self.log, "ab")  # noqa: SIM115 - closed in `end`
        self._process = subprocess.Popen(
            [str(PYTHON), __file__, "--train", str(data), str(folder)],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    def wait_for_training(self) -> bool:
        """Until the input is ready and steps are done; False when it ended before."""
        at = self.log.stat().st_size
        while self._process.poll() is None:
            with open(self.log, "rb") as file:
                file.seek(at)
                if b"decoded and resized once" in file.read():
                    return True
            time.sleep(0.02)
        return False

    def kill(self) -> bool:
        """Kill the process; return whether it was still running."""
        if self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGKILL)
        return self.end() == -signal.SIGKILL

    def end(self) -> int:
        code = self._process.wait()
        self._file.close()
        return code


def result(folder: Path) -> dict[str, Any]:
    """Weights of the exported model, answers of the served one, the last lines of the log."""
    import keras
    import numpy as np
    import tensorflow as tf

    weights = keras.models.load_model(folder / "run" / "model.keras").get_weights()
    served = tf.saved_model.load(str(folder / "serving"))
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    answers = served.signatures["serving_default"](image_bytes=encoded)["probabilities"].numpy()
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if " epoch " in line]
    last = lines[-1].partition(" images/s")[0].rpartition(",")[0]
    return {"weights": weights, "answers": answers, "last": last}


def compare(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train undisturbed, then with this many kills; return the places of the kills, and any differences."""
    import numpy as np

    prepare(folder)
    undisturbed = Trial(folder, folder / "undisturbed")
    undisturbed.wait_for_training()
    began = time.monotonic()
    if undisturbed.end() != 0:
        sys.exit((folder / "undisturbed" / "log.txt").read_text()[-3000:])
    training_secs = time.monotonic() - began
    expected = result(folder / "undisturbed")
    rng, killed, starts, rounds = random.Random(seed), 0, 0, 0
    equal = True
    while killed < kills:
        # As many rounds as it takes: each one ends with a process that comes to its end.
        target, rounds = folder / f"killed-{rounds}", rounds + 1
        while True:
            starts += 1
            trial = Trial(folder, target)
            if killed < kills and trial.wait_for_training():
                time.sleep(rng.uniform(0, training_secs / 2))
                if trial.kill():
                    killed += 1
                    continue
            if trial.end() != 0:
                sys.exit((target / "log.txt").read_text()[-3000:])
            break
        got = result(target)
        same = all(
            np.array_equal(a, b) for a, b in zip(got["weights"], expected["weights"], strict=True)
        ) and np.array_equal(got["answers"], expected["answers"])
        same_curve = got["last"] == expected["last"]
        text = (target / "log.txt").read_text()
        resumed = text.count(" resumes at step ")
        print(
            f"{killed:3} kills, {resumed} times gone on in the middle; equal: {same}, curve: {same_curve}",
            flush=True,
        )
        equal = equal and same and same_curve
    return {
        "kills": killed,
        "starts": starts,
        "rounds": rounds,
        "equal": equal,
        "training_secs": training_secs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(*arguments.train)
        return 0
    with tempfile.TemporaryDirectory(prefix="mirante-kill-") as name:
        outcome = compare(arguments.kills, arguments.seed, Path(name))
    print(json.dumps(outcome))
    return 0 if outcome["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
