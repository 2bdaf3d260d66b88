"""The model card of a run, from small artifacts: its numbers, its texts, and the limits that it states."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base import serving_folder
from components.base.intervals import Interval
from components.model_card.card import format_card, make_card
from components.model_card.config import AboutConfig
from components.model_card.facts import Facts, Given
from components.model_card.files import read_facts, write_card
from components.model_card.limits import find_limits
from tests.make.runs import make_run

pytestmark = pytest.mark.stack_free

SECTIONS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
]
GIVEN = Given(
    about={},
    name="pets",
    task="classification",
    class_names=["cat", "dog"],
    settings={"model.name": "lenet", "model.weights": None},
    counts={"train": {"cat": 900, "dog": 800}, "test": {"cat": 100, "dog": 100}},
    images={"train": 1700, "test": 200},
    data_sha256="d1",
    test_sha256="d2",
    source="folder",
)
FACTS = Facts(
    given=GIVEN,
    version="7",
    run_id="20260101T000000.000",
    date="2026-01-01",
    versions={"tfx": "1.21"},
    code="abc",
    size_bytes=1234,
    metrics={"accuracy": 0.9},
    intervals={"accuracy": Interval(0.8, 0.95, "wilson")},
    bounds={"accuracy": "at least 0.5"},
    per_class={"cat": {"f1": 0.9}, "dog": {"f1": 0.88}},
    test_images=200,
    slices={},
    baseline="6",
    baseline_metrics={"accuracy": 0.85},
    warnings=[],
)


def change(**changes: Any) -> Facts:
    """Returns `FACTS` with other values, whether they were given or measured."""
    names = {field.name for field in dataclasses.fields(Given)}
    given = dataclasses.replace(GIVEN, **{name: changes.pop(name) for name in names & {*changes}})
    return dataclasses.replace(FACTS, given=given, **changes)


def limits(**changes: Any) -> str:
    return "\n".join(find_limits(change(**changes)))


def write_export(folder: Path) -> Path:
    """Write what is said of an export, as the Exporter does; return the folder of exports."""
    (folder / "onnx").mkdir(parents=True)
    facts = {
        "format": "onnx", "metric": "accuracy", "value": 0.89, "original_value": 0.9, "test_images": 200,
        "size_bytes": 500, "original_size_bytes": 1000, "milliseconds": 0.125, "original_milliseconds": 0.25,
    }  # fmt: skip
    (folder / "onnx" / "export.json").write_text(json.dumps(facts))
    return folder


def test_a_card_has_the_sections_of_model_cards_and_the_numbers_of_the_run(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 20
    answers = np.random.default_rng(0).random((60, 3))
    answers[np.arange(60), labels] += 0.6
    answers /= answers.sum(axis=1, keepdims=True)
    model = tmp_path / "serving" / "7"
    model.mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"a model")
    before = serving_folder.measure_files(str(model))
    names = ("cat", "dog", "owl")
    run = make_run(
        tmp_path, names, labels, answers, slices={"cat": {"accuracy": 0.25}, "dog": {"accuracy": 1.0}}
    )
    about = AboutConfig(description="Tells *pets* apart.", owners=("Ann", "Bo"))
    facts = read_facts(
        dataclasses.replace(GIVEN, about=about.model_dump(mode="json"), class_names=names),
        version="7",
        run_id=run.run_id,
        blessed_at=1_767_225_600,
        model=str(model),
        evaluation=run.outputs["Evaluator"]["evaluation"].uri,
        baseline=None,
        exports=str(write_export(tmp_path / "exports")),
    )
    write_card(str(model), facts)
    path = model / "assets.extra" / "model_card.md"
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS
    card = json.loads(path.with_suffix(".json").read_text())
    assert [key.replace("_", " ") for key in card] == [each.lower() for each in SECTIONS]
    assert card["model_details"]["date"] == "2026-01-01"
    assert card["model_details"]["size_bytes"] == len(b"a model")
    assert card["quantitative_analyses"]["overall"] == run.result["metrics"]
    assert card["quantitative_analyses"]["intervals_95"].keys() <= run.result["metrics"].keys()
    assert "accuracy" in card["quantitative_analyses"]["intervals_95"]
    assert "| slice | accuracy |\n|---|---:|\n| cat | 0.2500 |\n| dog | 1.0000 |" in text
    assert "| the model | 0.9000 | 1,000 | 0.250 |\n| onnx | 0.8900 | 500 | 0.125 |\n" in text
    assert "1 slice falls behind the mean accuracy of 0.62 by more than 0.1: cat 0.25." in text
    for name, value in run.result["metrics"].items():
        escaped = name.replace("_", r"\_")
        assert f"| {escaped} | {value:.4f} |" in text
    assert "Tells *pets* apart." in text  # Markdown of the recipe's author
    assert "- developed by: Ann, Bo" in text
    assert "Not stated (`about.intended_use` of the recipe)." in text
    # The card is no part of the model: neither its checksum nor a comparison with what was pushed knows it.
    assert serving_folder.measure_files(str(model)) == before
    (model / "assets.extra" / "labels.txt").write_text("cat\n")
    assert list(serving_folder.measure_files(str(model))) != list(before)


def test_names_from_the_data_mean_nothing_in_markdown() -> None:
    names = ["<script>alert(1)</script>", "a|b\n# c", "*x*_y_`z`", "größe\u202e"]
    facts = change(
        class_names=names,
        per_class={name: {"f1": 0.5} for name in names},
        counts={"train": dict.fromkeys(names, 1)},
    )
    text = format_card(make_card(facts), facts)
    assert "<script>" not in text
    assert "\n# c" not in text
    assert "\u202e" not in text
    assert r"a\|b \# c" in text
    assert r"\*x\*\_y\_\`z\`" in text
    tables = [line for line in text.splitlines() if line.startswith("| a")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in tables if "b" in line] == [3, 3]


def test_a_good_model_has_few_limits() -> None:
    (only,) = find_limits(FACTS)
    assert "images of the same origin" in only


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"counts": {"test": {"cat": 100, "dog": 8}}},
            "1 class (dog) has fewer than 30 test images, so its metrics are uncertain: "
            "of 8 images, a share of 0.5 means 0.22 to 0.78 (95 %).",
        ),
        ({"counts": {"test": {"cat": 1, "dog": 0}}}, "1 class (dog) has no test images: nothing is known"),
        ({"counts": {"train": {"cat": 49, "dog": 50}}}, "1 class (cat) has fewer than 50 training images."),
        ({"counts": {"train": {"cat": 500, "dog": 100}}}, "uneven: cat has 500, dog has 100"),
        (
            {"per_class": {"cat": {"f1": 0.9}, "dog": {"f1": 0.5}, "owl": {"f1": None}}},
            "1 class falls behind the mean f1 of 0.70 by more than 0.1: dog 0.50.",
        ),
        (
            {"slices": {"night": {"accuracy": 0.4}, "day": {"accuracy": 0.9}}},
            "1 slice falls behind the mean accuracy of 0.65 by more than 0.1: night 0.40.",
        ),
        ({"baseline": None}, "compared with no other one"),
        ({"data_sha256": ""}, "no checksum"),
        ({"counts": {}}, "were not counted"),
        ({"warnings": ["Something else."]}, "Something else."),
    ],
)
def test_limits_are_stated(changes: dict[str, Any], said: str) -> None:
    assert said not in limits()
    assert said in limits(**changes)


def test_each_metric_of_a_slice_has_a_column() -> None:
    facts = change(slices={"cat": {"accuracy": 0.5}, "dog": {"accuracy": 1.0, "auc": 0.75}})
    card = make_card(facts)
    words = format_card(card, facts)
    assert "| slice | accuracy | auc |" in words
    assert "| cat | 0.5000 | - |" in words
    assert "| dog | 1.0000 | 0.7500 |" in words


def test_a_model_of_which_little_is_known_has_a_card() -> None:
    empty: dict[str, Any] = {"class_names": [], "metrics": {}, "intervals": {}, "bounds": {}, "per_class": {}}
    empty |= {
        "counts": {},
        "images": {},
        "test_images": 0,
        "baseline": None,
        "baseline_metrics": {},
        "date": "",
    }
    facts = change(**empty)
    text = format_card(make_card(facts), facts)
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS
    assert "No metric had a bound." in text
