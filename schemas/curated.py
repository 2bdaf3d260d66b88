"""The curated schema, completed with a data set's class list."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas import features

_FOLDER = Path(__file__).parent


def classification_schema(class_names: Sequence[str]) -> Any:
    """The schema of a classification data set.

    Args:
        class_names: All classes, in the order of their labels 0 .. N - 1.

    Returns:
        A `tensorflow_metadata.proto.v0.schema_pb2.Schema` whose domains of `image/class/label` and
        `image/class/text` are exactly these classes.

    Raises:
        ValueError: The list is empty or names a class twice.
    """
    return _schema(features.CLASSIFICATION, class_names, features.LABEL, features.LABEL_TEXT, first_label=0)


def detection_schema(class_names: Sequence[str]) -> Any:
    """The schema of a detection data set: features of boxes have any number of values, one a box.

    Args:
        class_names: All classes, in the order of their labels 1 .. N.

    Returns:
        A `tensorflow_metadata.proto.v0.schema_pb2.Schema` whose domains of `image/object/class/label` and
        `image/object/class/text` are exactly these classes.

    Raises:
        ValueError: The list is empty or names a class twice.
    """
    return _schema(features.DETECTION, class_names, features.BOX_LABEL, features.BOX_TEXT, first_label=1)


def _schema(task: str, class_names: Sequence[str], label: str, text: str, first_label: int) -> Any:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"expected a list of distinct class names, got {list(class_names)!r}")
    template = (_FOLDER / f"{task}.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(template, schema_pb2.Schema())
    by_name = {feature.name: feature for feature in schema.feature}
    by_name[label].int_domain.max = first_label + len(class_names) - 1
    by_name[text].string_domain.value.extend(class_names)
    return schema


def task_of(schema: Any) -> str:
    """`classification` or `detection`: what a schema that one of the two functions above made is for.

    Raises:
        ValueError: It is neither's.
    """
    names = {feature.name for feature in schema.feature}
    if features.BOX_TEXT in names:
        return features.DETECTION
    if features.LABEL_TEXT in names:
        return features.CLASSIFICATION
    raise ValueError(
        f"the schema has neither feature {features.LABEL_TEXT!r} nor {features.BOX_TEXT!r}: is it one of "
        "Mirante's?"
    )


def class_names_of(schema: Any) -> list[str]:
    """The class list that was put into `schema`, in the order of the labels (from 0, or from 1 of boxes).

    Raises:
        ValueError: It is no schema of Mirante's.
    """
    text = features.BOX_TEXT if task_of(schema) == features.DETECTION else features.LABEL_TEXT
    (names,) = [list(feature.string_domain.value) for feature in schema.feature if feature.name == text]
    return names


def write_schema(class_names: Sequence[str], folder: Path, task: str = features.CLASSIFICATION) -> Path:
    """Writes the schema of a task to `folder/<digest of its text>/schema.pbtxt` and returns that path.

    TFX caches ImportSchemaGen by the path alone, so another class list needs another path.
    """
    from google.protobuf import text_format

    make = {features.CLASSIFICATION: classification_schema, features.DETECTION: detection_schema}[task]
    text = text_format.MessageToString(make(class_names), as_utf8=True)
    path = folder / hashlib.sha256(text.encode()).hexdigest()[:16] / "schema.pbtxt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return path
