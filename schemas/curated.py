"""The curated schema, completed with a data set's class list."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas import features

_TEMPLATE = Path(__file__).with_name("classification.pbtxt")


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
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"expected a list of distinct class names, got {list(class_names)!r}")
    schema = text_format.Parse(_TEMPLATE.read_text(encoding="utf-8"), schema_pb2.Schema())
    by_name = {feature.name: feature for feature in schema.feature}
    by_name[features.LABEL].int_domain.max = len(class_names) - 1
    by_name[features.LABEL_TEXT].string_domain.value.extend(class_names)
    return schema


def class_names_of(schema: Any) -> list[str]:
    """The class list that `classification_schema` put into `schema`, in the order of the labels."""
    for feature in schema.feature:
        if feature.name == features.LABEL_TEXT:
            return list(feature.string_domain.value)
    raise ValueError(f"the schema has no feature {features.LABEL_TEXT!r}: is it one of Mirante's?")


def write_schema(class_names: Sequence[str], folder: Path) -> Path:
    """Writes the schema to `folder/<digest of its text>/schema.pbtxt` and returns that path.

    TFX caches ImportSchemaGen by the path alone, so another class list needs another path.
    """
    from google.protobuf import text_format

    text = text_format.MessageToString(classification_schema(class_names), as_utf8=True)
    path = folder / hashlib.sha256(text.encode()).hexdigest()[:16] / "schema.pbtxt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return path
