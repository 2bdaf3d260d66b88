"""Makes a model card: the sections of Model Cards, as JSON and as Markdown.

Source: Mitchell et al., Model cards for model reporting, 2019.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.printable import printable
from components.base.task import task_named
from components.model_card.config import AboutConfig
from components.model_card.facts import Facts
from components.model_card.limits import find_limits

if TYPE_CHECKING:
    import jinja2

_TEMPLATE = Path(__file__).with_name("model_card.jinja")
# Settings that say most about a model.
SETTINGS = (
    "model.name",
    "model.weights",
    "transform.height_px",
    "transform.width_px",
    "transform.channels",
    "transform.resize",
    "transform.normalization",
    "training.epochs",
    "training.seed",
)
# What a card says of an export.
_OF_EXPORT = (
    "format",
    "metric",
    "value",
    "original_value",
    "test_images",
    "size_bytes",
    "original_size_bytes",
    "milliseconds",
    "original_milliseconds",
)


def make_card(facts: Facts) -> dict[str, Any]:
    """Return the card as JSON: a section by each key."""
    given, task = facts.given, task_named(facts.given.task)
    about = AboutConfig.model_validate(given.about)
    return {
        "model_details": {
            "name": given.name,
            "version": facts.version,
            "date": facts.date,
            "description": about.description,
            "owners": list(about.owners),
            "contact": about.contact,
            "license": about.license,
            "references": list(about.references),
            "task": task.gives,
            "class_names": list(given.class_names),
            "class_aliases": {name: dict(aliases) for name, aliases in given.class_aliases.items()},
            "language": about.language,
            "settings": dict(given.settings),
            "size_bytes": facts.size_bytes,
            "run_id": facts.run_id,
            "code": facts.code,
            "versions": dict(facts.versions),
        },
        "intended_use": {
            "primary_uses": about.intended_use,
            "primary_users": about.intended_users,
            "out_of_scope_uses": about.out_of_scope,
        },
        "factors": {"text": about.factors, "evaluated": ["class", *(["slice"] if facts.slices else [])]},
        "metrics": {"measured": list(facts.metrics), "bounds": dict(facts.bounds)},
        "evaluation_data": {
            "text": about.evaluation_data,
            "images": facts.test_images,
            "sha256": given.test_sha256,
        },
        "training_data": {
            "text": about.training_data,
            "source": given.source,
            "images": dict(given.images),
            "images_of_classes": {split: dict(counts) for split, counts in given.counts.items()},
            "sha256": given.data_sha256,
        },
        "quantitative_analyses": {
            "overall": dict(facts.metrics),
            "intervals_95": {name: dataclasses.asdict(found) for name, found in facts.intervals.items()},
            "per_class": {name: dict(values) for name, values in facts.per_class.items()},
            "slices": {name: dict(values) for name, values in facts.slices.items()},
            "baseline": facts.baseline,
            "baseline_metrics": dict(facts.baseline_metrics),
            "exports": [{key: each.get(key) for key in _OF_EXPORT} for each in facts.exports],
        },
        "ethical_considerations": {"text": about.ethical_considerations},
        "caveats_and_recommendations": {
            "text": about.caveats,
            "limits": find_limits(facts),
        },
    }


def format_card(card: dict[str, Any], facts: Facts) -> str:
    """Return the card of these facts as Markdown, with the class names in its language."""
    details = card["model_details"]
    names = _find_names(details["class_names"], details["class_aliases"], details["language"])
    limits = find_limits(_translate(facts, details["language"]))
    return _load_template().render(**card, shown=names, limits=limits)


def _find_names(
    class_names: Sequence[str], aliases: Mapping[str, Mapping[str, str]], language: str | None
) -> dict[str, str]:
    """Return each class's name in the language of a card by its own; its own if it has none in it."""
    return {name: aliases.get(name, {}).get(language or "", name) for name in class_names}


def _translate(facts: Facts, language: str | None) -> Facts:
    """Return the facts with the class names in the language of a card."""
    given = facts.given
    names = _find_names(given.class_names, given.class_aliases, language)
    counts = {
        split: {names.get(name, name): count for name, count in of_split.items()}
        for split, of_split in given.counts.items()
    }
    per_class = {names.get(name, name): values for name, values in facts.per_class.items()}
    return dataclasses.replace(facts, given=dataclasses.replace(given, counts=counts), per_class=per_class)


@functools.cache
def _load_template() -> jinja2.Template:
    import jinja2  # takes a tenth of a second

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": lambda value: f"{value:,}",
        "number": lambda value: "-" if value is None else f"{value:.4f}",
        "text": _escape,
    }
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))


def _escape(text: str) -> str:
    """Have a text, such as a name from the data, mean nothing in Markdown or HTML, and stay on its line."""
    text = printable(text.replace("\n", " ").strip())
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text
