"""Acceptance on a real cluster: what the tests of CI leave out, since it takes many minutes.

    python benchmarks/accept_kubeflow.py [--image mirante:ci] [PART]...

(`make accept-kubeflow` does all of it, as root, with the image in Docker and the image sets in
MIRANTE_TEST_DATA.) Starts Kubeflow Pipelines on a cluster of one node, and:

workers   trains asirra_detection, reduced, on two pods, with its metadata in Kubeflow's MySQL
bucket    runs digits with its root in Kubeflow's object store and its metadata in MySQL; then once more,
          from the cache
spans     schedules a run for every minute that takes the newest span, and adds a span
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# For the packages next to this folder, when this file is run as a script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tests.kfp_check import ROOT
from tests.kfp_cluster import Cluster, running_pods, wait_until

DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or ROOT.parent / "shared" / "data")
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
_MYSQL = (
    "kubeflow.metadata={type: mysql, host: mysql.kubeflow.svc, database: %s, user: {secret: mysql-secret, "
    "key: username}, password: {secret: mysql-secret, key: password}}"
)
_STORE = "mlpipeline-minio-artifact"
# A recurring run may start up to a minute late, and takes minutes on a busy machine.
_SPAN_SECS = 900


def compile_recipe(folder: Path, image: str, recipe: str, *settings: str) -> Path:
    """Return the package of a recipe."""
    package = folder / f"{recipe}.yaml"
    given = [argument for setting in settings for argument in ("--set", setting)]
    command = [sys.executable, "-m", "pipeline.commands", "compile", recipe, "--image", image]
    done = subprocess.run(
        [*command, "-o", str(package), *given], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return package


def submit(cluster: Cluster, package: Path, *options: str) -> tuple[dict[str, Any], float]:
    """Return the result of a run that has to succeed, and its seconds."""
    started = time.monotonic()
    result = cluster.submit(package, *options)
    return result, time.monotonic() - started


def give(cluster: Cluster, source: Path, name: str) -> None:
    """Copy files of this machine to the volume, as `kubectl cp` does."""
    target = cluster.volume / name
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    subprocess.run(["chown", "-R", "1000:1000", str(cluster.volume / name.partition("/")[0])], check=True)
    subprocess.run(["chmod", "-R", "u+rwX", str(cluster.volume / name.partition("/")[0])], check=True)


def train_on_two_pods(cluster: Cluster, image: str, folder: Path) -> Iterator[str]:
    """Train a detector on two pods."""
    with tempfile.TemporaryDirectory() as reduced:
        for split, count in (("train", 120), ("test", 30)):
            for photo in sorted((DATA / "asirra_detection" / split).glob("*.jpg"))[:: 1 + 500 // count]:
                place = Path(reduced) / split
                place.mkdir(exist_ok=True)
                for file in (photo, photo.with_suffix(".xml")):
                    shutil.copy(file, place)
        give(cluster, Path(reduced), "asirra")
    give(cluster, DATA / "weights" / WEIGHTS, f"weights/{WEIGHTS}")
    package = compile_recipe(
        folder,
        image,
        "asirra_detection",
        "data.path=/mirante/asirra",
        f"model.weights=/mirante/weights/{WEIGHTS}",
        "model.alpha=0.35",
        "training.strategy=multi_worker",
        "training.fine_tune_epochs=1",
        "evaluation.thresholds={map_50: 0.0}",
        "kubeflow.workers={replicas: 2}",
        _MYSQL % "asirra",
    )
    result, secs = submit(cluster, package)
    (log,) = [
        log
        for pod in cluster.pods(result["run_id"])
        if "container-impl" in pod["metadata"]["name"]
        and "worker pods: all run" in (log := cluster.kubectl("logs", pod["metadata"]["name"], "-c", "main"))
    ]
    assert list(cluster.volume.glob("asirra_detection/serving/*/saved_model.pb"))
    left = json.loads(
        cluster.kubectl("get", "jobs", "-l", "app.kubernetes.io/name=mirante-worker", "-o", "json")
    )
    assert not left["items"], "the Job of the workers was left behind"
    trained = [line for line in log.splitlines() if " epoch 1/1: " in line]
    assert trained
    assert len(trained) == len(set(trained)), "lines of the log come twice"
    yield f"two pods, SUCCEEDED in {secs:.0f} s; {trained[-1].strip()[:100]}"


def run_in_bucket(cluster: Cluster, image: str, folder: Path) -> Iterator[str]:
    """Run digits twice with its root in the object store."""
    variables = {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}
    secrets = ", ".join(f"{name}: {{secret: {_STORE}, key: {key}}}" for name, key in variables.items())
    package = compile_recipe(
        folder,
        image,
        "digits",
        "kubeflow.pipeline_root=s3://mlpipeline/mirante/digits",
        "kubeflow.defaults.env={AWS_ENDPOINT_URL: 'http://seaweedfs.kubeflow.svc:9000'}",
        f"kubeflow.defaults.secrets={{{secrets}}}",
        _MYSQL % "digits",
    )
    for what in ("new", "unchanged"):
        result, secs = submit(cluster, package)
        assert result["state"] == "SUCCEEDED"
        yield f"{what}: SUCCEEDED in {secs:.0f} s"


def write_span(cluster: Cluster, span: int) -> None:
    """Write a span of digits: other images for each, under another name first."""
    images, labels = load_digits(return_X_y=True)
    place = Path(tempfile.mkdtemp()) / f"span-{span}"
    for number in range((span - 1) * 600, span * 600):
        file = place / str(labels[number]) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = (images[number].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(file)
    give(cluster, place, f"photos/{place.name}")


def take_spans(cluster: Cluster, image: str, folder: Path) -> Iterator[str]:
    """Schedule runs of the newest span, and add one."""
    from kubeflow.server import Server

    package = compile_recipe(
        folder,
        image,
        "folder",
        "data.path=/mirante/photos/span-{SPAN}",
        *("transform.height_px=32", "transform.width_px=32", "transform.channels=1"),
        *("transform.normalization=zero_one", "model.name=lenet", "model.weights=null"),
        "training.epochs=3",
        "evaluation.thresholds={accuracy: 0.2}",
        "kubeflow.pipeline_root=/mirante/spans",
    )
    write_span(cluster, 1)
    result = cluster.submit(package, "--run-name", "every minute", "--cron", "* * * * *")
    pushed = cluster.volume / "spans/serving"
    try:
        for span in (1, 2):
            started = time.monotonic()
            if span > 1:
                write_span(cluster, span)
            wait_until(lambda: len(list(pushed.glob("*/saved_model.pb"))) >= span, _SPAN_SECS, f"span {span}")  # noqa: B023
            taken = {
                json.loads(file.read_text())["data"]["span"]
                for file in cluster.volume.glob("spans/runs/*/recipe.json")
            }
            assert span in taken, f"the runs took {taken}"
            yield f"span {span} pushed {time.monotonic() - started:.0f} s after it was there"
    finally:
        Server(cluster.host, None, None).delete_recurring_run(result["recurring_run_id"])


PARTS: dict[str, Callable[[Cluster, str, Path], Iterator[str]]] = {
    "workers": train_on_two_pods,
    "bucket": run_in_bucket,
    "spans": take_spans,
}


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Acceptance on a real cluster.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    parser.add_argument("--image", default="mirante:ci")
    options = parser.parse_args()
    failed = 0
    with running_pods(options.image) as cluster, tempfile.TemporaryDirectory() as folder:
        for name in options.parts or PARTS:
            try:
                for said in PARTS[name](cluster, options.image, Path(folder)):
                    print(f"{name:10} {said}", flush=True)
            except AssertionError as e:
                failed += 1
                print(f"{name:10} FAILED: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
