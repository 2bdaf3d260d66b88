"""Typed settings of the steps, as recipes write them. Imports no TensorFlow.

Every class refuses unknown keys and is frozen; `pipeline.config` joins them to a recipe and words the errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
# Strict: else `epochs: yes` would be one epoch.
Positive = Annotated[int, Field(ge=1, strict=True)]
NotNegative = Annotated[int, Field(ge=0, strict=True)]

Normalization = Literal["zero_one", "minus_one_one", "imagenet", "imagenet_caffe", "standardize"]

# What the published ImageNet weights of each model were trained on. Feeding them anything else trains
# without an error and never gets good, so a recipe that does is refused.
PRETRAINED_NORMALIZATION: dict[str, Normalization] = {
    "mobilenet_v2": "minus_one_one",
    "vgg16": "imagenet_caffe",
}


# What Evaluator measures on the test split, and `evaluation.thresholds` bounds; see components.evaluator.
METRICS = ("accuracy", "loss", "auc", "top_5_accuracy")


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DataConfig(Settings):
    """Where the examples come from, and when they are refused."""

    source: str = Field("folder", description="cifar, csv, digits, folder, idx, tfds or tfrecord")
    path: str | None = Field(None, description="raw input, or a name for tfds; `--data` sets it")
    splits: dict[Literal["train", "eval", "test"], Share] = {"train": 0.8, "eval": 0.1, "test": 0.1}
    split_names: dict[str, Literal["train", "eval", "test"]] = {}
    shards: Positive | None = None
    workers: Positive | None = None
    resize_px: Positive | None = None
    max_reject_share: Share = 0.01
    min_test_images: NotNegative = Field(
        1, description="test images that each class must have; 0 lets pass what cannot be judged"
    )
    max_label_drift: Share = Field(
        0.1, description="largest difference of a class's share between train and eval"
    )
    check_images: bool = Field(True, description="whether DataGate decodes every image")


class TransformConfig(Settings):
    """What every image becomes: float32 [height_px, width_px, channels]."""

    height_px: Positive = 224
    width_px: Positive = 224
    channels: Literal[1, 3] = 3
    resize: Literal["bilinear", "pad"] = Field(
        "bilinear", description="bilinear fills the frame; pad keeps the aspect ratio and adds black"
    )
    normalization: Normalization = "zero_one"

    @model_validator(mode="after")
    def _colour_modes_need_colour(self) -> TransformConfig:
        if self.channels != 3 and self.normalization.startswith("imagenet"):
            raise ValueError(
                f"normalization: {self.normalization} needs channels: 3, got channels: {self.channels}"
            )
        return self


class ModelConfig(Settings):
    """Which network, and where its weights start."""

    name: Literal["lenet", "cifar_resnet", "mobilenet_v2", "vgg16"] = "mobilenet_v2"
    weights: str | None = Field(None, description="a weights file, `imagenet` (Keras' download), or null")
    alpha: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="width of mobilenet_v2; read from the weights file when unset"
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _keys_fit_the_model(self) -> ModelConfig:
        if self.weights is not None and self.name not in PRETRAINED_NORMALIZATION:
            raise ValueError(
                f"weights: {self.name} starts from random weights; weights are for "
                f"{', '.join(sorted(PRETRAINED_NORMALIZATION))}"
            )
        if self.alpha is not None and self.name != "mobilenet_v2":
            raise ValueError(f"alpha: only mobilenet_v2 has a width, got name: {self.name}")
        return self


class AugmentationConfig(Settings):
    """How training images are varied; evaluation and serving never are."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "none"
    translation: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="shifted by up to this share of height and width; what is uncovered is mirrored"
    )
    erasing: Share = Field(
        0.0, description="chance that a rectangle of 2 to 33 % of the image is filled with 0"
    )


class TrainingConfig(Settings):
    """How the network is trained, on one device."""

    epochs: Positive = 10
    fine_tune_epochs: NotNegative = Field(
        0, description="epochs with the pretrained backbone unfrozen, after `epochs` with it frozen"
    )
    global_batch_size: Positive = 32
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    fine_tune_learning_rate: Annotated[float, Field(gt=0.0)] = 1e-5
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NotNegative = 0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    patience_epochs: Positive | None = Field(
        None, description="stop after so many epochs without a better eval loss; the best weights are kept"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _warmup_is_shorter_than_training(self) -> TrainingConfig:
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise ValueError(
                f"warmup_epochs: must be less than epochs, got {self.warmup_epochs} and {self.epochs}"
            )
        return self


class EvaluationConfig(Settings):
    """What a model must reach on the test split before it is pushed."""

    thresholds: dict[str, float] = Field(
        {}, description="bounds by metric: a lower bound, for loss an upper bound"
    )
    max_regression: dict[str, Annotated[float, Field(ge=0.0)]] = Field(
        {}, description="how much worse than the baseline a metric may be"
    )
    slice_by_class: bool = Field(True, description="all metrics by class too, up to 50 classes")


class InfraValidationConfig(Settings):
    """What a model must do in a fresh process before it is pushed."""

    images: Positive = Field(8, description="real images sent through every signature")
    time_limit_secs: Positive = Field(120, description="for loading and answering together")


class PushConfig(Settings):
    """Where a blessed model goes."""

    destination: str | None = Field(None, description="versioned folder; `<root>/serving` when unset")
