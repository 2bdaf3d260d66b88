"""Class names in another language on the pages of runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.base import files
from components.base.errors import UsageError
from components.base.task import task_named
from components.pages.page import Page
from components.tasks.multilabel.page_mistakes import read_mistakes
from pipeline.history.class_names import find_names
from pipeline.history.compare import compare_runs
from pipeline.history.runs import PastRun, choose_run
from pipeline.report.comparison import make_comparison
from pipeline.report.make import make_report
from tests.make.commands import mirante
from tests.make.detections import make_detections
from tests.make.runs import make_run
from tests.pages.test_views import text_of

pytestmark = pytest.mark.stack_free

# A name with a dot, as it is in a key of the recipe; an alias that is no text, as it would be in HTML.
NAMES = ("cat", "st. bernard", "owl")
ALIASES = {"cat": {"pt": "gato", "de": "Katze"}, "st. bernard": {"pt": "são <b>"}}
LABELS = [0, 1, 2] * 4
DATA = {"test_sha256": "t"}


def write_recipe(run: PastRun, aliases: Any, **about: Any) -> PastRun:
    """Give a run names in its recipe; return it as it is read then."""
    recipe = {"name": "made", "data": {"class_names": aliases}, "about": about}
    (run.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return choose_run(str(run.folder), [])


def make_classifier(root: Path, wrong: int, aliases: Any = ALIASES, **about: Any) -> PastRun:
    answers = np.eye(3)[LABELS] * 0.7 + 0.1
    answers[:wrong] = np.roll(answers[:wrong], 1, axis=1)
    mistakes = {"images": wrong, "file": str(root / "evaluation" / "mistakes.csv")}
    run = make_run(root, NAMES, LABELS, answers, data=DATA, mistakes=mistakes)
    return write_recipe(run, aliases, **about)


def read_page(page: str) -> str:
    assert "could not be made" not in page
    # A page has settings as they are.
    return text_of(page.partition('id="lineage"')[0].partition('id="settings-that-differ"')[0])


def test_the_report_has_the_names_of_the_language_that_is_asked_for(tmp_path: Path) -> None:
    run = make_classifier(tmp_path / "a", 3)
    own, page = make_report(run), make_report(run, "pt")
    words = read_page(page)
    for name in ("cat", "st. bernard"):
        assert re.search(rf"\b{name}\b", read_page(own))
        assert not re.search(rf"\b{name}\b", words)
    for name in ("gato", "são <b>", "owl"):  # the owl has no other name
        assert words.count(name) > 3
    # The images behind the cells of the confusion matrix are found, too.
    assert "gato taken for são <b>: 1 image" in words
    assert own.count("<img") == page.count("<img")
    assert "são <b>" not in page
    with pytest.raises(UsageError, match="--language: expected one of de, pt, got 'fr'"):
        make_report(run, "fr")


def test_the_recipe_chooses_the_language_and_the_option_another_one(tmp_path: Path) -> None:
    run = make_classifier(tmp_path / "a", 2, language="pt")
    assert "gato" in read_page(make_report(run))
    assert "Katze" in read_page(make_report(run, "de"))
    # A run that was refused for its names has a report.
    run = write_recipe(run, {"cat": {"pt": "owl"}}, language="pt")
    assert "cat" in read_page(make_report(run))
    with pytest.raises(UsageError, match="got one that is also the name of another class"):
        make_report(run, "pt")
    run = write_recipe(run, None)
    assert find_names([run], None) == {}
    with pytest.raises(UsageError, match="expected none, since the classes have names in one language"):
        make_report(run, "pt")


def test_runs_side_by_side_have_names_from_both_recipes(tmp_path: Path) -> None:
    first = make_classifier(tmp_path / "a", 1, {"owl": {"pt": "coruja"}})
    comparison = compare_runs([first, make_classifier(tmp_path / "b", 4)])
    words = read_page(make_comparison(comparison, "pt"))
    assert "gato" in words
    assert "coruja" in words
    assert not re.search(r"\bcat\b|\bowl\b", words)
    assert "gato" not in read_page(make_comparison(comparison))


def test_boxes_are_drawn_with_the_names_of_the_page(tmp_path: Path) -> None:
    box = (20.0, 20.0, 120.0, 120.0)
    found, missed = make_detections([(box, 1)], [(box, 1, 0.9)]), make_detections([(box, 1)])
    runs = []
    for name, detections, wrong in (("a", found, 0), ("b", missed, 1)):
        mistakes = {"images": wrong, "file": str(tmp_path / name / "evaluation" / "mistakes.csv")}
        run = make_run(tmp_path / name, NAMES[:1], detections=[detections], data=DATA, mistakes=mistakes)
        runs.append(write_recipe(run, {"cat": {"pt": "gato"}}))
    pages = [make_comparison(compare_runs(runs), language) for language in (None, "pt")]
    own, drawn = (re.findall(r"data:image/jpeg;base64,[^\"]+", page) for page in pages)
    assert len(own) == len(drawn) == 3
    assert own[0] != drawn[0]
    assert own[2] == drawn[2]  # nothing was found, so nothing is named


def test_several_labels_of_a_mistake_are_translated_one_by_one(tmp_path: Path) -> None:
    page = Page("made", task_named("multilabel"), NAMES)
    page.translations = {"cat": "gato", "owl": "coruja"}
    rows = ("ü.png,cat; owl,,cat; owl,,1.0", "b.png,,owl,,owl; st. bernard,")
    table = "\n".join(("image,true,predicted,missed,false,loss", *rows, ""))
    files.write_text(str(tmp_path / "mistakes.csv"), table)
    found = [(each.image, each.true, each.missed, each.false) for each in read_mistakes(page, str(tmp_path))]
    assert found == [
        ("ü.png", "gato; coruja", "gato; coruja", ""),
        ("b.png", "", "", "coruja; st. bernard"),
    ]
    # Where a name holds the separator, nothing tells one class from two.
    page.class_names = ["cat; owl", "cat", "owl"]
    assert read_mistakes(page, str(tmp_path))[0].true == "cat; owl"


def test_the_commands_take_the_language(tmp_path: Path) -> None:
    first, other = make_classifier(tmp_path / "a", 1), make_classifier(tmp_path / "b", 4)
    page = tmp_path / "page.html"
    assert mirante("report", str(first.root), "-o", str(page), "--language", "pt").returncode == 0
    assert "gato" in page.read_text(encoding="utf-8")
    both = ["compare", str(first.root), str(other.root), "--language", "de"]
    assert mirante(*both, "-o", str(page)).returncode == 0
    assert "Katze" in page.read_text(encoding="utf-8")
    refused = mirante(*both)
    assert refused.returncode == 2
    assert "--language: expected -o FILE.html too" in refused.stderr


def test_a_damaged_recipe_names_no_language(tmp_path: Path) -> None:
    run = PastRun(tmp_path, "1", {})
    run.folder.mkdir(parents=True)
    for content in (b"about: [", b"\xff"):
        (run.folder / "recipe.yaml").write_bytes(content)
        assert find_names([run], None) == {}
        with pytest.raises((ValueError, yaml.YAMLError)):
            find_names([run], "pt")
