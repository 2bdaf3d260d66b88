"""Settings of the Trainer: the part `training` of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.base.errors import UsageError
from components.base.settings import (
    NotNegative,
    NotNegativeFloat,
    NotSearched,
    Number,
    Pixels,
    Positive,
    PositiveFloat,
    Settings,
    Share,
)
from components.base.words import suggest_and_list
from components.trainer.augment.config import AugmentationConfig
from components.trainer.optimizers.config import EmaConfig, OptimizerName, OptimizerOptions
from components.trainer.tracking.config import TrackingConfig
from components.trainer.warm_start.config import WarmStartConfig

_PLACE = NotSearched("it changes where the training runs, not what is learned")
_COMPUTED = NotSearched("it changes how the step is computed, not what is learned")
_NOTHING_LEARNED = NotSearched("it makes no difference to what is learned", same_model=True)

Strategy = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]


def _check_weights(value: Any) -> Any:
    """Refuse what is no weights, in one line; return class names that YAML reads as numbers as texts."""
    if value in ("none", "balanced"):
        return value
    what = "expected none, balanced, or a mapping of class names to numbers above 0"
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{what}, got {value!r}")
    for name, weight in value.items():
        is_name = isinstance(name, str | int) and not isinstance(name, bool)
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_name or not is_number or not 0 < weight < 3e38:
            raise ValueError(f"{what}, got {name!r}: {weight!r}")
    return {str(name): float(weight) for name, weight in value.items()}


ClassWeights = Annotated[Literal["none", "balanced"] | dict[str, float], BeforeValidator(_check_weights)]


class TpuConfig(Settings):
    """The TPU of `strategy: tpu`."""

    name: str = Field("local", description="`local` on a TPU VM; otherwise the TPU's name or gRPC address")
    zone: str | None = Field(
        None, description="Google Cloud zone of the TPU; null for that of the environment"
    )
    project: str | None = Field(
        None, description="Google Cloud project of the TPU; null for that of the environment"
    )


class CheckpointConfig(Settings):
    """Checkpoints from which a killed training resumes."""

    steps: Positive = Field(
        500, description="steps between two checkpoints; there is also one after each epoch"
    )
    min_secs: NotNegativeFloat = Field(
        10.0, description="minimum seconds between two checkpoints, except at the end of a stage"
    )
    max_secs: Positive | None = Field(
        60,
        description="most seconds of training between two checkpoints, if one machine trains; null to count "
        "only steps",
    )
    keep: Positive = Field(2, description="checkpoints that are kept, the newest ones")


class GuardConfig(Settings):
    """When to stop a training that learns nothing."""

    steps: Positive | None = Field(
        500,
        description="a training stops after this many steps that are no better than guessing, before its "
        "end also only after a fifth of a stage; null to check only for NaN",
    )


class TrainingConfig(Settings):
    """Devices, epochs, batches and learning rates of a training (docs/training.md)."""

    strategy: Annotated[Strategy, _PLACE] = Field(
        "auto",
        description="which devices train together; auto takes what the machine has: a cluster in "
        "TF_CONFIG, all GPUs, or the CPU",
    )
    num_gpus: Annotated[Positive | None, _PLACE] = Field(
        None, description="GPUs to use; null for all of them"
    )
    tpu: Annotated[TpuConfig, _PLACE] = TpuConfig()
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="mixed computes in 16 bits and keeps weights in 32; mixed_float16 also scales the loss",
    )
    jit_compile: Annotated[bool | None, _COMPUTED] = Field(
        None,
        description="whether XLA compiles the training step; null for yes except on CPUs "
        "(docs/decisions/004-xla-off-on-cpus.md)",
    )
    debug: Annotated[Literal["eager"] | None, _COMPUTED] = Field(
        None, description="eager runs the training step line by line, slowly; null for a graph"
    )
    cache: Annotated[
        Literal["auto", "memory", "disk", "none"], NotSearched("the images are decoded once for all trials")
    ] = Field(
        "auto", description="where decoded pixels are kept between epochs; none decodes them again in each"
    )
    epochs: Annotated[Positive, NotSearched("tuner.epochs says how long a trial trains")] = Field(
        10, description="epochs of the first stage, in which a pretrained backbone is frozen"
    )
    fine_tune_epochs: NotNegative = Field(
        0, description="epochs of the second stage, in which the pretrained backbone is trained too"
    )
    global_batch_size: Positive | None = Field(
        None,
        description="images per step of all replicas together; null for 32, or for per_replica_batch_size",
    )
    per_replica_batch_size: Positive | None = Field(
        None, description="images per step of each replica; null for global_batch_size"
    )
    optimizer: OptimizerName = Field(
        "adam", description="the rule by which gradients change the weights (docs/training.md)"
    )
    optimizer_options: OptimizerOptions = OptimizerOptions()
    learning_rate: PositiveFloat = Field(
        1e-3, description="learning rate of the first stage, the highest one of the schedule"
    )
    fine_tune_learning_rate: PositiveFloat = Field(
        1e-5, description="learning rate of the second stage, likewise"
    )
    learning_rate_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="linear multiplies the learning rates by the number of replicas, sqrt by its square "
        "root; with per_replica_batch_size",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate over a stage: constant, or falling to 0 by a cosine"
    )
    warmup_epochs: NotNegative = Field(
        0,
        description="first epochs of each stage, in which the learning rate rises from 0; fewer than epochs",
    )
    weight_decay: NotNegativeFloat = Field(
        0.0,
        description="decoupled weight decay of any optimizer, as a factor of the learning rate; 0 for none",
    )
    clip_norm: PositiveFloat | None = Field(
        None, description="norm that all gradients of a step together are cut down to; null for any norm"
    )
    gradient_parts: Annotated[Positive, Field(le=64)] = Field(
        1,
        description="parts in which each replica computes the gradients of its batch, one after the other "
        "(gradient accumulation); memory is needed for one of them",
    )
    ema: EmaConfig | None = Field(
        None, description="a moving average of the weights; null for none (docs/training.md)"
    )
    train_px: Annotated[Pixels | None, NotSearched("it has to fit the network and transform.height_px")] = (
        Field(
            None,
            description="height that training images are made smaller to, the width in proportion; eval, "
            "test and serving keep transform.height_px; null for the same",
        )
    )
    label_smoothing: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="share of each label that is spread over all classes"
    )
    class_weights: ClassWeights = Field(
        "none",
        description="factors of the training loss by class, 1 for a class that is not named; balanced for "
        "images / (classes x images of the class) (docs/training.md)",
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        "shuffled",
        description="shuffled takes every train image once per epoch; balanced takes equally many images of "
        "each class, and as many in all",
    )
    label_threshold: Literal["f1"] | Share = Field(
        "f1",
        description="with task: multilabel the probability from which an image gets a label: f1 for the "
        "highest F1 of each class on the eval split, or a number for all classes",
    )
    patience_epochs: Positive | None = Field(
        None,
        description="a stage stops after this many epochs without a lower eval loss, and the weights of "
        "the best epoch are exported; null to train all epochs and export the last weights",
    )
    seed: Annotated[NotNegative, NotSearched("a seed that is lucky on the eval split is not on another")] = (
        Field(0, description="random seed of weights, order and augmentation")
    )
    warm_start: Annotated[WarmStartConfig | None, NotSearched("all trials start from the same weights")] = (
        Field(
            None, description="weights to start from (docs/warm-start.md); null for those of `model.weights`"
        )
    )
    augmentation: AugmentationConfig = AugmentationConfig()
    checkpoints: Annotated[
        CheckpointConfig, NotSearched("they make no difference to what is learned", same_model=True)
    ] = CheckpointConfig()
    guard: Annotated[GuardConfig, _NOTHING_LEARNED] = GuardConfig()
    log_every_steps: Annotated[Positive | None, _NOTHING_LEARNED] = Field(
        None, description="steps between two lines of the log; null for one line after each epoch"
    )
    tracking: Annotated[TrackingConfig, _NOTHING_LEARNED] = TrackingConfig()

    def batch_size(self, num_replicas: int) -> int:
        """Return the examples that all replicas together take in one step."""
        if self.per_replica_batch_size:
            return self.per_replica_batch_size * num_replicas
        return self.global_batch_size or 32

    def rate_factor(self, num_replicas: int) -> float:
        """Return the factor of the learning rates, by `learning_rate_scaling`."""
        return {"none": 1.0, "linear": float(num_replicas), "sqrt": num_replicas**0.5}[
            self.learning_rate_scaling
        ]

    def train_shape(self, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return height, width and channels of the images in training, by those of Transform."""
        height, width, channels = input_shape
        if self.train_px is None:
            return input_shape
        return self.train_px, max(1, round(width * self.train_px / height)), channels

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Refuse a weight for a class that the data do not have.

        Raises:
            UsageError: The message names the nearest class.
        """
        named = self.class_weights if isinstance(self.class_weights, dict) else {}
        for name in named:
            if name not in class_names:
                raise UsageError(
                    f"training.class_weights: the data have no class {name!r}"
                    f"{suggest_and_list(name, class_names)}"
                )

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
        self.optimizer_options.of(self.optimizer)
        smallest = self.per_replica_batch_size or self.batch_size(1)
        if self.gradient_parts > smallest:
            raise ValueError(
                f"gradient_parts: expected at most the images of a batch ({smallest}), got "
                f"{self.gradient_parts}"
            )
        if self.learning_rate_scaling != "none" and not self.per_replica_batch_size:
            raise ValueError(
                f"learning_rate_scaling: {self.learning_rate_scaling} is for per_replica_batch_size; a "
                "global_batch_size is the same on any number of replicas, and so is its rate"
            )
        if self.class_weights != "none" and self.sampling == "balanced":
            raise ValueError(
                "class_weights: expected none with sampling: balanced, which makes up for the classes' sizes "
                "too; leave one of them out"
            )
        if self.debug and self.jit_compile:
            raise ValueError("debug: eager runs without a graph, and jit_compile needs one: leave one out")
        return self
