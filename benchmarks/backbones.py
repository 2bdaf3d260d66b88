"""How many images two cores put through each network of keras.applications: `make bench-backbones`.

Prints a line for each network: images per second, for the rows of components/models/applications.py, and
whether parameters and features are those of its row. Counts CPU seconds, of which two cores have two in a
second, so other work on the machine changes little.

    python -m benchmarks.backbones [NAME ...]
"""

import argparse
import os
import sys
import time

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CORES = 2
BATCH_SIZE = 8
# CPU seconds of a measurement, at least.
LEAST_SECS = 2.0


def measure(name: str) -> None:
    """Print the line of one network."""
    import numpy as np
    import tensorflow as tf

    from components.models import BACKBONE, build_model
    from components.models.applications import APPLICATIONS, PREFIX
    from components.models.config import ModelConfig

    row = APPLICATIONS[name]
    shape = (row.designed_px, row.designed_px, 3)
    model = build_model(ModelConfig(name=f"{PREFIX}{name}"), shape, 2)
    backbone = model.get_layer(BACKBONE)
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    images = tf.constant(np.random.default_rng(0).uniform(0, 1, (BATCH_SIZE, *shape)), tf.float32)
    forward(images)
    began, count = time.process_time(), 0
    while count == 0 or time.process_time() - began < LEAST_SECS:
        forward(images).numpy()
        count += 1
    speed = count * BATCH_SIZE * CORES / (time.process_time() - began)
    is_row = (backbone.count_params(), backbone.output_shape[-1]) == (row.parameters, row.features)
    print(
        f"{name:20} {speed:8.3g} images/s  {'as its row says' if is_row else 'NOT as its row says'}",
        flush=True,
    )


def main() -> int:
    """Measure the networks, one after the other."""
    import keras
    import tensorflow as tf

    from components.models.applications import APPLICATIONS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name in parser.parse_args().names or APPLICATIONS:
        keras.backend.clear_session()
        measure(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
