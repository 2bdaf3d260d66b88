"""The part `kubeflow:` of a recipe: where its tasks run on Kubernetes, and with what. No TensorFlow."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.base.errors import UsageError
from components.base.object_store import parse_url
from components.base.paths import is_remote
from components.base.redact import is_secret
from components.base.settings import NotNegative, Number, Positive, Settings
from components.base.words import suggest_and_list
from components.trainer.cluster.pods.config import WorkerPodsConfig
from pipeline.steps import INGEST, STEPS
from pipeline.storage.config import MetadataConfig, Name, SecretKey

_CPU = re.compile(r"(?P<number>\d{1,9}(\.\d{1,9})?)(?P<unit>m?)")
_MEMORY = re.compile(r"(?P<number>\d{1,18}(\.\d{1,9})?)(?P<unit>([KMGTPE]i?)?)")
_UNITS = {"": 1.0, "m": 1e-3} | {
    f"{letter}{i}": float(base**power)
    for power, letter in enumerate("KMGTPE", start=1)
    for i, base in (("", 1000), ("i", 1024))
}
# More than any machine has, and less than a task can run with.
_MOST_CPU, _LEAST_CPU = 10_000.0, 0.001
_MOST_BYTES, _LEAST_BYTES = float(2**50), float(2**24)

# YAML reads `cpu: 2` as a number.
Quantity = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]


def _check_cpu(value: str) -> str:
    size = _parse_size(_CPU, value)
    if size is None or not _LEAST_CPU <= size <= _MOST_CPU:
        raise ValueError(f"expected cores as 2, 0.5 or 500m, at least 1m and at most 10000, got {value}")
    return value


def _check_memory(value: str) -> str:
    size = _parse_size(_MEMORY, value)
    if size is None or not _LEAST_BYTES <= size <= _MOST_BYTES:
        raise ValueError(f"expected bytes as 8Gi or 512Mi, at least 16Mi and at most 1Pi, got {value}")
    return value


def _parse_size(form: re.Pattern[str], value: str) -> float | None:
    match = form.fullmatch(value)
    return float(match["number"]) * _UNITS[match["unit"]] if match else None


Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class VolumeConfig(Settings):
    """A PersistentVolumeClaim that every task mounts."""

    claim: Name = Field(description="name of the PersistentVolumeClaim")
    mount_path: Annotated[str, Field(pattern=r"^/.+")] = Field(
        description="folder at which every task mounts it"
    )


class TolerationConfig(Settings):
    """A taint of machines that a task tolerates."""

    key: str | None = Field(None, description="key of the taint; null, with operator Exists, for all taints")
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="Equal compares the value too; Exists only the key"
    )
    value: str | None = Field(None, description="value of the taint, for Equal; null for none")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="effect of the taint; null for all effects"
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TolerationConfig:
        if self.operator == "Equal" and not self.key:
            raise ValueError(
                "key: operator Equal compares one, got none; Exists without a key takes all taints"
            )
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(f"value: operator Exists takes none, got {self.value!r}: leave it out")
        return self


class GpuConfig(Settings):
    """GPUs of a task, as the cluster's device plugin names them."""

    type: Literal["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"] = Field(
        "nvidia.com/gpu", description="resource name of the GPUs"
    )
    count: Literal[1, 2, 4, 8, 16] = Field(1, description="GPUs of the task")


class TpuSliceConfig(Settings):
    """The TPU of a task on Google Kubernetes Engine, one host."""

    type: Literal[
        "tpu-v4-podslice", "tpu-v5-lite-device", "tpu-v5-lite-podslice", "tpu-v5p-slice", "tpu-v6e-slice"
    ] = Field(description="accelerator type, as GKE labels its machines")
    topology: Annotated[str, Field(pattern=r"^\d+x\d+(x\d+)?$")] = Field(
        "1x1", description="topology of the slice, as GKE labels its machines"
    )
    chips: Literal[1, 2, 4, 8, 16] = Field(1, description="TPU chips of the task")


class TaskConfig(Settings):
    """Resources and retries of a task."""

    cpu: Annotated[Quantity, AfterValidator(_check_cpu)] | None = Field(
        None, description="cores, such as 2 or 500m, as request and limit; null for the cluster's default"
    )
    memory: Annotated[Quantity, AfterValidator(_check_memory)] | None = Field(
        None, description="bytes, such as 8Gi, as request and limit; null for the cluster's default"
    )
    gpu: GpuConfig | None = Field(None, description="GPUs of the task; null for none")
    tpu: TpuSliceConfig | None = Field(None, description="TPU of the task; null for none")
    node_selector: dict[str, str] = Field({}, description="labels that a machine must have to run the task")
    tolerations: tuple[TolerationConfig, ...] = Field(
        (), description="taints of machines that the task may run on even so"
    )
    retries: NotNegative = Field(0, description="retries of a failed task")
    backoff_secs: Positive = Field(30, description="seconds before the first retry")
    backoff_factor: Annotated[Number, Field(ge=1.0, le=100.0)] = Field(
        2.0, description="factor by which the wait grows with each retry"
    )
    backoff_max_secs: Annotated[int, Field(ge=1, le=3600, strict=True)] = Field(
        3600, description="most seconds before a retry"
    )
    timeout_secs: Positive | None = Field(
        None, description="seconds after which the task has failed; null for no limit"
    )
    env: dict[Variable, str] = Field({}, description="environment variables of the task; no secrets")
    secrets: dict[Variable, SecretKey] = Field(
        {}, description="environment variables whose values come from Secrets"
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TaskConfig:
        if self.gpu and self.tpu:
            raise ValueError("tpu: a task has GPUs or a TPU, got both: leave one out")
        for name, value in self.env.items():
            if is_secret(name, value):
                raise ValueError(
                    f"env.{name}: looks like a secret, and would be in the compiled pipeline for all to "
                    f"read: give it by secrets, e.g. {{{name}: {{secret: NAME, key: KEY}}}}"
                )
        twice = sorted(set(self.env) & set(self.secrets))
        if twice:
            raise ValueError(f"secrets.{twice[0]}: is in env too: leave one out")
        return self


class KubeflowConfig(Settings):
    """A recipe as a pipeline of Kubeflow Pipelines (docs/kubeflow.md)."""

    pipeline_root: str | None = Field(
        None,
        description="folder of the run, below a volume's mount_path, or gs://BUCKET/FOLDER or "
        "s3://BUCKET/FOLDER; null for `/mirante/<recipe>`",
    )
    volumes: tuple[VolumeConfig, ...] = Field(
        (VolumeConfig(claim="mirante", mount_path="/mirante"),),
        description="volumes that every task mounts; none by default if pipeline_root is in a bucket",
    )
    metadata: MetadataConfig = MetadataConfig()
    workers: WorkerPodsConfig | None = Field(
        None, description="pods of training.strategy: multi_worker; null for none"
    )
    service_account: Name | None = Field(
        None, description="Kubernetes service account of the run's tasks; null for the cluster's default"
    )
    defaults: TaskConfig = Field(TaskConfig(), description="what every task asks for")
    tasks: dict[str, TaskConfig] = Field(
        {}, description="what the task of a node, or Ingest, asks for; its keys replace those of defaults"
    )
    together: tuple[tuple[str, ...], ...] | None = Field(
        None,
        description="nodes that follow each other and share a task, such as "
        "`[[StatisticsGen, DistributionValidator]]`; null for few tasks, [] for one task per node",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_bucket_needs_no_volume(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "volumes" in values:
            return values
        return {**values, "volumes": ()} if is_remote(str(values.get("pipeline_root"))) else values

    @model_validator(mode="after")
    def _names_are_of_nodes(self) -> KubeflowConfig:
        nodes = tuple(step.id for step in STEPS)
        named = [("tasks", name, (INGEST.id, *nodes)) for name in self.tasks]
        named += [("together", name, (INGEST.id, *nodes)) for names in self.together or () for name in names]
        for part, name, known in named:
            if name not in known:
                raise ValueError(f"{part}: there is no node {name!r}{suggest_and_list(name, known)}")
        shared = [name for names in self.together or () for name in names]
        for name in shared:
            if shared.count(name) > 1:
                raise ValueError(f"together: {name} is in it twice")
        mount_paths = [volume.mount_path.rstrip("/") for volume in self.volumes]
        if len(set(mount_paths)) < len(mount_paths):
            raise ValueError(f"volumes: two of them have one mount_path, got {', '.join(mount_paths)}")
        return self

    def is_on_volume(self, path: str) -> bool:
        """Return whether a path is below a volume that all tasks mount."""
        below = f"{posixpath.normpath(path)}/"
        return any(below.startswith(f"{volume.mount_path.rstrip('/')}/") for volume in self.volumes)

    def check_root(self, root: str) -> None:
        """Refuse what only a file system can do where the pipeline root is in a bucket.

        Raises:
            UsageError: Names the field.
        """
        try:
            in_bucket = parse_url(root) is not None
        except UsageError as e:
            raise UsageError(f"kubeflow.pipeline_root: {e}") from e
        if not in_bucket:
            return
        if self.metadata.type == "sqlite" and self.metadata.path is None:
            raise UsageError(
                f"kubeflow.metadata: SQLite's file would be in the bucket of pipeline_root {root}, which "
                "takes no database: give type mysql or postgresql, or a path below one of kubeflow.volumes"
            )
        if self.workers is not None:
            raise UsageError(
                "kubeflow.workers: pods that train together write to one folder, and pipeline_root is "
                f"{root}: give a folder on a ReadWriteMany volume, or leave workers out"
            )

    def task(self, name: str) -> TaskConfig:
        """Return what the task of a node asks of the cluster: its own settings, then the defaults."""
        own = self.tasks.get(name)
        if own is None:
            return self.defaults
        values: dict[str, Any] = {key: getattr(self.defaults, key) for key in self.defaults.model_fields_set}
        for key in own.model_fields_set:
            value = getattr(own, key)
            merged = key in ("env", "secrets", "node_selector")
            values[key] = {**values.get(key, {}), **value} if merged else value
        return TaskConfig.model_validate(values)
