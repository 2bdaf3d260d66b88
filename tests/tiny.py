"""Tiny data for tests: pictures of a few pixels, records of the data contract, what is built from them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.base.task import task_named
from components.transform.config import TransformConfig
from schemas import features
from schemas.curated import curated_schema

CLASS_NAMES = ("bird", "cat", "dog")
# As `pipeline.definition` has it, which would import TFX.
BEAM_ARGS = [
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--direct_running_mode=in_memory",
]


def noise(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray[Any, Any]:
    """uint8 [height, width] for one channel, else [height, width, channels]: every level of every channel."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encode(pixels: np.ndarray[Any, Any], image_format: str = "PNG", **options: Any) -> bytes:
    """An image file of the pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=image_format, **options)
    return buffer.getvalue()


def picture(index: int) -> bytes:
    """A small image file; in turn JPEG and PNG, in colour and gray, of many sizes."""
    image_format = ("JPEG", "PNG")[index % 2]
    return encode(
        noise(index, 14 + 3 * (index % 5), 15 + 5 * (index % 3), (3, 3, 1, 1)[index % 4]), image_format
    )


def record(encoded: bytes, label: int, class_names: Sequence[str] = CLASS_NAMES) -> bytes:
    """A serialized tf.train.Example of the data contract."""
    import tensorflow as tf

    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_int(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    with Image.open(io.BytesIO(encoded)) as image:
        width, height, image_format = image.width, image.height, (image.format or "").lower()
    digest = hashlib.sha256(encoded).hexdigest()
    values = {
        features.ENCODED: of_bytes(encoded),
        features.FORMAT: of_bytes(image_format.encode()),
        features.HEIGHT: of_int(height),
        features.WIDTH: of_int(width),
        features.FILENAME: of_bytes(f"{digest[:8]}.{image_format}".encode()),
        features.SHA256: of_bytes(digest.encode()),
        features.LABEL: of_int(label),
        features.LABEL_TEXT: of_bytes(class_names[label % len(class_names)].encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=values))
    return example.SerializeToString(deterministic=True)


def write_split(folder: Path, records: Sequence[bytes], shards: int = 2) -> Path:
    """Writes gzipped TFRecord shards as ImportExampleGen does, and returns the folder."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    for shard in range(shards):
        path = folder / f"data_tfrecord-{shard:05}-of-{shards:05}.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for item in records[shard::shards]:
                writer.write(item)
    return folder


def transform_graph(folder: Path, records: Sequence[bytes], config: TransformConfig) -> Any:
    """Runs the real Transform on the records, on Beam, and returns its `tft.TFTransformOutput`."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    from components.transform import preprocessing_fn

    schema = curated_schema(task_named(features.CLASSIFICATION), CLASS_NAMES)
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    rows = [
        {name: value.numpy() for name, value in tf.io.parse_single_example(item, spec).items()}
        for item in records
    ]
    given = {"task": features.CLASSIFICATION, "transform": config.model_dump()}
    function = functools.partial(preprocessing_fn, custom_config=given)
    with (
        beam.Pipeline(options=PipelineOptions(BEAM_ARGS)) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temp")),
    ):
        rows = pipeline | beam.Create(rows)
        fitted = (rows, dataset_metadata.DatasetMetadata(schema)) | tft_beam.AnalyzeDataset(function)
        _ = fitted | tft_beam.WriteTransformFn(str(folder / "graph"))
    return tft.TFTransformOutput(str(folder / "graph"))


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A split of a few pictures, and a Transform graph fitted on it.

    Attributes:
        config: What Transform was told.
        encoded: The image files, JPEG and PNG, gray and in colour.
        records: The same as serialized examples, labels 0, 1, 2, 0, ...
        pattern: The TFRecord files that hold them.
        tft_output: The graph.
    """

    config: TransformConfig
    encoded: list[bytes]
    records: list[bytes]
    pattern: str
    tft_output: Any


def make_tiny(folder: Path, channels: int, count: int = 12) -> Tiny:
    """16 x 16 px with so many channels, each with mean 0 and deviation 1 over the split."""
    config = TransformConfig(height_px=16, width_px=16, channels=channels, normalization="standardize")
    encoded = [picture(index) for index in range(count)]
    records = [record(image, index % len(CLASS_NAMES)) for index, image in enumerate(encoded)]
    split = write_split(folder / "Split-train", records)
    graph = transform_graph(folder / "transform", records, config)
    return Tiny(config, encoded, records, str(split / "*"), graph)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model of a tiny split, and the SavedModel that was written of it."""

    model: Any
    folder: Path


def export(split: Tiny, folder: Path) -> Exported:
    """Exports a LeNet of random weights behind the split's Transform graph."""
    import keras

    from components.models import HEAD, build_model
    from components.models.config import ModelConfig
    from components.trainer.export import save_model

    keras.backend.clear_session()  # as the Trainer does: layers are counted from 0
    keras.utils.set_random_seed(split.config.channels)
    shape = (split.config.height_px, split.config.width_px, split.config.channels)
    model = build_model(ModelConfig(name="lenet"), shape, len(CLASS_NAMES))
    # Logits far enough apart that the last bit of a pixel is seen in the probabilities.
    logits = model.get_layer(HEAD).get_layer("logits")
    logits.kernel.assign(20.0 * logits.kernel)
    save_model(model, split.tft_output, list(CLASS_NAMES), str(folder))
    return Exported(model, folder)
