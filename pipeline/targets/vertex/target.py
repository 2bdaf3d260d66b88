"""What `pipeline.definition` gives to TFX's Kubeflow V2 runner in place of what that cannot compile.

On Vertex AI there is no ML Metadata store that a resolver of ours could ask, no file of this machine, and for
training and serving there are services of Vertex' own, which TFX's extensions call.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.targets.vertex.config import (
    AcceleratorConfig,
    DeploymentConfig,
    TrainingJobConfig,
    VertexConfig,
)


@dataclasses.dataclass(frozen=True)
class OnVertex:
    """Where a pipeline is to run.

    Attributes:
        config: The recipe's part `vertex`.
        image: What all its containers are made from.
    """

    config: VertexConfig
    image: str


def training_job(training: TrainingJobConfig, on: OnVertex) -> dict[str, Any]:
    """What TFX's extension of the Trainer reads in custom_config: a CustomJob, as Vertex' API has it."""
    from tfx.extensions.google_cloud_ai_platform import constants
    from tfx.extensions.google_cloud_ai_platform.trainer import executor

    job: dict[str, Any] = {
        "worker_pool_specs": [
            {
                "machine_spec": {
                    "machine_type": training.machine_type,
                    **_accelerator(training.accelerator),
                },
                "replica_count": 1,
                "container_spec": {"image_uri": on.image},
            }
        ]
    }
    if on.config.service_account:
        job["service_account"] = on.config.service_account
    return {
        constants.ENABLE_VERTEX_KEY: True,
        constants.VERTEX_REGION_KEY: on.config.region,
        executor.TRAINING_ARGS_KEY: {"project": on.config.project, "job_spec": job},
    }


def deployment(wanted: DeploymentConfig, on: OnVertex) -> dict[str, Any]:
    """What TFX's extension of the Pusher reads in custom_config: arguments of the SDK's `Model.deploy`."""
    from tfx.extensions.google_cloud_ai_platform import constants

    arguments: dict[str, Any] = {
        "project": on.config.project,
        "endpoint_name": wanted.endpoint,
        "machine_type": wanted.machine_type,
        "min_replica_count": wanted.min_replicas,
        "max_replica_count": wanted.max_replicas,
        **_accelerator(wanted.accelerator),
    }
    if on.config.service_account:
        arguments["service_account"] = on.config.service_account
    return {
        constants.ENABLE_VERTEX_KEY: True,
        constants.VERTEX_REGION_KEY: on.config.region,
        constants.VERTEX_CONTAINER_IMAGE_URI_KEY: wanted.serving_image,
        constants.SERVING_ARGS_KEY: arguments,
    }


def _accelerator(asked: AcceleratorConfig | None) -> dict[str, Any]:
    if asked is None:
        return {}
    return {"accelerator_type": asked.type, "accelerator_count": asked.count}
