"""The base class of all settings, their numbers, and the mark of paths. Imports no TensorFlow.

`pipeline.recipe` joins the settings of all rooms to a recipe, and writes the messages about them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _check_number(value: Any) -> Any:
    """Refuse booleans and texts with an underscore, which pydantic takes for numbers."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


Number = Annotated[float, BeforeValidator(_check_number)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
# Strict: otherwise `epochs: yes` would be one epoch. TensorFlow and protocol buffers count in 32 bits.
Positive = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
# One side of an image; no network takes larger ones.
Pixels = Annotated[int, Field(ge=1, le=16384, strict=True)]
# Numbers of float32, in which a training computes.
Float = Annotated[Number, Field(ge=-3e38, le=3e38)]
PositiveFloat = Annotated[Number, Field(gt=0.0, le=3e38)]
NotNegativeFloat = Annotated[Number, Field(ge=0.0, le=3e38)]


@dataclasses.dataclass(frozen=True)
class IsPath:
    """Marks a field that holds the path of a file or folder, on a disk or in a bucket.

    A field is marked by its annotation: `label_map: Annotated[str | None, IsPath()] = None`.
    `pipeline.recipe.paths` finds all marked fields of a recipe.

    Attributes:
        words: Values that are no paths.
        prefix: What a path has before it; a value without the prefix is an address.
        is_read_here: Whether it is read when the recipe is loaded, also if the run is on another machine.
        is_written: Whether a run writes it; otherwise it must be there before.
        makes_model: Whether the file has weights that go into the model.
        is_name: Takes the values of the field's section and the value; returns whether it is a name instead.
    """

    words: tuple[str, ...] = ()
    prefix: str = ""
    is_read_here: bool = False
    is_written: bool = False
    makes_model: bool = False
    is_name: Callable[[Mapping[str, Any], str], bool] | None = None

    def is_path(self, section: Mapping[str, Any], value: Any) -> bool:
        """Return whether a value of the field, in its section, is a path."""
        if not isinstance(value, str) or value in self.words:
            return False
        return self.is_name is None or not self.is_name(section, value)


@dataclasses.dataclass(frozen=True)
class NotSearched:
    """Marks a field that a search must not set, with all fields in it.

    Attributes:
        reason: Why, for the message.
        same_model: Whether the training makes the same model with any value: a training resumes with another.
    """

    reason: str
    same_model: bool = False


def not_searched(settings: type[BaseModel]) -> dict[str, NotSearched]:
    """Return the marks of the fields of a class of settings, by name."""
    return {
        name: mark
        for name, field in settings.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, NotSearched)
    }


class Settings(BaseModel):
    """Base of all settings: frozen; unknown keys, infinity and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
