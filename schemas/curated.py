"""The curated schema of a task, completed with a data set's class list."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

_FOLDER = Path(__file__).parent


class LabelledTask(Protocol):
    """The facts of a task that a schema needs, as `components.base.task.Task` has them."""

    @property
    def records(self) -> str:
        """The kind of its records; the template is `<records>.pbtxt`."""

    @property
    def label(self) -> str:
        """Name of the feature with the labels."""

    @property
    def text(self) -> str:
        """Name of the feature with the class names."""

    @property
    def first_label(self) -> int:
        """Label of the first class."""


def curated_schema(task: LabelledTask, class_names: Sequence[str]) -> Any:
    """Return the schema of a task's data.

    Args:
        task: Its template says which features have one value, and which have any number of them.
        class_names: All classes, in the order of their labels.

    Returns:
        A `tensorflow_metadata.proto.v0.schema_pb2.Schema` in which the domains of the features with labels
        and class names are exactly these classes.

    Raises:
        ValueError: The list is empty or names a class twice.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"expected a list of distinct class names, got {list(class_names)!r}")
    template = (_FOLDER / f"{task.records}.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(template, schema_pb2.Schema())
    by_name = {feature.name: feature for feature in schema.feature}
    by_name[task.label].int_domain.max = task.first_label + len(class_names) - 1
    by_name[task.text].string_domain.value.extend(class_names)
    return schema


def class_names_of(schema: Any, text: str) -> list[str]:
    """Return the class list that was put into a schema, in the order of the labels.

    Args:
        schema: From `curated_schema`.
        text: Name of the feature with the class names.

    Raises:
        ValueError: The schema has no such feature.
    """
    for feature in schema.feature:
        if feature.name == text:
            return list(feature.string_domain.value)
    raise ValueError(f"expected a schema of Mirante's with the feature {text!r}, got one without it")
