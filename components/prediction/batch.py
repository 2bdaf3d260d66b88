"""Ask a pushed model about any number of images, with Beam: `mirante predict --batch`, and a recipe's node.

The images are divided into shards in the order of their names, or a TFRecord file is a shard. Each shard
gives one file of answers, which appears whole:

    OUT/batch.json                    which model was asked about what; written first
    OUT/part-00002-of-00040.parquet   the answers of the third shard; or .tfrecord.gz

A call that was interrupted is finished by the same call: shards that have their file are left out. A shard is
one element of the Beam pipeline. With RunInference, which takes images, the answers would have to be grouped
before they are written, and no file would be there before all images are answered.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from components.base import files
from components.base.errors import UsageError
from components.base.example import parse_example
from components.base.limits import DEFAULT_MAX_PIXELS
from components.base.paths import is_remote
from components.base.saved_model import bit_depth_of, class_names_of
from components.base.serving_folder import measure_files, model_digest
from components.base.tfrecord import iterate_records
from components.ingest.bit_depth import UPPER
from components.prediction.asked import saved_model_folder
from components.prediction.batch_files import FileFormat, count_answers, write_answers
from components.prediction.drawings import Answer
from components.prediction.inputs import is_records, list_inputs
from components.prediction.language import translate_classes
from schemas import features

if TYPE_CHECKING:
    import apache_beam as beam

SHARD_IMAGES = 1000
MANIFEST = "batch.json"
_SUFFIXES = {"parquet": ".parquet", "tfrecord": ".tfrecord.gz"}
# Images that are on this disk at the same time, where the model gets copies of them.
_STAGED_IMAGES = 256


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images to ask a model about, and the place of the answers.

    Attributes:
        model: The SavedModel's folder.
        shards: The paths of images of each shard, or one TFRecord file.
        out: The folder of the answers.
        format: Of the files of answers.
        min_score: As for `components.prediction.predict.predict`.
        top: Likewise.
        max_pixels: Likewise.
        language: Likewise.
    """

    model: str
    shards: tuple[tuple[str, ...], ...]
    out: str
    format: FileFormat = "parquet"
    min_score: float | None = None
    top: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    language: str | None = None

    def output(self, number: int) -> str:
        """Return the path of a shard's answers."""
        name = f"part-{number:05}-of-{len(self.shards):05}{_SUFFIXES[self.format]}"
        return os.path.join(self.out, name)

    def describe(self) -> dict[str, Any]:
        """Return what decides the answers, as JSON; of files in a bucket only their names count."""
        paths = [path for shard in self.shards for path in shard]
        stamps = None if is_remote(paths[0]) else files.stamp(paths)
        names = hashlib.sha256(json.dumps([self.shards, stamps]).encode()).hexdigest()
        settings = {name: getattr(self, name) for name in ("format", "min_score", "top", "max_pixels")}
        if self.language is not None:
            # The model card has the names, and does not count for the digest.
            settings["class_names"] = translate_classes(self.model, _list_classes(self.model), self.language)
        model = model_digest(measure_files(self.model))
        return {"model": model, "shards": len(self.shards), "input": names, **settings}


@dataclasses.dataclass(frozen=True)
class BatchResult:
    """Numbers of shards, of those that were answered before, and of all images and errors in the answers."""

    shards: int
    found: int
    images: int
    errors: int


def make_batch(
    model: str,
    source: str,
    out: str,
    *,
    format: FileFormat = "parquet",  # noqa: A002 - as the option is called
    min_score: float | None = None,
    top: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    language: str | None = None,
    shard_images: int = SHARD_IMAGES,
) -> Batch:
    """Look for the model and the images.

    Args:
        model: As for `components.prediction.predict.predict`.
        source: A folder or bucket of images, a folder or bucket of TFRecord files, or one such file.
        out: The folder or bucket of the answers.
        format: Of the files of answers.
        min_score: As for `predict`.
        top: Likewise.
        max_pixels: Likewise.
        language: Likewise.
        shard_images: The most images of a shard.

    Raises:
        UsageError: There is no model, or there are no images, or the model has no names in the language.
    """
    paths = list_inputs(source)
    records = [path for path in paths if is_records(path)]
    if records:
        shards: list[tuple[str, ...]] = [(path,) for path in records]
    else:
        shards = [tuple(paths[start : start + shard_images]) for start in range(0, len(paths), shard_images)]
    if not shards:
        raise UsageError(f"--batch {source}: expected images or TFRecord files, got none")
    folder = str(saved_model_folder(model))
    if language is not None:
        translate_classes(folder, _list_classes(folder), language)
    return Batch(folder, tuple(shards), out, format, min_score, top, max_pixels, language)


def _list_classes(folder: str) -> tuple[str, ...]:
    return tuple(class_names_of(folder) or ())


def run_batch(batch: Batch, make_pipeline: Callable[[], beam.Pipeline]) -> BatchResult:
    """Answer all shards whose answers are not there yet, with Beam.

    Args:
        batch: What to ask.
        make_pipeline: Makes Beam's pipeline; called if there is something to answer.

    Raises:
        UsageError: The folder has answers of another model, other images or other settings.
    """
    import apache_beam as beam

    _check_manifest(batch)
    numbers = range(len(batch.shards))
    todo = [number for number in numbers if not files.exists(batch.output(number))]
    if todo:
        with make_pipeline() as pipeline:
            _ = pipeline | beam.Create(todo) | beam.Reshuffle() | beam.Map(_answer_shard, batch)
    counts = [count_answers(batch.output(number), batch.format) for number in numbers]
    images, errors = (sum(each) for each in zip(*counts, strict=True))
    return BatchResult(len(numbers), len(numbers) - len(todo), images, errors)


def _answer_shard(number: int, batch: Batch) -> None:
    """Write the answers of a shard."""
    answers = [_tidy(answer) for answer in _answer_items(batch.shards[number], batch)]
    write_answers(batch.output(number), answers, batch.format)


def _answer_items(paths: Sequence[str], batch: Batch) -> Iterator[Answer]:
    if is_records(paths[0]):
        yield from _answer_copies(_read_records(paths[0]), batch)
    elif is_remote(paths[0]):
        yield from _answer_copies(((path, files.read_bytes(path)) for path in paths), batch)
    else:
        yield from _ask(paths, batch)


def _answer_copies(images: Iterator[tuple[str, bytes]], batch: Batch) -> Iterator[Answer]:
    """Yield the answers of images by their names and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        while True:
            names = []
            for place in range(_STAGED_IMAGES):
                name, data = next(images, ("", None))
                if data is None:
                    break
                names.append(name)
                Path(folder, f"{place}").write_bytes(data)
            if not names:
                return
            staged = [os.path.join(folder, f"{place}") for place in range(len(names))]
            for name, answer in zip(names, _ask(staged, batch), strict=True):
                yield {**answer, "image": name}


def _read_records(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and images of the examples of a TFRecord file."""
    with files.open_binary(path) as file, gzip.open(file) if path.endswith(".gz") else file as opened:
        for place, record in enumerate(iterate_records(cast(BinaryIO, opened), path)):
            found = parse_example(record)
            # Other types count as nothing: the name is then the place, and the answer an error.
            given, data = (
                next((value for value in found.get(name, ()) if isinstance(value, bytes)), b"")
                for name in (features.FILENAME, features.ENCODED)
            )
            yield given.decode("utf-8", errors="replace") or f"{path}#{place}", data


# The model of this process, by its folder and the language of its answers. Several threads may do the work of
# an engine.
_loaded: dict[tuple[str, str | None], Any] = {}
_loading = threading.Lock()


def _ask(paths: Sequence[str], batch: Batch) -> Iterator[Answer]:
    from components.prediction.loaded import LoadedModel
    from components.prediction.predict import answer_images

    with _loading:
        key = (batch.model, batch.language)
        if key not in _loaded:
            _loaded.clear()
            bit_depth = bit_depth_of(batch.model) or UPPER
            _loaded[key] = LoadedModel(Path(batch.model), bit_depth, batch.language)
        served = _loaded[key]
    found = answer_images(
        batch.model,
        paths,
        batch.min_score,
        top=batch.top,
        max_pixels=batch.max_pixels,
        served=served,
        # Answers are kept: memory that was short for a while must not be one.
        is_strict=True,
    )
    return (each.answer for each in found)


def _tidy(answer: Answer) -> Answer:
    return {key: value for key, value in answer.items() if key != "predictions"} | {
        "predictions": list(answer.get("predictions", []))
    }


def _check_manifest(batch: Batch) -> None:
    """Write what decides the answers, or compare it with what is there."""
    path = os.path.join(batch.out, MANIFEST)
    described = batch.describe()
    if not files.exists(path):
        files.write_text(path, json.dumps(described, indent=1))
        return
    former = json.loads(files.read_text(path))
    if former != described:
        keys = [key for key in {**described, **former} if former.get(key) != described.get(key)]
        other = ", ".join("--language" if key == "class_names" else key for key in keys)
        raise UsageError(
            f"-o {batch.out}: expected a new folder or answers of the same call, got answers with another "
            f"{other}; give another folder"
        )
