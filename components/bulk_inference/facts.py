"""Properties of the node's artifact: whether the model was asked, and how many answers there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.prediction.batch_files import FileFormat

_ASKED = "asked"


@dataclasses.dataclass(frozen=True)
class AnswerFacts:
    """Numbers of files, of images, and of errors among the answers, and the format of the files."""

    files: int
    images: int
    errors: int
    format: FileFormat


def note_facts(artifact: Any, facts: AnswerFacts | None) -> None:
    """Write facts to an artifact of TFX; None says that the model was not asked."""
    artifact.set_int_custom_property(_ASKED, int(facts is not None))
    if facts is not None:
        for name in ("files", "images", "errors"):
            artifact.set_int_custom_property(name, getattr(facts, name))
        artifact.set_string_custom_property("format", facts.format)


def read_facts(properties: Mapping[str, Any]) -> AnswerFacts | None:
    """Return the facts in an artifact's properties; None if the model was not asked."""
    if properties.get(_ASKED) != 1:
        return None
    return AnswerFacts(**{field.name: properties[field.name] for field in dataclasses.fields(AnswerFacts)})
