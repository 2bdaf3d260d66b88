"""TFMA's extractors for whole batches of labels and probabilities, instead of one example at a time.

TFMA takes a batch of predictions apart into one dictionary per example, and looks up slices, labels and
predictions in each of them: most of its time on small images. Here a batch stays one element, with the labels
and each model's probabilities as arrays. Each slice of a class adds one more element.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.slicer import slicer_lib

from components.base.errors import DataRefusedError
from schemas import features

# The names of a batch's images: bytes [N]. Only the batches of the whole split have them.
IMAGE_NAMES = "image_names"


def _read_batch(extracts: dict[str, Any]) -> dict[str, Any]:
    """Take only records, labels and names of the images out of a RecordBatch."""
    batch = extracts[tfma.ARROW_RECORD_BATCH_KEY]
    columns = {name: batch.column(batch.schema.get_field_index(name)) for name in batch.schema.names}
    found: dict[str, Any] = {tfma.INPUT_KEY: np.asarray(columns[tfma.constants.ARROW_INPUT_COLUMN].flatten())}
    values = {}
    for name in (features.LABEL, features.LABEL_TEXT):
        values[name] = np.asarray(columns[name].flatten()) if name in columns else np.zeros(0)
        if len(values[name]) != batch.num_rows:
            raise DataRefusedError(
                f"{batch.num_rows} records: expected one value of {name} in each, got {len(values[name])} "
                "in all; make the records anew: mirante ingest"
            )
    names = (
        columns[features.FILENAME].to_pylist() if features.FILENAME in columns else [None] * batch.num_rows
    )
    values[features.FILENAME] = np.array([name[0] if name else b"" for name in names], object)
    return {**found, tfma.FEATURES_KEY: values}


def _with_slices(extracts: dict[str, Any], by_class: bool) -> Iterator[dict[str, Any]]:
    """Yield a batch for the whole split, and its images of each class for the slice of the class."""
    labels, texts, images = (
        extracts[tfma.FEATURES_KEY][name] for name in (features.LABEL, features.LABEL_TEXT, features.FILENAME)
    )
    predictions = extracts[tfma.PREDICTIONS_KEY]
    yield {**_slice((), labels, predictions), IMAGE_NAMES: images}
    for text in np.unique(texts) if by_class else ():
        is_in = texts == text
        yield _slice(((features.LABEL_TEXT, text),), labels[is_in], _rows(predictions, is_in))


def _rows(values: Any, wanted: Any) -> Any:
    """Return rows of an array, or of all arrays of nested dictionaries."""
    if isinstance(values, dict):
        return {name: _rows(each, wanted) for name, each in values.items()}
    return values[wanted]


def _slice(key: tuple[Any, ...], labels: Any, predictions: Any) -> dict[str, Any]:
    return {
        tfma.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([key]),
        tfma.LABELS_KEY: labels,
        tfma.PREDICTIONS_KEY: predictions,
    }


def custom_extractors(eval_shared_model: Any, eval_config: Any, tensor_adapter_config: Any) -> list[Any]:
    """Return the extractors of an evaluation; TFX's Evaluator calls this name."""
    by_class = any(spec.feature_keys for spec in eval_config.slicing_specs)
    return [
        tfma.extractors.Extractor("ReadBatches", beam.Map(_read_batch)),
        tfma.extractors.PredictionsExtractor(eval_config=eval_config, eval_shared_model=eval_shared_model),
        tfma.extractors.Extractor(
            slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME, beam.FlatMap(_with_slices, by_class)
        ),
    ]
