"""Where training runs: one device, all GPUs of a machine, several machines, or a TPU.

All of them run one and the same step (components/trainer/step.py); what differs is how many replicas a batch
is spread over.
"""

import dataclasses
import json
import logging
import os
import platform
from typing import Any

import tensorflow as tf

from components.base.errors import MiranteError
from components.trainer.config import TrainingConfig

logger = logging.getLogger("mirante.trainer")


@dataclasses.dataclass(frozen=True)
class Place:
    """A strategy, and this process' part in it.

    Attributes:
        strategy: To create variables under and to run steps by.
        num_replicas: Copies of the model that share a batch, on all machines.
        worker: This process' number in the cluster, the chief 0.
        num_workers: Processes of the cluster; 1 without a cluster.
    """

    strategy: tf.distribute.Strategy
    num_replicas: int = 1
    worker: int = 0
    num_workers: int = 1

    @property
    def is_chief(self) -> bool:
        """True in the process that writes the results."""
        return self.worker == 0

    @property
    def local_replicas(self) -> int:
        """Replicas in this process."""
        return self.num_replicas // self.num_workers


def read_cluster() -> list[str]:
    """Return the addresses of the workers in TF_CONFIG, the chief first; none without a cluster.

    Raises:
        MiranteError: TF_CONFIG is not JSON, or not a cluster of workers.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return []
    try:
        cluster = json.loads(text).get("cluster", {})
        tasks = [*cluster.get("chief", []), *cluster.get("worker", [])]
        unknown = sorted(set(cluster) - {"chief", "worker"})
    except (ValueError, AttributeError, TypeError) as e:
        raise MiranteError(
            "TF_CONFIG cannot be read as a cluster: expected JSON like {'cluster': {'worker': ['host:port', "
            f"...]}}, 'task': {{'type': 'worker', 'index': 0}}}}, got {text[:200]!r}"
        ) from e
    if unknown:
        raise MiranteError(
            f"TF_CONFIG: only chief and worker are known, got {', '.join(unknown)} too: parameter servers "
            "and evaluators have no part in this training"
        )
    return tasks


def is_cluster() -> bool:
    """Return whether TF_CONFIG has more processes than this one."""
    return len(read_cluster()) > 1


def make_place(config: TrainingConfig) -> Place:
    """Return the strategy that `config` asks for, and log it.

    For a cluster, call it before anything else of TensorFlow in this process.

    Raises:
        MiranteError: The machine does not have it.
    """
    kind = config.strategy
    if kind == "auto":
        kind = "multi_worker" if is_cluster() else "mirrored" if _gpus(config) else "one_device"
    place = {
        "one_device": _one_device,
        "mirrored": _mirrored,
        "multi_worker": _multi_worker,
        "tpu": _tpu,
    }[kind](config)
    size = find_batch_size(config, place.num_replicas)
    chosen = f"{kind} (chosen by auto)" if config.strategy == "auto" else kind
    factor = config.rate_factor(place.num_replicas)
    logger.info(
        "strategy: %s, %s; %d images a step, %d a replica; learning rates as given%s",
        chosen,
        _devices(place),
        size,
        size // place.num_replicas,
        "" if factor == 1 else f" x {factor:g} ({config.learning_rate_scaling} in the replicas)",
    )
    return place


def find_batch_size(config: TrainingConfig, num_replicas: int) -> int:
    """Return the examples that all replicas together take in one step.

    Raises:
        MiranteError: They cannot be spread evenly over the replicas.
    """
    size = config.batch_size(num_replicas)
    if size % num_replicas:
        raise MiranteError(
            f"training.global_batch_size: {size} cannot be spread evenly over {num_replicas} replicas: "
            f"give a multiple of {num_replicas}, or training.per_replica_batch_size"
        )
    return size


def describe_kernels() -> str:
    """Describe what computes here: machines with equal descriptions give equal numbers, bit for bit."""
    devices = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    one_dnn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset")
    processor = names[0] if names else platform.machine()
    return ", ".join(
        [f"TensorFlow {tf.__version__}", f"TF_ENABLE_ONEDNN_OPTS {one_dnn}", processor, *devices]
    )


def _devices(place: Place) -> str:
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    if isinstance(place.strategy, tf.distribute.TPUStrategy):
        kind = "TPU core"
    plural = "s" if place.num_replicas != 1 else ""
    where = f" on {place.num_workers} machines" if place.num_workers > 1 else ""
    return f"{place.num_replicas} {kind}{plural}{where}"


def _gpus(config: TrainingConfig) -> list[str]:
    """Return the names of the GPUs to use.

    Raises:
        MiranteError: There are fewer than `num_gpus`.
    """
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    if config.num_gpus is None:
        return names
    if config.num_gpus > len(names):
        found = len(names) or "none"
        raise MiranteError(
            f"training.num_gpus: {config.num_gpus} are asked for and TensorFlow finds {found} here: is the "
            "driver installed, and CUDA_VISIBLE_DEVICES set? Leave num_gpus out to take what there is"
        )
    return names[: config.num_gpus]


def _one_device(config: TrainingConfig) -> Place:
    # Checks num_gpus; TensorFlow itself uses a GPU if there is one.
    _gpus(config)
    return Place(tf.distribute.get_strategy())


def _mirrored(config: TrainingConfig) -> Place:
    # Without GPUs, the logical CPUs: one, unless somebody has split the CPU up.
    devices = _gpus(config) or [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) == 1:
        with tf.device(devices[0]):
            return Place(tf.distribute.get_strategy())
    strategy = tf.distribute.MirroredStrategy(devices)
    return Place(strategy, strategy.num_replicas_in_sync)


def _multi_worker(config: TrainingConfig) -> Place:
    if not is_cluster():
        raise MiranteError(
            "training.strategy: multi_worker needs a cluster in TF_CONFIG, JSON like {'cluster': {'worker': "
            "['host1:port', 'host2:port']}, 'task': {'type': 'worker', 'index': 0}}; for the GPUs of one "
            "machine take mirrored"
        )
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    index = int(task["index"])
    if task["type"] == "worker":
        index += len(json.loads(os.environ["TF_CONFIG"])["cluster"].get("chief", []))
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Place(strategy, strategy.num_replicas_in_sync, worker=index, num_workers=len(read_cluster()))


def _tpu(config: TrainingConfig) -> Place:
    tpu = config.tpu
    try:
        resolver: Any = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=tpu.name, zone=tpu.zone, project=tpu.project
        )
        if tpu.name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except Exception as e:
        raise MiranteError(
            f"training.strategy: tpu: no TPU could be reached as {tpu.name!r}: "
            f"{str(e).strip().splitlines()[0][:300]}. On a TPU VM take training.tpu.name=local and a "
            "TensorFlow built with TPU support (tensorflow-tpu); from elsewhere give its name, zone and "
            "project"
        ) from e
    return Place(strategy, strategy.num_replicas_in_sync)
