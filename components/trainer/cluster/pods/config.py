"""How many pods train together, and how a Trainer gets to know. Imports no TensorFlow."""

import os
from typing import Annotated

from pydantic import Field

from components.base.settings import Positive, Settings

# Not in the pipeline's definition: which machine does the work must not decide what is cached.
REQUEST = "MIRANTE_WORKER_PODS"


class WorkerPodsConfig(Settings):
    """Pods on Kubernetes that train together."""

    replicas: Annotated[int, Field(ge=2, strict=True)] = Field(
        description="pods that train, including the Trainer's own"
    )
    port: Annotated[int, Field(ge=1024, le=65535, strict=True)] = Field(
        2222, description="port on which the pods talk to each other"
    )
    startup_timeout_secs: Positive = Field(
        900, description="seconds until all pods must have started, including the pull of the image"
    )


def request_workers(config: WorkerPodsConfig) -> None:
    """Make the Trainer in this process (or a child) train with worker pods.

    They are started when it begins to train: not at all where its result comes from the cache.
    """
    os.environ[REQUEST] = config.model_dump_json()


def requested_workers() -> WorkerPodsConfig | None:
    """Return the requested worker pods; None if there are none."""
    text = os.environ.get(REQUEST)
    return WorkerPodsConfig.model_validate_json(text) if text else None
