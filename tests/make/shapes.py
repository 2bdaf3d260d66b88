"""Images of coloured circles, squares and triangles on a plain ground, and their boxes, for detectors."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

from components.transform.config import TransformConfig
from schemas import features
from tests.make.graphs import BEAM_ARGS
from tests.make.records import write_split

CLASSES = ("circle", "square", "triangle")


_COLOURS = ((200, 40, 40), (40, 160, 60), (50, 80, 210))


# A shape's side, as a share of the image's.
_SIDE = (0.25, 0.55)


@dataclasses.dataclass(frozen=True)
class Shapes:
    """An image and what is on it.

    Attributes:
        encoded: A PNG file.
        boxes: (xmin, ymin, xmax, ymax) as shares, float32 [B, 4].
        labels: 1 and up, the place of the class in CLASSES, int64 [B].
        difficult: Places of those that are.
    """

    encoded: bytes
    boxes: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    difficult: tuple[int, ...] = ()


def draw(seed: int, size_px: int = 96, most: int = 2) -> Shapes:
    """One to `most` shapes that do not touch each other, each of its class' colour, on gray noise."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(120, 200)
    pixels = np.clip(rng.normal(ground, 8, (size_px, size_px, 3)), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    pencil = ImageDraw.Draw(image)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(rng.integers(1, most + 1)):
        for _ in range(50):  # tries; an image may be full
            side = int(rng.uniform(*_SIDE) * size_px)
            x, y = (int(value) for value in rng.integers(0, size_px - side + 1, 2))
            if all(x > b[2] or y > b[3] or x + side < b[0] or y + side < b[1] for b in boxes):
                break
        else:
            continue
        kind = int(rng.integers(len(CLASSES)))
        # Pillow's corners are pixels that are drawn.
        corners = (x, y, x + side - 1, y + side - 1)
        colour = _COLOURS[kind]
        if kind == 0:
            pencil.ellipse(corners, fill=colour)
        elif kind == 1:
            pencil.rectangle(corners, fill=colour)
        else:
            pencil.polygon([(x + side // 2, y), (corners[2], corners[3]), (x, corners[3])], fill=colour)
        boxes.append((x, y, x + side, y + side))
        labels.append(kind + 1)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Shapes(buffer.getvalue(), np.array(boxes, np.float32) / size_px, np.array(labels, np.int64))


def make_record(shapes: Shapes, name: str) -> bytes:
    """A serialized tf.train.Example of the data contract."""
    from components.base.example import serialize_example

    with Image.open(io.BytesIO(shapes.encoded)) as image:
        width, height = image.size
    return serialize_example(
        {
            features.ENCODED: shapes.encoded,
            features.FORMAT: b"png",
            features.HEIGHT: height,
            features.WIDTH: width,
            features.FILENAME: name.encode(),
            features.SHA256: hashlib.sha256(shapes.encoded).hexdigest().encode(),
            **{side: shapes.boxes[:, at].tolist() for at, side in enumerate(features.BOX_SIDES)},
            features.BOX_LABEL: shapes.labels.tolist(),
            features.BOX_TEXT: [CLASSES[label - 1].encode() for label in shapes.labels],
            features.BOX_DIFFICULT: [int(at in shapes.difficult) for at in range(len(shapes.labels))],
            features.BOX_TRUNCATED: [0] * len(shapes.labels),
        }
    )


def make_examples(split: str, count: int, first_seed: int, size_px: int) -> Any:
    """As the Trainer takes them, pixels in [-1, 1]; the first box of all is difficult."""
    from components.trainer.input.examples import ArrayExamples

    images, targets = [], np.zeros((count, 2, 5), np.float32)
    for number in range(count):
        drawn = draw(first_seed + number, size_px)
        with Image.open(io.BytesIO(drawn.encoded)) as image:
            images.append(np.asarray(image) / 127.5 - 1.0)
        targets[number, : len(drawn.labels)] = np.column_stack([drawn.boxes, drawn.labels])
    targets[0, 0, 4] *= -1
    return ArrayExamples(split, np.array(images, np.float32), targets)


def make_task(size_px: int) -> Any:
    """Detection of shapes, with two feature maps' anchors."""
    from components.models.config import ModelConfig
    from components.tasks.detection.trainer import Detection

    config = ModelConfig.model_validate({"name": "ssd_mobilenet_v2", "detection": {"extra_layers": 0}})
    return Detection(CLASSES, config, (size_px, size_px, 3))


def make_network(task: Any, size_px: int, *, batch_norm: bool) -> Any:
    """A network of few layers with a detector's outputs."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    logits = 4 + len(CLASSES)
    return keras.Sequential(
        [
            keras.Input((size_px, size_px, 3)),
            layers.AveragePooling2D(8),
            *([layers.BatchNormalization(name="norm")] if batch_norm else []),
            layers.Flatten(),
            layers.Dense(32, "relu", name="hidden"),
            layers.Dense(len(task.anchors) * logits, kernel_initializer="zeros", name="outputs"),
            layers.Reshape((-1, logits)),
        ],
        name="small_detector",
    )


def write_voc(folder: Path, count: int, first_seed: int = 0, size_px: int = 96) -> None:
    """Write images and Pascal VOC's XML next to them: `0.png`, `0.xml`, `1.png`, ..."""
    folder.mkdir(parents=True)
    for number in range(count):
        shapes = draw(first_seed + number, size_px)
        (folder / f"{number}.png").write_bytes(shapes.encoded)
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = f"{number}.png"
        size = ElementTree.SubElement(root, "size")
        for key, value in (("width", size_px), ("height", size_px), ("depth", 3)):
            ElementTree.SubElement(size, key).text = str(value)
        for box, label in zip(shapes.boxes * size_px, shapes.labels, strict=True):
            item = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(item, "name").text = CLASSES[label - 1]
            ElementTree.SubElement(item, "difficult").text = "0"
            bounds = ElementTree.SubElement(item, "bndbox")
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box.tolist(), strict=True):
                ElementTree.SubElement(bounds, key).text = f"{value:g}"
        ElementTree.ElementTree(root).write(folder / f"{number}.xml")


def fit_transform(
    folder: Path, records: Sequence[bytes], config: TransformConfig, classes: Sequence[str], max_boxes: int
) -> str:
    """Runs the real Transform on the records, on Beam, and returns its folder."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tfx_bsl.tfxio import tf_example_record

    from components.tasks.detection import TASK
    from components.transform import preprocessing_fn
    from schemas.curated import curated_schema

    given = {"task": features.DETECTION, "transform": config.model_dump(), "max_boxes": max_boxes}
    function = functools.partial(preprocessing_fn, custom_config=given)
    reader = tf_example_record.TFExampleBeamRecord(
        physical_format="inmem", telemetry_descriptors=["tests"], schema=curated_schema(TASK, classes)
    )
    with (
        beam.Pipeline(options=PipelineOptions(BEAM_ARGS)) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temp")),
    ):
        rows = pipeline | beam.Create(records) | reader.BeamSource()
        fitted = (rows, reader.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(function)
        _ = fitted | tft_beam.WriteTransformFn(str(folder / "graph"))
    return str(folder / "graph")


def make_job(
    folder: Path,
    splits: Mapping[str, Sequence[bytes]],
    transform: TransformConfig,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    classes: Sequence[str] = CLASSES,
    max_boxes: int = 2,
) -> Any:
    """A training on records, `train` and `eval`, as `components.trainer.run_fn` would get it."""
    from components.models.config import ModelConfig
    from components.schema_gen.schema_file import write_schema
    from components.trainer.config import TrainingConfig
    from components.trainer.job import Job

    patterns = {name: str(write_split(folder / name, records) / "*") for name, records in splits.items()}
    return Job(
        train_files=[patterns["train"]],
        eval_files=[patterns["eval"]],
        transform_output=fit_transform(
            folder / "transform", splits["train"][:8], transform, classes, max_boxes
        ),
        schema_path=str(write_schema(classes, folder / "schema", features.DETECTION)),
        custom_config={
            "task": features.DETECTION,
            "transform": transform.model_dump(),
            "model": ModelConfig.model_validate(model).model_dump(),
            "training": TrainingConfig.model_validate(training).model_dump(),
            "checkpoints": str(folder / "checkpoints"),
        },
        serving_model_dir=str(folder / "serving"),
        model_run_dir=str(folder / "run"),
    )
