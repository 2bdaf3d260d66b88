"""Settings of the Trainer: the part `training` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import NotNegative, NotNegativeFloat, Number, Positive, PositiveFloat, Settings
from components.trainer.augment.config import AugmentationConfig
from components.trainer.tracking.config import TrackingConfig
from components.trainer.warm_start.config import WarmStartConfig

Strategy = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]


class TpuConfig(Settings):
    """The TPU of `strategy: tpu`."""

    name: str = Field("local", description="`local` on a TPU VM, else its name or its gRPC address")
    zone: str | None = None
    project: str | None = None


class CheckpointConfig(Settings):
    """What is kept of a training that is going on, so that it can go on after it was killed."""

    steps: Positive = Field(500, description="one after so many steps, and one after each epoch")
    min_secs: NotNegativeFloat = Field(
        10.0, description="none so soon after the last one, the end of a stage apart"
    )
    keep: Positive = 2


class GuardConfig(Settings):
    """When training is stopped because it learns nothing."""

    steps: Positive | None = Field(
        500,
        description="steps before a training can be stopped, before its end also a fifth of a stage; "
        "null: only by NaN",
    )


class TrainingConfig(Settings):
    """How the network is trained, and on what."""

    strategy: Strategy = Field(
        "auto", description="auto takes what the machine has: all GPUs, a cluster in TF_CONFIG, or the CPU"
    )
    num_gpus: Positive | None = Field(None, description="GPUs to use; all of them when unset")
    tpu: TpuConfig = TpuConfig()
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="mixed: computes in 16 bits, keeps weights in 32; float16 with loss scaling"
    )
    jit_compile: bool | None = Field(
        None, description="whether XLA compiles the step; when unset, not on CPUs (docs/decisions/004)"
    )
    debug: Literal["eager"] | None = Field(None, description="eager runs the step line by line, slowly")
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto", description="where decoded pixels are kept; none decodes them anew in every epoch"
    )
    epochs: Positive = 10
    fine_tune_epochs: NotNegative = Field(
        0, description="epochs with the pretrained backbone unfrozen, after `epochs` with it frozen"
    )
    global_batch_size: Positive | None = Field(None, description="of all replicas together; 32 when unset")
    per_replica_batch_size: Positive | None = Field(None, description="instead of global_batch_size")
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    fine_tune_learning_rate: PositiveFloat = 1e-5
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="times the number of replicas, or its root; with per_replica_batch_size"
    )
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NotNegative = Field(
        0, description="first epochs of each stage, in which the rate rises from 0; all but one at most"
    )
    weight_decay: NotNegativeFloat = 0.0
    label_smoothing: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    patience_epochs: Positive | None = Field(
        None,
        description="a stage stops after this many epochs without a better eval loss of its own, and the "
        "weights of the training's best epoch are exported; null exports the last weights",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0
    warm_start: WarmStartConfig | None = Field(None, description="weights to start from (docs/warm-start.md)")
    augmentation: AugmentationConfig = AugmentationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    guard: GuardConfig = GuardConfig()
    tracking: TrackingConfig = TrackingConfig()

    def batch_size(self, num_replicas: int) -> int:
        """Examples that all replicas together take in one step."""
        if self.per_replica_batch_size:
            return self.per_replica_batch_size * num_replicas
        return self.global_batch_size or 32

    def rate_factor(self, num_replicas: int) -> float:
        """What the learning rates are multiplied by, as `learning_rate_scaling` says."""
        return {"none": 1.0, "linear": float(num_replicas), "sqrt": num_replicas**0.5}[
            self.learning_rate_scaling
        ]

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TrainingConfig:
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise ValueError(
                f"warmup_epochs: must be less than epochs, got {self.warmup_epochs} and {self.epochs}"
            )
        if self.global_batch_size and self.per_replica_batch_size:
            raise ValueError(
                "per_replica_batch_size: give this or global_batch_size, the other as null; got "
                f"{self.per_replica_batch_size} and {self.global_batch_size}"
            )
        if self.learning_rate_scaling != "none" and not self.per_replica_batch_size:
            raise ValueError(
                f"learning_rate_scaling: {self.learning_rate_scaling} is for per_replica_batch_size; a "
                "global_batch_size is the same on any number of replicas, and so is its rate"
            )
        if self.debug and self.jit_compile:
            raise ValueError("debug: eager runs without a graph, and jit_compile needs one: leave one out")
        return self
