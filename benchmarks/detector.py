"""How long a pushed detector takes for one photo of 640 x 480, whole and by its parts.

    python benchmarks/detector.py [ROOT]        (`make bench-detector`)

ROOT is the root of a finished run of a detection recipe. Without one, `asirra_detection` is trained for one
epoch of each stage: what the network takes does not depend on how good it is, and non-maximum suppression
sees the scores of something that was trained. Needs the real image sets: MIRANTE_TEST_DATA (default
../shared/data).

Prints medians of `REPEATS` runs, after some that do not count.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
WEIGHTS = DATA / "weights" / "mobilenet_v2_1.0_224_dequantized_no_top.h5"
WARM_UP, REPEATS = 20, 200
SIZE = (640, 480)


def photo() -> bytes:
    """A JPEG of 640 x 480."""
    from PIL import Image

    source = sorted((DATA / "asirra_detection" / "test").glob("*.jpg"))[0]
    buffer = io.BytesIO()
    with Image.open(source) as image:
        image.convert("RGB").resize(SIZE).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def milliseconds(what: str, call: Callable[[], object]) -> float:
    """Prints and returns the median of `call`, and the quarters around it."""
    for _ in range(WARM_UP):
        call()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - began))
    low, median, high = statistics.quantiles(taken, n=4)
    print(f"detector: {what:46}{median:8.2f} ms (half of {REPEATS}: {low:.2f} to {high:.2f})", flush=True)
    return median


def measure(root: Path) -> None:
    """Times what `mirante run` left below `root`."""
    import keras
    import tensorflow as tf

    from components.models import BACKBONE, HEAD
    from components.models.ssd import anchors_of
    from components.tasks.detection.geometry import clip, decode
    from components.tasks.detection.losses import compute_scores
    from components.tasks.detection.nms import best_boxes
    from pipeline.recipe.load import load_recipe

    (recipe_file,) = sorted(root.glob("runs/*/recipe.yaml"))[-1:]
    config = load_recipe(str(recipe_file)).model
    (pushed,) = sorted((root / "serving").glob("[0-9]*"))[-1:]
    served = tf.saved_model.load(str(pushed))
    (network,) = sorted(root.glob("Trainer/model_run/*/model.keras"))[-1:]
    model = keras.models.load_model(network)
    shape = tuple(model.input_shape[1:])
    anchors = tf.constant(anchors_of(config, shape))
    backbone, head = (tf.function(model.get_layer(name), autograph=False) for name in (BACKBONE, HEAD))

    @tf.function
    def boxes_and_scores(outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return clip(decode(outputs[..., :4], anchors)), compute_scores(outputs[..., 4:], config.detection)

    @tf.function
    def suppressed(boxes: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return best_boxes(boxes, scores, config.detection)

    encoded = tf.constant([photo()])
    signature = served.signatures["serving_default"]
    pixels = served.transform(encoded)
    maps = backbone(pixels, training=False)
    outputs = head(maps, training=False)
    boxes, scores = boxes_and_scores(outputs)
    print(
        f"detector: {recipe_file}: {config.name}, {shape[0]} x {shape[1]} px, {len(anchors):,} anchors, "
        f"{int(signature(image_bytes=encoded)['counts'][0])} boxes found; TensorFlow {tf.__version__}, "
        f"{os.cpu_count()} CPUs"
    )
    whole = milliseconds("one photo, by serving_default", lambda: signature(image_bytes=encoded))
    parts = [
        milliseconds("  JPEG decoded, resized, normalised", lambda: served.transform(encoded)),
        milliseconds("  backbone", lambda: backbone(pixels, training=False)),
        milliseconds("  head", lambda: head(maps, training=False)),
        milliseconds("  codes to boxes, logits to scores", lambda: boxes_and_scores(outputs)),
        milliseconds("  non-maximum suppression", lambda: suppressed(boxes, scores)),
    ]
    print(f"detector: the parts together {sum(parts):.2f} ms, called one by one; the whole {whole:.2f} ms")


def train(root: Path) -> None:
    """A run of the recipe with one epoch of each stage."""
    arguments = ["run", "asirra_detection", "--data", str(DATA / "asirra_detection"), "--root", str(root)]
    for setting in (
        f"model.weights={WEIGHTS}",
        "training.fine_tune_epochs=1",
        "evaluation.thresholds={map_50: 0.0}",
    ):
        arguments += ["--set", setting]
    subprocess.run([str(Path(sys.executable).with_name("mirante")), *arguments], check=True)


if __name__ == "__main__":
    if not (DATA / "asirra_detection").is_dir():
        sys.exit(
            f"{DATA}: no asirra_detection there: set MIRANTE_TEST_DATA to the folder of the real image sets"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="mirante-bench-") as name:
            train(Path(name))
            measure(Path(name))
