"""The part `vertex:` of a recipe: where on Vertex AI its pipeline runs, and with what. No TensorFlow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import Number, Positive, Settings
from components.base.words import suggest_and_list
from pipeline.steps import STEPS

# What Google Cloud takes as a project's ID or number, and as a region's name.
PROJECT = r"^([a-z][-a-z0-9:.]{4,61}[a-z0-9]|\d{6,15})$"
REGION = r"^[a-z]+-[a-z]+\d{1,2}$"
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
    ] = Field(description="type of the accelerators")
    count: Literal[1, 2, 4, 8, 16] = Field(1, description="accelerators of the machine")


class VertexTaskConfig(Settings):
    """Resources of a task; Vertex AI finds a machine that has them."""

    cpu: Annotated[Number, Field(gt=0.0, le=416.0)] | None = Field(
        None, description="virtual CPUs; null for Vertex AI's default"
    )
    memory_gb: Annotated[Number, Field(gt=0.0, le=12000.0)] | None = Field(
        None, description="memory in GB of 10^9 bytes; null for Vertex AI's default"
    )
    accelerator: AcceleratorConfig | None = Field(
        None, description="accelerators of the machine; null for none"
    )


class TrainingJobConfig(Settings):
    """The machine of Vertex AI's custom training."""

    machine_type: MachineType = Field("n1-standard-8", description="machine type, as Compute Engine names it")
    accelerator: AcceleratorConfig | None = Field(
        None, description="accelerators of the machine; null for none"
    )


class DeploymentConfig(Settings):
    """The endpoint of Vertex AI that serves a blessed model."""

    endpoint: Annotated[str, Field(pattern=r"^[^\"\\\n]{1,128}$")] = Field(
        description="display name of the endpoint; it is created if it does not exist"
    )
    serving_image: str = Field(
        "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
        description="Vertex AI's container for TensorFlow models; a region's own is nearest",
    )
    machine_type: MachineType = Field("n1-standard-4", description="machine type, as Compute Engine names it")
    accelerator: AcceleratorConfig | None = Field(
        None, description="accelerators of the machine; null for none"
    )
    min_replicas: Positive = Field(1, description="least machines that serve")
    max_replicas: Positive = Field(1, description="most machines that serve")

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> DeploymentConfig:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas: expected min_replicas ({self.min_replicas}) or more, got {self.max_replicas}"
            )
        return self


class VertexConfig(Settings):
    """A recipe as a pipeline of Vertex AI (docs/vertex.md)."""

    project: Annotated[str, Field(pattern=PROJECT)] = Field(
        description="Google Cloud project, by ID or number"
    )
    region: Annotated[str, Field(pattern=REGION)] = Field(
        description="region of the run, such as europe-west4"
    )
    pipeline_root: BucketFolder = Field(
        description="bucket folder for artifacts, checkpoints and pushed models"
    )
    data_root: BucketFolder = Field(
        description="bucket folder with a copy of the data that `mirante ingest` made"
    )
    service_account: ServiceAccount | None = Field(
        None,
        description="service account of the training job and the endpoint, the same as the run's; null "
        "for the project's default",
    )
    training: TrainingJobConfig | None = Field(
        None, description="Vertex AI's custom training; null to train in the Trainer's task"
    )
    deployment: DeploymentConfig | None = Field(
        None, description="endpoint for a blessed model; null to push it to push.destination"
    )
    defaults: VertexTaskConfig = Field(VertexTaskConfig(), description="what every task asks for")
    tasks: dict[str, VertexTaskConfig] = Field(
        {}, description="what the task of a node asks for, instead of defaults"
    )

    @model_validator(mode="after")
    def _names_are_of_tasks(self) -> VertexConfig:
        # Vertex itself does what a resolver does: it starts no container.
        known = [step.id for step in STEPS if not step.is_resolver]
        for name in self.tasks:
            if name not in known:
                raise ValueError(f"tasks: there is no task {name!r}{suggest_and_list(name, known)}")
        return self

    def task(self, name: str) -> VertexTaskConfig:
        """Return what the task of a node asks for."""
        return self.tasks.get(name, self.defaults)
