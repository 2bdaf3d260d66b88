"""Class names in other languages: from the recipe to the card, and from there to answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UsageError
from components.base.saved_model import CARD_FILES
from components.prediction.language import translate_classes
from pipeline.data.examples import Examples
from pipeline.model_card import describe_for_card
from pipeline.recipe.load import load_recipe

NAMES = ("cat", "dog", "größe")


def write_card(folder: Path, **aliases: dict[str, str]) -> str:
    path = folder / CARD_FILES[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model_details": {"class_aliases": aliases}}), encoding="utf-8")
    return str(folder)


def test_a_class_without_a_name_keeps_its_own(tmp_path: Path) -> None:
    model = write_card(tmp_path, cat={"pt": "gato"}, dog={"pt": "cão", "de": "Hund"})
    assert translate_classes(model, NAMES, "pt") == {"cat": "gato", "dog": "cão", "größe": "größe"}
    assert translate_classes(model, NAMES, "de") == {"cat": "cat", "dog": "Hund", "größe": "größe"}
    with pytest.raises(UsageError, match="--language: expected one of de, pt, got 'fr'"):
        translate_classes(model, NAMES, "fr")


def test_a_model_without_further_names_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="expected none, since the model has names in one language, got 'pt'"
    ):
        translate_classes(str(tmp_path), NAMES, "pt")
    model = write_card(tmp_path, cat={"pt": "dog"})
    with pytest.raises(UsageError, match="also the name of another class"):
        translate_classes(model, NAMES, "pt")


def test_the_card_has_the_names_of_the_recipe() -> None:
    examples = Examples(folder=Path("data"), patterns={}, class_names=NAMES)

    def describe(*overrides: str) -> dict[str, Any]:
        return describe_for_card(load_recipe("digits", list(overrides)), examples)

    plain = describe()
    # The Pusher's cache keeps what it has where a recipe has no such names.
    assert "class_aliases" not in plain
    named = describe("data.class_names={cat: {pt: gato, pt-BR: gatinho}}")
    assert named.pop("class_aliases") == {"cat": {"pt": "gato", "pt-BR": "gatinho"}}
    assert named == plain
    with pytest.raises(UsageError, match=r"data\.class_names: expected classes of the data, got 'cats'"):
        describe("data.class_names={cats: {pt: gatos}}")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{cat: {PT: gato}}", "data.class_names"),
        ("{cat: {pt: ''}}", "data.class_names"),
        ("{cat: {pt: animal}, dog: {pt: animal}}", "got 'animal' \\(pt\\) for cat and dog"),
        ('{cat: {pt: "ga\\nto"}}', "control character"),
    ],
)
def test_names_that_cannot_be_used_are_refused(value: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe("digits", [f"data.class_names={value}"])


def test_the_card_shows_them() -> None:
    from components.model_card.card import format_card, make_card
    from components.model_card.facts import Given
    from tests.model_card.test_model_card import FACTS

    given = Given(**{**vars(FACTS.given), "class_aliases": {FACTS.given.class_names[0]: {"pt": "gato"}}})
    card = make_card(dataclasses.replace(FACTS, given=given))
    assert f"- {FACTS.given.class_names[0]} in pt: gato" in format_card(card)
