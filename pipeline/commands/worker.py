"""`mirante worker`: take part in a training on several machines."""

import os

import click

from components.base.errors import UsageError
from pipeline.commands.shared import example


@click.command(epilog=example("TF_CONFIG='{...}' mirante worker /shared/runs/cifar10"))
@click.argument("root")
def worker(root: str) -> int:
    """Take part in a training on several machines.

    ROOT is the pipeline root of the `mirante run` that is the chief, on a file system that all machines see
    (or a bucket). TF_CONFIG names the cluster and this process' place in it; in a worker pod, the pod's
    Job does. Waits until the chief reaches its Trainer, and ends with the training.
    """
    import logging
    import math

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from components.trainer.cluster.pods.environment import worker_place

    wait_secs = math.inf
    if place := worker_place(os.environ):
        os.environ["TF_CONFIG"], wait_secs = place
    from components.trainer.cluster.processes import run_as_worker
    from components.trainer.strategy import read_cluster
    from pipeline.run.console import RedactedFormatter

    if len(read_cluster()) < 2:
        raise UsageError(
            "TF_CONFIG names no cluster: expected JSON like {'cluster': {'worker': "
            "['host1:port', 'host2:port']}, 'task': {'type': 'worker', 'index': 1}}"
        )
    handler = logging.StreamHandler()
    handler.setFormatter(RedactedFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    run_as_worker(root, wait_secs)
    return 0
