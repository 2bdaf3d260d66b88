"""Class names in other languages: from the recipe to the card, and from there to answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import UsageError
from components.base.saved_model import CARD_FILES, LABELS_FILE
from components.prediction.language import translate_classes
from pipeline.data.examples import Examples
from pipeline.model_card import describe_for_card
from pipeline.recipe.load import load_recipe
from pipeline.serving.loading import Loader
from pipeline.serving.models.servable import _rename

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
        UsageError, match="expected none, since the classes have names in one language, got 'pt'"
    ):
        translate_classes(str(tmp_path), NAMES, "pt")
    model = write_card(tmp_path, cat={"pt": "dog"})
    with pytest.raises(UsageError, match="also the name of another class"):
        translate_classes(model, NAMES, "pt")


@pytest.mark.parametrize(
    "card",
    [
        '{"model_details": {"class_al',
        "[]",
        "{}",
        '{"model_details": []}',
        '{"model_details": {"class_aliases": null}}',
        '{"model_details": {"class_aliases": {"cat": "größe"}}}',
    ],
)
def test_a_damaged_card_or_that_of_another_program_has_no_names(card: str, tmp_path: Path) -> None:
    model = write_card(tmp_path, cat={"pt": "gato"})
    (tmp_path / CARD_FILES[1]).write_text(card, encoding="utf-8")
    with pytest.raises(UsageError, match="expected none, since the classes have names in one language"):
        translate_classes(model, NAMES, "pt")
    given: Any = dict.fromkeys(field.name for field in dataclasses.fields(Loader))
    assert Loader(**{**given, "language": "pt"})._find_names(model) == {}


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
    # The language of the card and the report.
    aliases = "data.class_names={cat: {pt: gato}}"
    named = describe(aliases, "about.language=pt")
    assert named["about"].pop("language") == "pt"
    assert named == describe(aliases)
    with pytest.raises(UsageError, match=r"about\.language: expected one of pt, got 'de'"):
        describe(aliases, "about.language=de")
    with pytest.raises(UsageError, match=r"about\.language pt: .* also the name of another class"):
        describe("data.class_names={cat: {pt: dog}}", "about.language=pt")


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
    facts = dataclasses.replace(FACTS, given=given)
    words = format_card(make_card(facts), facts)
    assert f"- {FACTS.given.class_names[0]} in pt: gato" in words
    assert "| cat | " in words
    given = dataclasses.replace(given, about={"language": "pt"})
    per_class = {**FACTS.per_class, "cat": {"f1": 0.1}}
    facts = dataclasses.replace(FACTS, given=given, per_class=per_class)
    card = make_card(facts)
    # Programs read the classes' own names everywhere.
    assert card["model_details"]["class_names"] == ["cat", "dog"]
    assert "gato" not in "".join(card["caveats_and_recommendations"]["limits"])
    words = format_card(card, facts)
    assert "- classes: gato, dog" in words
    assert words.count("| gato | ") == 2
    assert "| cat | " not in words
    assert "falls behind the mean f1 of 0.49 by more than 0.1: gato 0.10." in words


def test_a_server_renames_texts_and_no_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = write_card(tmp_path, cat={"pt": "gato"}, dog={"pt": "cão"})
    (tmp_path / LABELS_FILE).write_text("cat\ndog\ngröße\n", encoding="utf-8")
    given: Any = dict.fromkeys(field.name for field in dataclasses.fields(Loader))
    loader = Loader(**{**given, "language": "pt"})
    names = loader._find_names(model)
    assert names == {b"cat": b"gato", b"dog": "cão".encode(), "größe".encode(): "größe".encode()}
    texts = np.array([[b"dog", b"cat"], [b"", b"cat"]], dtype=object)
    assert _rename(texts, names).tolist() == [["cão".encode(), b"gato"], [b"", b"gato"]]
    assert _rename(texts[:0], names).shape == (0, 2)
    assert _rename(scores := np.ones((2, 2), np.float32), names) is scores
    other = dataclasses.replace(loader, language="fr")
    assert other._find_names(model) == {}
    assert "it answers with the classes' own names: --language: expected one of pt, got 'fr'" in caplog.text
    assert dataclasses.replace(loader, language="")._find_names("nowhere") == {}
