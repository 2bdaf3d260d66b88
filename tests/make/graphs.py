"""Transform graphs, and models exported behind them."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.base.task import task_named
from components.transform.config import TransformConfig
from schemas import features
from schemas.curated import curated_schema
from tests.make.images import make_image
from tests.make.records import (
    CLASS_NAMES,
    make_record,
    write_split,
)

# As `pipeline.definition` has it, which would import TFX.
BEAM_ARGS = [
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--direct_running_mode=in_memory",
]


def fit_transform(folder: Path, records: Sequence[bytes], config: TransformConfig) -> Any:
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
    """A split of a few images, and a Transform graph fitted on it.

    Attributes:
        config: Transform's settings.
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


@contextlib.contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock; give whether the folder is made. It is when the first block has ended well."""
    made = folder.with_name(f"{folder.name}.made")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield made.exists()
        made.touch()


def make_tiny(folder: Path, channels: int, count: int = 12) -> Tiny:
    """16 x 16 px with this many channels, each with mean 0 and deviation 1 over the split.

    What another process has made in the folder is taken from there.
    """
    import tensorflow_transform as tft

    config = TransformConfig(height_px=16, width_px=16, channels=channels, normalization="standardize")
    encoded = [make_image(index) for index in range(count)]
    records = [make_record(image, index % len(CLASS_NAMES)) for index, image in enumerate(encoded)]
    with made_once(folder) as is_made:
        if not is_made:
            write_split(folder / "Split-train", records)
            fit_transform(folder / "transform", records, config)
    graph = tft.TFTransformOutput(str(folder / "transform" / "graph"))
    return Tiny(config, encoded, records, str(folder / "Split-train" / "*"), graph)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model of a tiny split, and the SavedModel that was written of it."""

    model: Any
    folder: Path


def export_tiny(split: Tiny, folder: Path) -> Exported:
    """Exports a LeNet of random weights behind the split's Transform graph, unless another process has."""
    import keras

    from components.models import HEAD, build_model
    from components.models.config import ModelConfig
    from components.tasks.classification.serving import ClassificationModule
    from components.trainer.export import save_module

    keras.backend.clear_session(free_memory=False)  # as the Trainer does: layers are counted from 0
    keras.utils.set_random_seed(split.config.channels)
    shape = (split.config.height_px, split.config.width_px, split.config.channels)
    model = build_model(ModelConfig(name="lenet"), shape, len(CLASS_NAMES))
    # Logits far enough apart that the last bit of a pixel is seen in the probabilities.
    logits = model.get_layer(HEAD).get_layer("logits")
    logits.kernel.assign(20.0 * logits.kernel)
    with made_once(folder) as is_made:
        if not is_made:
            save_module(ClassificationModule(model, split.tft_output, list(CLASS_NAMES)), str(folder))
    return Exported(model, folder)


def blessed_inputs(split: Tiny, model: Exported, folder: Path) -> dict[str, Any]:
    """The artifacts that nodes after the judges read, both blessings given: the images are in both splits."""
    from tfx.types import standard_artifacts

    examples, made = standard_artifacts.Examples(), standard_artifacts.Model()
    examples.uri, examples.split_names = str(folder / "examples"), '["train", "test"]'
    for name in ("train", "test"):
        shutil.copytree(Path(split.pattern).parent, folder / "examples" / f"Split-{name}")
    made.uri = str(folder / "model")
    (folder / "model").mkdir()
    (folder / "model" / "Format-Serving").symlink_to(model.folder)
    blessing, infra_blessing = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    for each in (blessing, infra_blessing):
        each.set_int_custom_property("blessed", 1)
    return {
        "examples": [examples],
        "model": [made],
        "model_blessing": [blessing],
        "infra_blessing": [infra_blessing],
    }
