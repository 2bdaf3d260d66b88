"""Predictions of a pushed model for image files, by its `serving_default`. Imports TensorFlow, no TFX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.errors import UsageError
from components.ingest.canonical import RejectedImage, canonical_bytes

# Images in one request: enough to fill a CPU, little enough to keep decoded pixels small.
BATCH_IMAGES = 32


def saved_model_folder(model: str) -> Path:
    """The SavedModel that `model` means: itself, or the highest version in it, as TF Serving takes it.

    Raises:
        UsageError: There is neither.
    """
    folder = Path(model)
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = (
        [path for path in folder.iterdir() if path.name.isdigit() and (path / "saved_model.pb").is_file()]
        if folder.is_dir()
        else []
    )
    if not versions:
        raise UsageError(
            f"{model}: no model there: expected a SavedModel, or a folder of numbered versions such as a "
            "run's serving/ folder"
        )
    return max(versions, key=lambda path: int(path.name))


def predict(model: str, images: Sequence[str], min_score: float = 0.0) -> list[dict[str, Any]]:
    """Answers for every image, in the order given.

    Args:
        model: A SavedModel, or the folder of its versions.
        images: Paths of JPEG, PNG, GIF, WebP, ... files.
        min_score: Predictions below are left out.

    Returns:
        `{"image": path, "predictions": [{"label", "score"}, ...]}`, scores descending; for a file that is no
        usable image `{"image": path, "error": why}`.

    Raises:
        UsageError: `model` is no model, or not one of Mirante's.
    """
    folder = saved_model_folder(model)
    answers: list[dict[str, Any]] = []
    readable: list[tuple[int, bytes]] = []
    for index, image in enumerate(images):
        answers.append({"image": image})
        try:
            readable.append((index, canonical_bytes(Path(image).read_bytes()).encoded))
        except OSError as e:
            answers[index]["error"] = f"cannot be read: {e.strerror or e}"
        except RejectedImage as e:
            answers[index]["error"] = str(e)
    if not readable:
        return answers

    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    if "serving_default" not in loaded.signatures:
        raise UsageError(f"{folder}: the model has no signature serving_default: was it pushed by a run?")
    signature = loaded.signatures["serving_default"]
    if "image_bytes" not in signature.structured_input_signature[1]:
        raise UsageError(f"{folder}: serving_default takes no image_bytes: was the model pushed by a run?")
    for start in range(0, len(readable), BATCH_IMAGES):
        part = readable[start : start + BATCH_IMAGES]
        outputs = signature(image_bytes=tf.constant([encoded for _, encoded in part]))
        rows = zip(part, outputs["probabilities"].numpy(), outputs["labels"].numpy(), strict=True)
        for (index, _), probabilities, labels in rows:
            order = sorted(range(len(labels)), key=lambda i: (-probabilities[i], i))
            answers[index]["predictions"] = [
                {"label": labels[i].decode("utf-8"), "score": float(probabilities[i])}
                for i in order
                if probabilities[i] >= min_score
            ]
    return answers
