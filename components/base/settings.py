"""Base of all settings, and the kinds of numbers that they hold. Imports no TensorFlow.

Every class refuses unknown keys and is frozen; `pipeline.recipe` joins them to a recipe and words the errors.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: Any) -> Any:
    """Refuse what pydantic would take for a number and nobody means as one."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
# Strict: else `epochs: yes` would be one epoch. What TensorFlow and protocol buffers count in has 32 bits.
Positive = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
# Of an image's side: larger ones no network takes, and no memory holds.
Pixels = Annotated[int, Field(ge=1, le=16384, strict=True)]
# The numbers of float32, which trainings count in.
Float = Annotated[Number, Field(ge=-3e38, le=3e38)]
PositiveFloat = Annotated[Number, Field(gt=0.0, le=3e38)]
NotNegativeFloat = Annotated[Number, Field(ge=0.0, le=3e38)]


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, and what is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
