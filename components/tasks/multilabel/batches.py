"""TFMA's extractors for whole batches of labels and probabilities, instead of one example at a time."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.slicer import slicer_lib

from schemas import features

# The names of a batch's images: bytes [N].
IMAGE_NAMES = "image_names"


def _read_batch(extracts: dict[str, Any]) -> dict[str, Any]:
    """Take only records, lists of labels, and names of the images out of a RecordBatch, each as [N]."""
    batch = extracts[tfma.ARROW_RECORD_BATCH_KEY]
    columns = {name: batch.column(batch.schema.get_field_index(name)) for name in batch.schema.names}
    found: dict[str, Any] = {tfma.INPUT_KEY: np.asarray(columns[tfma.constants.ARROW_INPUT_COLUMN].flatten())}
    # A batch without any class has no such column, or one of nulls.
    nothing = [None] * batch.num_rows
    labels, names = (
        columns[name].to_pylist() if name in columns else nothing
        for name in (features.LABEL, features.FILENAME)
    )
    by_image = np.empty(batch.num_rows, object)
    by_image[:] = [tuple(of_image or ()) for of_image in labels]
    return {
        **found,
        tfma.FEATURES_KEY: {
            features.LABEL: by_image,
            features.FILENAME: np.array([name[0] if name else b"" for name in names], object),
        },
    }


def _as_whole(extracts: dict[str, Any]) -> dict[str, Any]:
    """Give a batch the slice of the whole split."""
    values = extracts[tfma.FEATURES_KEY]
    return {
        tfma.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([()]),
        tfma.LABELS_KEY: values[features.LABEL],
        tfma.PREDICTIONS_KEY: extracts[tfma.PREDICTIONS_KEY],
        IMAGE_NAMES: values[features.FILENAME],
    }


def custom_extractors(eval_shared_model: Any, eval_config: Any, tensor_adapter_config: Any) -> list[Any]:
    """Return the extractors of an evaluation; TFX's Evaluator calls this name."""
    return [
        tfma.extractors.Extractor("ReadBatches", beam.Map(_read_batch)),
        tfma.extractors.PredictionsExtractor(eval_config=eval_config, eval_shared_model=eval_shared_model),
        tfma.extractors.Extractor(slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME, beam.Map(_as_whole)),
    ]
