"""Typed settings of the steps, as recipes write them. Imports no TensorFlow.

Every class refuses unknown keys and is frozen; `pipeline.config` joins them to a recipe and words the errors.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from components import spans
from components.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.redact import find_secret, redact


def _number(value: Any) -> Any:
    """Refuse what pydantic would take for a number and nobody means as one."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
# Strict: else `epochs: yes` would be one epoch. What TensorFlow and protocol buffers count in has 32 bits.
Positive = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
# Of an image's side: larger ones no network takes, and no memory holds.
Pixels = Annotated[int, Field(ge=1, le=16384, strict=True)]
SpanNumber = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
# The numbers of float32, which trainings count in.
Float = Annotated[Number, Field(ge=-3e38, le=3e38)]
PositiveFloat = Annotated[Number, Field(gt=0.0, le=3e38)]
NotNegativeFloat = Annotated[Number, Field(ge=0.0, le=3e38)]

Strategy = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]
Normalization = Literal["none", "zero_one", "minus_one_one", "imagenet", "imagenet_caffe", "standardize"]
EfficientNet = Literal[
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]
Detector = Literal["ssd_mobilenet_v2"]
BuiltInModel = Literal["lenet", "cifar_resnet", "mobilenet_v2", "vgg16", EfficientNet, Detector]

EFFICIENTNETS: tuple[EfficientNet, ...] = get_args(EfficientNet)
DETECTORS: tuple[Detector, ...] = get_args(Detector)
BUILT_IN_MODELS: tuple[BuiltInModel, ...] = get_args(BuiltInModel)
# Networks that have a width.
_WITH_ALPHA = ("mobilenet_v2", "ssd_mobilenet_v2")

# The least height and width that each network takes, in pixels.
SMALLEST_PX: dict[str, int] = {
    "lenet": 16,
    "cifar_resnet": 2,
    "mobilenet_v2": 32,
    "ssd_mobilenet_v2": 64,
    "vgg16": 32,
    **dict.fromkeys(EFFICIENTNETS, 32),
}

# What the published ImageNet weights of each model were trained on. Feeding them anything else trains
# without an error and never gets good, so a recipe that does is refused.
PRETRAINED_NORMALIZATION: dict[str, Normalization] = {
    "mobilenet_v2": "minus_one_one",
    "ssd_mobilenet_v2": "minus_one_one",
    "vgg16": "imagenet_caffe",
    **dict.fromkeys(EFFICIENTNETS, "none"),
}

_BUILDER = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")


# What Evaluator measures on the test split, and `evaluation.thresholds` bounds, by task; see
# components.evaluator.
METRICS: dict[str, tuple[str, ...]] = {
    "classification": (
        "accuracy",
        "loss",
        "auc",
        "top_5_accuracy",
        "balanced_accuracy",
        "min_class_recall",
        *(f"{mean}_{name}" for mean in ("macro", "weighted") for name in ("precision", "recall", "f1")),
    ),
    "detection": ("map", "map_50", "map_75"),
}


# Hyperband trains the best of so many trials on, so many times as long.
HYPERBAND_FACTOR = 3


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, and what is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _span_number(value: Any) -> Any:
    """The span of a date, which YAML reads as one and JSON as a text; anything else as it is."""
    if isinstance(value, str):
        try:
            value = datetime.date.fromisoformat(value)
        except ValueError:
            return value
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return spans.number_of_day(value) if is_date else value


class DataConfig(Settings):
    """Where the examples come from, and when they are refused."""

    source: str = Field(
        "folder", description="cifar, coco, csv, digits, folder, idx, tfds, tfrecord, voc or yolo"
    )
    path: str | None = Field(
        None,
        description="raw input, or a name for tfds; `--data` sets it; with {SPAN}, or {YYYY}, {MM} and {DD}, "
        "the newest of several folders (components.spans)",
    )
    span: Annotated[SpanNumber, BeforeValidator(_span_number)] | None = Field(
        None, description="the span of such a path by its number, or by its date; the newest when null"
    )
    retired_classes: tuple[str, ...] = Field(
        (),
        description="what the served model knows and the next one need not; * for all, and for another task",
    )
    splits: dict[Literal["train", "eval", "test"], Share] = {"train": 0.8, "eval": 0.1, "test": 0.1}
    split_names: dict[str, Literal["train", "eval", "test", "none"]] = {}
    shards: Annotated[int, Field(ge=1, le=99999, strict=True)] | None = None
    workers: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    resize_px: Annotated[int, Field(ge=1, le=65535, strict=True)] | None = None
    max_pixels: Annotated[int, Field(ge=1, le=PILLOW_MAX_PIXELS, strict=True)] = Field(
        DEFAULT_MAX_PIXELS, description="images with more are rejected, before they are decoded"
    )
    max_reject_share: Share = 0.01
    min_test_images: NotNegative = Field(
        1,
        description="test images that each class must have (of boxes: be on); 0 lets pass what is not judged",
    )
    max_label_drift: Share = Field(
        0.1, description="largest difference of a class's share between train and eval"
    )
    label_map: str | None = Field(
        None,
        description="a .pbtxt or .txt file that numbers the classes of boxes; null to sort them by name",
    )
    box_units: Literal["pixels", "shares"] | None = Field(
        None,
        description="what boxes count in, pixels or shares of the image's sides; null for what their "
        "format asks for",
    )
    check_images: bool = Field(True, description="whether DataGate decodes every image")

    @model_validator(mode="before")
    @classmethod
    def _path_is_no_mapping(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(path := values.get("path"), dict):
            raise ValueError(
                f"path: expected a path, got a mapping, {path}: YAML reads a value that begins with a brace "
                "as one; put ./ before it, as in ./{SPAN}"
            )
        return values

    @model_validator(mode="after")
    def _placeholders_fit_together(self) -> DataConfig:
        if self.path is None:  # a parameter of the compiled pipeline may give it
            return self
        if not spans.is_pattern(self.path):
            if self.span is not None:
                raise ValueError(
                    f"span: {self.span}, and the path has no {{SPAN}} and no {{YYYY}}, {{MM}} and {{DD}}: "
                    f"{self.path}; leave one out, or write where in the path the span stands"
                )
            return self
        try:
            spans.check_pattern(self.path)
        except ValueError as e:
            raise ValueError(f"path: {e}") from e
        return self


class TransformConfig(Settings):
    """What every image becomes: float32 [height_px, width_px, channels]."""

    height_px: Pixels = 224
    width_px: Pixels = 224
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


Scale = Annotated[Number, Field(gt=0.0, le=2.0)]


class DetectionConfig(Settings):
    """How a detector finds boxes, and how it is taught to; docs/detection.md."""

    max_boxes: Positive | None = Field(
        None, description="boxes an image is taught with at most; measured from the data when unset"
    )
    min_scale: Scale = Field(0.2, description="anchors of the finest map, as a share of the image's side")
    max_scale: Scale = Field(0.95, description="anchors of the coarsest map; those between grow evenly")
    scales: tuple[Scale, ...] | None = Field(
        None, description="of each feature map, the finest first, instead of min_scale and max_scale"
    )
    aspect_ratios: tuple[PositiveFloat, ...] = Field(
        (1.0, 2.0, 0.5, 3.0, 1 / 3),
        description="width to height of the anchors; one more square lies between two maps' scales",
    )
    extra_layers: Annotated[int, Field(ge=0, le=4, strict=True)] = Field(
        4, description="feature maps after the backbone's two, each half as large as the one before"
    )
    matched_iou: Share = Field(0.5, description="an anchor that overlaps a box so much is to give it")
    unmatched_iou: Share = Field(
        0.4, description="one that overlaps none so much is background; those between do not count"
    )
    train_on_difficult: bool = Field(
        False, description="whether difficult objects are to be found; else what is on them does not count"
    )
    classification_loss: Literal["focal", "hard_negative"] = Field(
        "focal", description="hard_negative: softmax over boxes and the worst of the background"
    )
    focal_alpha: Share = 0.25
    focal_gamma: Annotated[Number, Field(ge=0.0, le=5.0)] = 2.0
    negatives_per_positive: PositiveFloat = Field(3.0, description="for hard_negative")
    box_loss: Literal["smooth_l1", "giou"] = "smooth_l1"
    box_weight: PositiveFloat = Field(
        1.0, description="how much the loss of boxes counts against that of classes"
    )
    min_score: Share = Field(0.01, description="what is served has this score at least")
    nms_iou: Share = Field(
        0.6, description="of two boxes of a class that overlap more, the better one is served"
    )
    candidates: Positive = Field(400, description="boxes of all classes that are compared with each other")
    max_detections: Positive = Field(100, description="boxes that are served for an image at most")

    @model_validator(mode="after")
    def _bounds_fit_together(self) -> DetectionConfig:
        if self.unmatched_iou > self.matched_iou:
            raise ValueError(
                f"unmatched_iou: expected at most matched_iou ({self.matched_iou}), got {self.unmatched_iou}"
            )
        if self.min_scale > self.max_scale:
            raise ValueError(
                f"min_scale: expected at most max_scale ({self.max_scale}), got {self.min_scale}"
            )
        if self.scales is not None and len(self.scales) != 2 + self.extra_layers:
            raise ValueError(
                f"scales: expected one for each of {2 + self.extra_layers} feature maps (two and "
                f"extra_layers), got {len(self.scales)}"
            )
        if not self.aspect_ratios:
            raise ValueError("aspect_ratios: at least one is needed, e.g. [1.0]")
        return self


class ModelConfig(Settings):
    """Which network, and where its weights start."""

    name: str = Field(
        "mobilenet_v2", description="a built-in network, or one's own as package.module:function"
    )
    weights: str | None = Field(None, description="a weights file, `imagenet` (Keras' download), or null")
    alpha: PositiveFloat | None = Field(
        None, description="width of (ssd_)mobilenet_v2; read from the weights file when unset"
    )
    dropout: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.0
    batch_norm: bool = Field(False, description="lenet with batch norm after each convolution")
    residual: bool = Field(False, description="lenet with a residual block after each pooling")
    options: dict[str, JsonValue] = Field(
        {}, description="anything that a network of one's own wants to know"
    )
    detection: DetectionConfig = Field(DetectionConfig(), description="for ssd_mobilenet_v2")

    @property
    def task(self) -> Literal["classification", "detection"]:
        """What the network is for."""
        return "detection" if self.name in DETECTORS else "classification"

    @property
    def builder(self) -> tuple[str, str] | None:
        """Module and function of a network of the user's own; None for a built-in one."""
        match = _BUILDER.fullmatch(self.name)
        return (match["module"], match["function"]) if match else None

    @model_validator(mode="after")
    def _name_is_known(self) -> ModelConfig:
        if self.name not in BUILT_IN_MODELS and self.builder is None:
            near = difflib.get_close_matches(self.name, BUILT_IN_MODELS, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise ValueError(
                f"name: there is no {self.name!r}{hint} Known here: {', '.join(BUILT_IN_MODELS)}; a network "
                "of your own is named by its function, as package.module:function"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_model(self) -> ModelConfig:
        if self.weights is not None and self.name not in PRETRAINED_NORMALIZATION and not self.builder:
            raise ValueError(
                f"weights: {self.name} starts from random weights; weights are for "
                f"{', '.join(sorted(PRETRAINED_NORMALIZATION))}"
            )
        if self.alpha is not None and self.name not in _WITH_ALPHA:
            raise ValueError(f"alpha: only {' and '.join(_WITH_ALPHA)} have a width, got name: {self.name}")
        if self.detection != DetectionConfig() and self.task != "detection":
            raise ValueError(
                f"detection: only {', '.join(DETECTORS)} finds boxes, got name: {self.name}; leave it out"
            )
        for key in ("batch_norm", "residual"):
            if getattr(self, key) and self.name != "lenet":
                raise ValueError(
                    f"{key}: only lenet can be built with and without, got name: {self.name}; leave it out"
                )
        if self.options and not self.builder:
            raise ValueError(
                f"options: these are for a network of your own (name: package.module:function), {self.name} "
                f"knows none; got {', '.join(sorted(self.options))}"
            )
        return self


def check_input(model: ModelConfig, height_px: int, width_px: int, channels: int) -> None:
    """Refuse images that a built-in network cannot take.

    Raises:
        ValueError: It names the key of `transform`.
    """
    least = SMALLEST_PX.get(model.name, 1)
    if min(height_px, width_px) < least:
        key = "height_px" if height_px < least else "width_px"
        raise ValueError(
            f"transform.{key}: {model.name} needs images of at least {least} x {least} px, got {height_px} x "
            f"{width_px}; raise transform.height_px and transform.width_px, or take another model.name"
        )
    if model.weights is not None and channels != 3 and model.builder is None:
        raise ValueError(
            f"transform.channels: the pretrained weights of {model.name} are for 3, got {channels}; gray "
            "images become images of 3 channels too"
        )


class CropConfig(Settings):
    """The part of an image that is cut out and brought back to the image's size."""

    area: tuple[Share, Share] = Field(
        (1.0, 1.0), description="least and largest share of the image's area; [1, 1] cuts nothing"
    )
    aspect: tuple[Float, Float] = Field(
        (3 / 4, 4 / 3), description="least and largest width to height, as a share of the image's own"
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> CropConfig:
        for name, (low, high) in (("area", self.area), ("aspect", self.aspect)):
            if not 0.0 < low <= high < float("inf"):
                raise ValueError(f"{name}: expected [least, largest], both above 0, got [{low}, {high}]")
        return self


class ObjectCropConfig(Settings):
    """A part of an image that is cut out so that something is left to be found, and enlarged to its size."""

    chance: Share = Field(0.0, description="of each image; the others stay whole")
    area: tuple[Share, Share] = Field((0.3, 1.0), description="least and largest share of the image's area")
    aspect: tuple[Float, Float] = Field(
        (0.5, 2.0), description="least and largest width to height, as a share of the image's own"
    )
    min_overlap: tuple[Share, ...] = Field(
        (0.1, 0.3, 0.5, 0.7, 0.9), description="the part overlaps a box by one of these at least, as IoU"
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> ObjectCropConfig:
        for name, (low, high) in (("area", self.area), ("aspect", self.aspect)):
            if not 0.0 < low <= high < float("inf"):
                raise ValueError(f"{name}: expected [least, largest], both above 0, got [{low}, {high}]")
        if not self.min_overlap:
            raise ValueError("min_overlap: at least one is needed, e.g. [0.5]; 0 takes any part")
        return self


class ZoomOutConfig(Settings):
    """The image made smaller, in a larger empty frame."""

    chance: Share = Field(0.0, description="of each image; the others stay as large")
    largest: Annotated[Number, Field(ge=1.0, le=8.0)] = Field(
        2.0, description="side of the frame, at most, by that of the image"
    )


class RandAugmentConfig(Settings):
    """Changes by chance out of a list of thirteen, all of one strength."""

    ops: NotNegative = Field(0, description="how many changes each image gets; 0: none")
    magnitude: Share = Field(0.3, description="how strong they are; 1 is hard to recognise")


class AugmentationConfig(Settings):
    """How training images are varied, in this order; evaluation and serving never are."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = Field(
        "none", description="mirrored or not, by an even throw for each direction"
    )
    translation: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="shifted by up to this share of height and width; what is uncovered is mirrored"
    )
    crop: CropConfig = CropConfig()
    zoom: Annotated[Number, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="shown larger or smaller by up to this share; what is uncovered is mirrored"
    )
    rotation: Annotated[Number, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="turned by up to this share of a full circle, either way (0.5: any angle); mirrored"
    )
    brightness: Share = Field(0.0, description="lighter or darker by up to this share of the range")
    contrast: Share = Field(0.0, description="stronger or weaker by up to this share")
    saturation: Share = Field(0.0, description="colours stronger or weaker by up to this share")
    hue: Annotated[Number, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="colours turned by up to this share of the colour circle, either way"
    )
    rand_augment: RandAugmentConfig = RandAugmentConfig()
    erasing: Share = Field(
        0.0, description="chance that a rectangle of 2 to 33 % of the image is filled with 0"
    )
    zoom_out: ZoomOutConfig = Field(ZoomOutConfig(), description="for detection")
    object_crop: ObjectCropConfig = Field(ObjectCropConfig(), description="for detection")
    mix_up: Annotated[Number, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="alpha: images and labels blended with another of the batch; 0.2 is usual"
    )
    cut_mix: Annotated[Number, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="alpha: a rectangle of another of the batch pasted in, labels by area; 1 is usual"
    )

    @model_validator(mode="after")
    def _alphas_can_be_drawn_by(self) -> AugmentationConfig:
        for name, alpha in (("mix_up", self.mix_up), ("cut_mix", self.cut_mix)):
            # Both gammas that a share is drawn by are then the least number of 32 bits, and the share is 0.5.
            if 0.0 < alpha < 0.05:
                raise ValueError(
                    f"{name}: expected 0 (off) or an alpha of 0.05 to 10, got {alpha}: by a smaller one, "
                    "shares cannot be drawn in 32 bits"
                )
        return self


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


class WandbConfig(Settings):
    """Weights & Biases; the key comes from WANDB_API_KEY or `wandb login`."""

    project: Annotated[str, Field(min_length=1, max_length=128)] = "mirante"
    entity: str | None = Field(None, description="team or user; W&B's default when unset")
    mode: Literal["online", "offline"] = Field(
        "online", description="offline writes to the disk alone, for `wandb sync`"
    )
    tags: tuple[str, ...] = ()


class MlflowConfig(Settings):
    """MLflow; what the server wants to know of a user comes from MLFLOW_TRACKING_USERNAME and the like."""

    tracking_uri: str | None = Field(
        None, description="a server or a database; when unset MLFLOW_TRACKING_URI, else <root>/mlflow.db"
    )
    experiment: Annotated[str, Field(min_length=1)] = "mirante"

    @model_validator(mode="after")
    def _names_a_store_and_no_secret(self) -> MlflowConfig:
        uri = self.tracking_uri
        if uri is None:
            return self
        # The message is shown and logged, so that the URI is not in it.
        if secret := find_secret(uri):
            raise ValueError(
                f"tracking_uri: {secret} stands in it, and recipes are kept with every run: leave "
                "tracking_uri out and set the environment variable MLFLOW_TRACKING_URI, or for a server "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if "://" not in uri and uri != "databricks":
            raise ValueError(
                "tracking_uri: expected a server or a database, such as https://mlflow.example.org or "
                f"sqlite:///mlflow.db, got {redact(uri)!r}"
            )
        return self


class TrackingConfig(Settings):
    """Who is told of the course of a training; docs/tracking.md."""

    tensorboard: bool = Field(True, description="event files beside the model")
    wandb: WandbConfig | None = None
    mlflow: MlflowConfig | None = None
    graph: bool = Field(True, description="whether TensorBoard gets the graph of the training step")
    profile_steps: tuple[Positive, Positive] | None = Field(
        None, description="first and last step of each stage that TensorFlow's profiler records"
    )
    mistakes: NotNegative = Field(
        16, description="eval images that a stage got wrong with the highest score, shown after it"
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TrackingConfig:
        if self.profile_steps is None:
            return self
        first, last = self.profile_steps
        if last < first:
            raise ValueError(
                f"profile_steps: the last step comes before the first, got {[first, last]}; give e.g. "
                "[20, 30]"
            )
        if not self.tensorboard:
            raise ValueError("profile_steps: profiles are looked at in TensorBoard: set tensorboard: true")
        return self


LATEST_BLESSED = "latest_blessed"


class WarmStartConfig(Settings):
    """Whose weights a training starts from; `from` in recipes, `source` in code, where `from` is no name."""

    source: Annotated[str, Field(min_length=1)] = Field(
        alias="from",
        description="latest_blessed, or a pushed model, a .keras or .h5 file, a TensorFlow checkpoint",
    )
    fine_tune_checkpoint_type: Literal["classification", "detection", "full"] = Field(
        "full",
        description="full takes everything; classification and detection the backbone alone, of a classifier "
        "or a detector: the head starts anew, and is trained first",
    )

    @property
    def is_latest_blessed(self) -> bool:
        """Whether the source is the model that this pipeline serves."""
        return self.source == LATEST_BLESSED

    @property
    def backbone_only(self) -> bool:
        """Whether the head starts anew."""
        return self.fine_tune_checkpoint_type != "full"

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What a run records of its recipe is a recipe again.
        values = dict(handler(self))
        return {"from": values.pop("source", self.source), **values}


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


class SearchField(Settings):
    """What a search may give one field: a number between two others, or a value of a list."""

    min: Float | None = None
    max: Float | None = None
    scale: Literal["linear", "log"] = Field("linear", description="log: 1 to 10 as likely as 10 to 100")
    values: list[Any] | None = None

    @property
    def limits(self) -> list[Any]:
        """Both ends of the range, whole numbers as int, or all values."""
        if self.values is not None:
            return list(self.values)
        ends = [end for end in (self.min, self.max) if end is not None]
        return [int(end) if end.is_integer() else end for end in ends]

    @model_validator(mode="after")
    def _range_or_list(self) -> SearchField:
        if self.values is not None:
            if not self.values:
                raise ValueError("values: at least one is needed")
            if any(not isinstance(value, bool | int | float | str) for value in self.values):
                raise ValueError(f"values: expected numbers, words or true and false, got {self.values}")
            if (self.min, self.max, self.scale) != (None, None, "linear"):
                raise ValueError("values: give these, or min, max and scale, not both")
        elif self.min is None or self.max is None:
            raise ValueError(
                "min: this and max are needed, or values, e.g. {min: 0.1, max: 0.5} or {values: [1, 2]}; got "
                f"{self.model_dump(exclude_none=True, exclude_defaults=True)}"
            )
        elif self.min >= self.max:
            raise ValueError(f"max: must be above min, got {self.max} and {self.min}")
        elif self.scale == "log" and self.min <= 0:
            raise ValueError(f"scale: log needs a min above 0, got {self.min}")
        return self


class TunerConfig(Settings):
    """A search for better values of some fields of `model` and `training`, before the Trainer."""

    trials: Positive = Field(10, description="trainings at most")
    epochs: Positive | None = Field(None, description="of each trial; training.epochs when unset")
    objective: Literal["eval_accuracy", "eval_map_50", "eval_loss"] = Field(
        "eval_accuracy", description="eval_map_50 is a detector's, and eval_accuracy is not"
    )
    algorithm: Literal["random", "bayesian", "hyperband"] = Field(
        "random", description="hyperband gives few epochs to many trials and `epochs` to the best of them"
    )
    fields: dict[str, SearchField] = Field(description="by name, e.g. training.learning_rate")

    def epochs_of_trials(self, training_epochs: int) -> set[int]:
        """How long the shortest and the longest trial train, where the Trainer would so many epochs."""
        longest = self.epochs or training_epochs
        shortest = float(longest)
        while self.algorithm == "hyperband" and shortest >= HYPERBAND_FACTOR:
            shortest /= HYPERBAND_FACTOR
        return {math.ceil(shortest), longest}

    @model_validator(mode="after")
    def _something_to_search(self) -> TunerConfig:
        if not self.fields:
            raise ValueError(
                "fields: at least one is needed, e.g. {training.optimizer: {values: [adam, sgd]}}"
            )
        return self


class EvaluationConfig(Settings):
    """What a model must reach on the test split before it is pushed."""

    thresholds: dict[str, Float] = Field(
        {}, description="bounds by metric of the task: a lower bound, for loss an upper bound"
    )
    max_regression: dict[str, NotNegativeFloat] = Field(
        {}, description="how much worse than the baseline a metric may be"
    )
    refuse_trivial: bool = Field(
        True,
        description="refuse a model that is clearly no better than one class for every image, and a "
        "detector that finds nothing (docs/evaluation.md)",
    )
    slice_by_class: bool = Field(
        False,
        description="the overall metrics by true class too, up to 50 classes; not for detection, which has "
        "metrics by class anyway",
    )

    @model_validator(mode="after")
    def _bounds_of_shares_are_shares(self) -> EvaluationConfig:
        shares = {name for names in METRICS.values() for name in names} - {"loss"}
        for part, bounds in (("thresholds", self.thresholds), ("max_regression", self.max_regression)):
            for name, bound in bounds.items():
                if name in shares and not 0.0 <= bound <= 1.0:
                    raise ValueError(
                        f"{part}.{name}: expected a share from 0 to 1, got {bound:g}; write 90 % as 0.9"
                    )
        return self


class InfraValidationConfig(Settings):
    """What a model must do in a fresh process before it is pushed."""

    images: Positive = Field(8, description="real images sent through every signature")
    time_limit_secs: Positive | None = Field(
        None,
        description="for starting, loading and answering together; null follows the machine: loading and "
        "answering may take 20 times as long as TensorFlow took to start, and two minutes at least",
    )


class PushConfig(Settings):
    """Where a blessed model goes."""

    destination: str | None = Field(None, description="versioned folder; `<root>/serving` when unset")
