"""Strategies: what is chosen, what is refused, and that any number of replicas learns the same."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError
from components.trainer.config import TrainingConfig
from components.trainer.optimizers.config import OPTIONS
from components.trainer.strategy import is_cluster, make_place, read_cluster
from tests.make.quick import quick_python

REPOSITORY = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("localhost", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def cluster(count: int) -> list[str]:
    """TF_CONFIG of each of the workers, on this machine."""
    workers = [f"localhost:{port}" for port in free_ports(count)]
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


def start(kind: str, folder: Path, tf_config: str | None = None) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if tf_config:
        environment["TF_CONFIG"] = tf_config
    return subprocess.Popen(
        [quick_python(), "-m", "tests.replicas", kind, str(folder)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def result(folder: Path, *processes: subprocess.Popen[str]) -> dict[str, Any]:
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert len(results) == len(processes)
    # All of them have and tell the same.
    assert all(other == results[0] for other in results)
    return results[0]


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The trainings of tests/replicas.py on one device, on two, and in two processes."""
    root = tmp_path_factory.mktemp("courses")
    found = {kind: result(root / kind, start(kind, root / kind)) for kind in ("one", "mirrored")}
    folder = root / "cluster"
    workers = [start("cluster", folder, tf_config) for tf_config in cluster(2)]
    return {**found, "cluster": result(folder, *workers)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mirrored", "cluster"])
def test_two_replicas_teach_a_detector_what_one_does(courses: dict[str, dict[str, Any]], kind: str) -> None:
    one, two = courses["one"]["detector"], courses[kind]["detector"]
    assert one["losses"][1] < one["losses"][0]
    for key in ("losses", "box_losses", "eval_losses"):
        assert len(one[key]) == 2
        np.testing.assert_allclose(two[key], one[key], rtol=1e-5)
    for mine, theirs in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mirrored", "cluster"])
def test_two_replicas_have_the_curve_of_one(courses: dict[str, dict[str, Any]], kind: str) -> None:
    one, two = courses["one"]["plain"], courses[kind]["plain"]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for curve in ("losses", "eval_losses"):
        np.testing.assert_allclose(two[curve], one[curve], rtol=1e-5, atol=1e-6)
    assert two["eval_accuracies"] == one["eval_accuracies"]
    assert len(one["norms"]) == 1
    np.testing.assert_allclose(two["norms"], one["norms"], rtol=1e-4)
    for weights, expected in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
    # It is a curve that goes somewhere.
    assert one["losses"][-1] < 0.8 * one["losses"][0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mirrored", "cluster"])
def test_every_optimizer_does_on_two_replicas_what_it_does_on_one(
    courses: dict[str, dict[str, Any]], kind: str
) -> None:
    one, two = courses["one"]["optimizers"], courses[kind]["optimizers"]
    assert set(one) == set(OPTIONS)
    for name, weights in one.items():
        np.testing.assert_allclose(two[name], weights, rtol=1e-5, err_msg=name)
        assert weights != [1.0, -2.0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mirrored", "cluster"])
def test_with_batch_norm_and_augmentation_two_replicas_end_where_one_does(
    courses: dict[str, dict[str, Any]], kind: str
) -> None:
    one, two = courses["one"]["varied"], courses[kind]["varied"]
    assert min(one["eval_accuracies"][-1], two["eval_accuracies"][-1]) >= 0.9
    assert two["losses"] != one["losses"]  # batch statistics are of half a batch
    assert two["losses"][-1] == pytest.approx(one["losses"][-1], rel=0.3)


def test_auto_takes_the_cpu_where_there_is_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "mirante.trainer"):
        place = make_place(TrainingConfig(global_batch_size=48))
    assert (place.num_replicas, place.is_chief, place.local_replicas) == (1, True, 1)
    if not tf.config.list_physical_devices("GPU"):
        assert (
            "strategy: one_device (chosen by auto), 1 CPU; 48 images a step, 48 a replica; learning rates as "
            "given" in caplog.text
        )


@pytest.mark.parametrize("strategy", ["auto", "mirrored", "one_device"])
def test_more_gpus_than_there_are(strategy: str) -> None:
    found = len(tf.config.list_physical_devices("GPU"))
    with pytest.raises(MiranteError, match=r"training\.num_gpus: 99 are asked for and TensorFlow finds") as e:
        make_place(TrainingConfig(strategy=strategy, num_gpus=99))
    assert (str(found) if found else "none") in str(e.value)


def test_a_tpu_that_is_not_there() -> None:
    with pytest.raises(MiranteError, match=r"no TPU could be reached as 'local'.*tensorflow-tpu"):
        make_place(TrainingConfig(strategy="tpu"))


def test_several_machines_need_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert not is_cluster()
    with pytest.raises(MiranteError, match="multi_worker needs a cluster in TF_CONFIG"):
        make_place(TrainingConfig(strategy="multi_worker"))


def test_tf_config_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}}')
    assert read_cluster() == ["a:1", "b:1", "c:1"]
    assert is_cluster()
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["b:1"]}}')
    assert not is_cluster()
    for broken in ("{", "[]", '{"cluster": 3}'):
        monkeypatch.setenv("TF_CONFIG", broken)
        with pytest.raises(MiranteError, match="TF_CONFIG cannot be read as a cluster: expected JSON"):
            read_cluster()
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}')
    with pytest.raises(MiranteError, match="only chief and worker are known, got ps too"):
        read_cluster()


def test_batch_sizes_and_rates() -> None:
    assert TrainingConfig().batch_size(4) == 32
    assert TrainingConfig(global_batch_size=64).batch_size(4) == 64
    per_replica = TrainingConfig(per_replica_batch_size=64)
    assert [per_replica.batch_size(count) for count in (1, 4)] == [64, 256]
    assert per_replica.rate_factor(4) == 1
    linear = TrainingConfig(per_replica_batch_size=64, learning_rate_scaling="linear")
    root = TrainingConfig(per_replica_batch_size=64, learning_rate_scaling="sqrt")
    assert (linear.rate_factor(4), root.rate_factor(4)) == (4, 2)
    assert linear.rate_factor(1) == 1
