"""Settings of the Exporter: the part `export` of a recipe."""

from typing import Annotated

from pydantic import AfterValidator, Field

from components.base.settings import Positive, Settings, Share
from components.base.words import suggest
from components.exporter.formats import FORMATS


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"expected some of {', '.join(FORMATS)}, got {name!r}{suggest(name, FORMATS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"expected each format once, got {', '.join(names)}")
    return names


class ExportConfig(Settings):
    """Formats of other runtimes in which every new, blessed model is written and measured."""

    formats: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_check_names)] = Field(
        description=f"some of {', '.join(FORMATS)} (docs/export.md)"
    )
    max_drop: Share = Field(
        0.02,
        description="refuse the model if accuracy (else mean average precision) on the test split falls by "
        "more in a format",
    )
    calibration_images: Positive = Field(
        200, description="training images that formats with 8 bits measure ranges on"
    )
