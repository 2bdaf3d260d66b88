"""The part `vertex:` of a recipe: where on Vertex AI its pipeline runs, and with what. No TensorFlow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import Number, Positive, Settings
from components.base.words import suggest_and_list
from pipeline.steps import STEPS

# A folder of a bucket, or a bucket.
BucketFolder = Annotated[
    str, Field(pattern=r"^gs://[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9](/[^/\s\"'\\{}]+)*$", max_length=1000)
]
MachineType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*-[a-z0-9]+(-[a-z0-9]+)*$")]
ServiceAccount = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.gserviceaccount\.com$")]


class AcceleratorConfig(Settings):
    """Accelerators of a machine, as Vertex AI names them."""

    type: Literal[
        "NVIDIA_TESLA_P4",
        "NVIDIA_TESLA_P100",
        "NVIDIA_TESLA_T4",
        "NVIDIA_TESLA_V100",
        "NVIDIA_TESLA_A100",
        "NVIDIA_A100_80GB",
        "NVIDIA_L4",
        "NVIDIA_H100_80GB",
        "NVIDIA_H100_MEGA_80GB",
    ]
    count: Literal[1, 2, 4, 8, 16] = 1


class VertexTaskConfig(Settings):
    """What the task of a node asks for; Vertex finds a machine that has it."""

    cpu: Annotated[Number, Field(gt=0.0, le=416.0)] | None = Field(None, description="virtual CPUs")
    memory_gb: Annotated[Number, Field(gt=0.0, le=12000.0)] | None = Field(None, description="10^9 bytes")
    accelerator: AcceleratorConfig | None = None


class TrainingJobConfig(Settings):
    """Vertex' custom training: the machine that the Trainer's job gets."""

    machine_type: MachineType = Field("n1-standard-8", description="as Compute Engine calls it")
    accelerator: AcceleratorConfig | None = None


class DeploymentConfig(Settings):
    """An endpoint of Vertex AI that a blessed model is deployed to."""

    endpoint: Annotated[str, Field(pattern=r"^[^\"\\\n]{1,128}$")] = Field(
        description="its display name; made where there is none"
    )
    serving_image: str = Field(
        "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
        description="Vertex' container for TensorFlow models; the region's own is nearest",
    )
    machine_type: MachineType = "n1-standard-4"
    accelerator: AcceleratorConfig | None = None
    min_replicas: Positive = 1
    max_replicas: Positive = 1

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> DeploymentConfig:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas: expected min_replicas ({self.min_replicas}) or more, got {self.max_replicas}"
            )
        return self


class VertexConfig(Settings):
    """How a recipe becomes a pipeline of Vertex AI."""

    project: Annotated[str, Field(pattern=r"^([a-z][-a-z0-9:.]{4,61}[a-z0-9]|\d{6,15})$")]
    region: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+\d{1,2}$")]
    pipeline_root: BucketFolder = Field(description="artifacts, checkpoints and pushed models lie below it")
    data_root: BucketFolder = Field(description="contract data that `mirante ingest` made, copied there")
    service_account: ServiceAccount | None = Field(
        None, description="that the training job and the endpoint run as; that of the run is given with it"
    )
    training: TrainingJobConfig | None = Field(
        None, description="custom training; without it the Trainer trains in its task"
    )
    deployment: DeploymentConfig | None = Field(
        None, description="an endpoint; without one models are pushed to push.destination"
    )
    defaults: VertexTaskConfig = Field(VertexTaskConfig(), description="of every task")
    tasks: dict[str, VertexTaskConfig] = Field({}, description="by node, in place of defaults")

    @model_validator(mode="after")
    def _names_are_of_tasks(self) -> VertexConfig:
        # Vertex itself does what a resolver does: it starts no container.
        known = [step.id for step in STEPS if not step.is_resolver]
        for name in self.tasks:
            if name not in known:
                raise ValueError(f"tasks: there is no task {name!r}{suggest_and_list(name, known)}")
        return self

    def task(self, name: str) -> VertexTaskConfig:
        """What the task of a node asks for."""
        return self.tasks.get(name, self.defaults)
