"""The page of a run, from small artifacts: what is on it, and that nothing makes it fail."""

from __future__ import annotations

import dataclasses
import html
import io
import itertools
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.base.intervals import wilson_interval
from components.evaluator.evaluation import read_stored, write_evaluation
from components.pictures.thumbnails import to_jpeg
from components.tasks.classification.figures import calibrate
from components.tasks.classification.predictions import Predictions, predict
from pipeline.history.runs import PastRun, choose_run
from pipeline.recipe.load import load_recipe
from pipeline.recipe.yaml_text import write_yaml
from pipeline.report.make import make_report, start_page
from pipeline.report.verdict import describe_verdict, find_intervals, show_verdict
from tests.make.commands import mirante
from tests.make.detections import make_random_detections
from tests.make.images import make_coloured_png
from tests.make.runs import RUN_ID, make_run
from tests.pages.test_views import text_of

pytestmark = pytest.mark.stack_free

NAMES = ("cat", "dog", "owl")
EVIL = "<script>alert(1)</script>"


def answers(labels: list[int], classes: int, seed: int = 0) -> Any:
    """Probabilities that are mostly right."""
    noise = np.random.default_rng(seed).random((len(labels), classes))
    noise[np.arange(len(labels)), labels] += 0.7
    return noise / noise.sum(axis=1, keepdims=True)


def report_of(*args: Any, **options: Any) -> str:
    page = make_report(make_run(*args, **options))
    assert "could not be made" not in page, re.findall(r"could not be made[^<]*", page)
    return page


def test_a_report_has_its_sections_in_order_and_the_numbers_of_the_result(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 20
    run = make_run(tmp_path, NAMES, labels, answers(labels, 3), pushed_model="/serving/1", infra_blessed=True)
    page = make_report(run)
    words = text_of(page)
    order = ["pushed", "Metrics on the test split", "Images of train", "Classes by split"]
    order += ["Sizes of the images", "Rejected"]
    order += ["Confusion matrix", "Classes", "ROC curve, and precision by recall", "Calibration"]
    order += ["The worst mistakes", "Nodes", "Lineage"]
    headings = re.findall(r"<h[23]>([^<]*)</h[23]>|class=\"badge[^>]*>([^<]*)", page)
    found = [one or other for one, other in headings]
    places = [found.index(name) for name in order]
    assert places == sorted(places)
    result = json.loads((run.folder / "result.json").read_text())
    for name, value in result["metrics"].items():
        assert f"{name} {value:.4f}" in words
    right = round(result["metrics"]["accuracy"] * 60)
    interval = wilson_interval(right, 60)
    assert interval is not None
    assert f"{interval.low:.4f} to {interval.high:.4f}" in words
    assert "It was" not in words
    assert "There was no baseline to compare with." in words
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", page)


@pytest.mark.slow
def test_the_report_of_a_detector_has_the_numbers_of_the_result(tmp_path: Path) -> None:
    images = make_random_detections(3, 12, 2, boxes=6)
    run = make_run(tmp_path, NAMES[:2], detections=images, data={"sha256": "d1"})
    page = make_report(run)
    assert "could not be made" not in page
    words = text_of(page)
    assert all(f" {name} {value:.4f} " in words for name, value in run.metrics.items())
    for name in ("map", "map_50", "map_75"):
        interval = find_intervals(run)[name]
        assert f"{run.metrics[name]:.4f} {interval.low:.4f} to {interval.high:.4f}" in words
    errors = json.loads((tmp_path / "evaluation/detection/errors.json").read_text())
    for kind, count in errors["counts"].items():
        assert f" {kind.replace('_', ' ')} {count} " in words
    order = ["Test", "Classes", "Precision by recall", "Errors", "The worst images", "Images chosen by name"]
    headings = re.findall(r"<h[23]>([^<]*)</h[23]>", page)
    places = [headings.index(name) for name in order]
    assert places == sorted(places)


class Outline(HTMLParser):
    """Checks that elements are closed in order, and gathers ids, headings, and what images lack."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.levels: list[int] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [(values["href"] or "")[1:]] if tag == "a" else []
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        assert tag != "img" or values.get("alt"), values
        assert tag != "svg" or values.get("aria-label")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_report_is_well_formed_and_its_headings_are_in_order(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 9
    page = report_of(tmp_path, NAMES, labels, answers(labels, 3, seed=1), rejects="a.png,broken\n")
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.links
    assert set(outline.links) <= set(outline.ids)
    assert outline.levels[0] == 1
    assert all(later - level <= 1 for level, later in itertools.pairwise(outline.levels))


@pytest.mark.slow
def test_the_worst_mistakes_are_shown_with_their_heat_maps(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 4
    run = make_run(tmp_path, NAMES, labels, np.roll(answers(labels, 3), 1, axis=1))
    words = "where the model looks"
    assert words not in make_report(run)
    heat = tmp_path / "evaluation" / "heat" / "0.jpeg"
    heat.parent.mkdir()
    heat.write_bytes(to_jpeg(Image.new("RGB", (8, 8), "red")))
    page = make_report(run)
    assert page.count(f', {words}"') == 1  # the other mistakes have none
    assert "Below an image: where the model looks for the class that it predicts" in page


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([0, 1, 0, 1], answers([0, 1, 0, 1], 3)),  # no image of the third class
        pytest.param(
            [0, 1, 2, 2], np.tile([0.2, 0.3, 0.5], (4, 1)), marks=pytest.mark.slow
        ),  # always the same
        ([1], [[0.1, 0.8, 0.1]]),  # one image
        pytest.param([1, 1], [[0.1, 0.8, 0.1], [0.5, 0.3, 0.2]], marks=pytest.mark.slow),  # one class
        ([0, 1, 2], np.eye(3)),  # all are right
        pytest.param([0, 1, 2], np.eye(3)[[1, 2, 0]], marks=pytest.mark.slow),  # all are wrong
        ([0, 1], [[np.nan, 0.1, 0.2], [0.1, 0.8, 0.1]]),  # not a number
        ([0, 1], np.full([2, 3], np.nan)),  # none is a number
        ([], np.zeros([0, 3])),  # an empty split
    ],
)
def test_a_report_takes_whatever_was_measured(tmp_path: Path, labels: list[int], probabilities: Any) -> None:
    words = text_of(report_of(tmp_path, NAMES, labels, probabilities))
    assert "nan" not in words.split()
    predicted = np.argmax(probabilities, axis=1) if len(labels) else np.zeros(0)
    are_numbers = np.isfinite(probabilities).all()
    are_right = bool(len(labels)) and bool(are_numbers) and (predicted == labels).all()
    assert ("Every image was classified correctly." in words) == are_right
    assert ("left out and count as wrong" in words) != are_numbers
    assert words.count("Nothing was measured.") == (0 if len(labels) else 2)
    empty = [name for place, name in enumerate(NAMES) if place not in labels]
    assert (f"Not judged, without test images: {', '.join(empty)}." in words) == (0 < len(empty) < 3)
    assert ("No image has probabilities that are numbers." in words) == (
        not len(labels) or not np.isfinite(probabilities).any()
    )


def test_a_report_of_a_run_that_failed_says_why(tmp_path: Path) -> None:
    page = report_of(
        tmp_path, NAMES, error="Trainer: the loss is not a number", rejects=f"{EVIL}.png,broken\n"
    )
    words = text_of(page)
    assert "The run ended before a model was judged. Trainer: the loss is not a number" in words
    assert "did not get to: Metrics on the test split, What the network sees, Training, Test, Model." in words
    assert f"broken 1 {EVIL}.png" in words
    assert EVIL not in page


def test_refused_data_are_shown_with_their_rejects(tmp_path: Path) -> None:
    rejects = "cat/a.png,too small\ncat/gone.png,too small\n"
    run = make_run(tmp_path, NAMES, rejects=rejects, wall_seconds=10)
    (run.folder / "record.json").unlink()
    manifest = (tmp_path / "data" / "manifest.json").read_text()
    (tmp_path / "data" / "manifest.json").unlink()
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    (tmp_path / "raw" / "cat" / "a.png").write_bytes(make_coloured_png(0, 0))
    (run.folder / "recipe.yaml").write_text(f"name: made\ndata:\n  path: {tmp_path}/raw\n")

    def make_page(written_after_secs: float) -> str:
        for path in (tmp_path / "data").iterdir():
            assert run.began is not None
            os.utime(path, times=(run.began.timestamp() + written_after_secs,) * 2)
        return make_report(choose_run(str(run.folder), []))

    page = make_page(written_after_secs=5)
    assert "too small 2 cat/a.png cat/gone.png" in text_of(page)
    assert 'alt="cat/a.png"' in page
    assert "could not be made" not in page
    # Data that were ingested, and refused when the run looked at them.
    (tmp_path / "data" / "manifest.json").write_text(manifest)
    words = text_of(make_page(written_after_secs=5))
    assert "The data were refused. 3 train images 3 classes 2 rejected" in words
    assert "class train cat 1 dog 1 owl 1 " in words
    # The same data of a run that ended later, before its nodes, or was interrupted.
    result = (run.folder / "result.json").read_text()
    for end in (
        {"data": {"source": "folder"}},
        {"error": "interrupted; the same command continues from here"},
    ):
        (run.folder / "result.json").write_text(json.dumps(json.loads(result) | end))
        words = text_of(make_page(written_after_secs=5))
        assert "The run ended before a node had the data. 3 train images 3 classes 2 rejected" in words
    (run.folder / "result.json").write_text(result)
    # Those of an earlier or later run are not this one's.
    for secs in (-60, 60):
        assert "Data The run used no data. Nodes" in text_of(make_page(written_after_secs=secs))


def test_a_run_that_was_killed_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path, NAMES)
    (run.folder / "result.json").unlink()
    (run.folder / "record.json").unlink()
    words = text_of(make_report(choose_run(str(run.folder), [])))
    assert "unfinished The run is under way, or was killed." in words
    assert words.count("That is written down at the end of a run.") == 2  # data and nodes
    assert "No node ran." not in words
    assert "did not get to" not in words  # that is not known
    assert "could not be made" not in words


def test_a_run_says_at_which_node_it_ended(tmp_path: Path) -> None:
    nodes = {
        "StatisticsGen": {"status": "cached", "seconds": 0.0, "peak_memory_bytes": 7 << 20},
        "DataGate": {"status": "failed", "seconds": 1.5, "peak_memory_bytes": 9 << 20},
        "Trainer": {"status": "skipped", "seconds": 0.0, "peak_memory_bytes": None},
    }
    words = text_of(report_of(tmp_path, NAMES, error="DataGate: refused", components=nodes))
    assert "The run ended at DataGate, before a model was judged. DataGate: refused" in words
    # A cached node used no memory of this run's.
    assert "StatisticsGen cached 0.0 – DataGate failed 1.5 9 Trainer skipped 0.0 – " in words


@pytest.mark.slow
def test_a_model_that_is_not_blessed_is_told_why_in_a_sentence(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 4
    error = "the model is not blessed: a; b; c; d"
    made = make_run(tmp_path, NAMES, labels, answers(labels, 3), blessed=False, error=error)
    found = read_stored(str(tmp_path / "evaluation"))
    assert found is not None

    def refused_for(*failures: str, **result: Any) -> PastRun:
        refused = dataclasses.replace(found, blessed=False, failures=list(failures))
        write_evaluation(str(tmp_path / "evaluation"), refused)
        return dataclasses.replace(made, result=made.result | result)

    baseline = {"model": "/serving/7", "version": 7}
    assert describe_verdict(refused_for("accuracy is low", "no", baseline=baseline)) == (
        "The model was not blessed, so it was not pushed: accuracy is low; no. The baseline was version 7."
    )
    page = text_of(make_report(refused_for("accuracy is low")))
    assert "pushed: accuracy is low. There was no baseline to compare with. 0." in page  # and nothing twice
    failed = {"Pusher": {"status": "failed", "seconds": 0.1}}
    for more in (
        {"error": "Pusher: disk full", "components": failed},
        {"error": "interrupted; the same command"},
    ):
        run = refused_for("accuracy is low", **more)
        show_verdict(verdict := start_page(run, "verdict"), run)
        words = text_of(verdict.render().html)
        assert f"pushed: accuracy is low. There was no baseline to compare with. {more['error']} 0." in words
    page = text_of(make_report(refused_for("a", "b", "c", "d")))
    assert f"pushed: a; b; and 2 more reasons. There was no baseline to compare with. {error} 0." in page
    (tmp_path / "evaluation" / "evaluation.json").unlink()
    assert "so it was not pushed: it missed a bound. There was no baseline" in describe_verdict(made)


def test_names_from_the_data_are_escaped(tmp_path: Path) -> None:
    names = (EVIL, "$x$", "größe\u202e")
    labels = [0, 1, 2] * 4
    page = report_of(tmp_path, names, labels, answers(labels, 3, seed=3), prefix=EVIL)
    assert EVIL not in page
    assert html.escape(EVIL) in page
    assert "größe" in page
    assert page.count("<script>") == 1  # ours, which sorts tables


def test_a_class_like_a_formula_keeps_its_name_and_its_mistakes(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 4
    page = report_of(tmp_path, ("=x", "-dog", "owl"), labels, np.roll(answers(labels, 3), 1, axis=1))
    assert "&#39;=x" not in page
    assert 'id="pair-0-1"' in page  # with the images behind the cell
    assert 'alt="image0.png: =x taken for -dog"' in page


@pytest.mark.slow
def test_a_cell_of_the_confusion_matrix_links_to_its_mistakes_or_nowhere(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(16), 15)
    wrong = np.eye(16)[[other for true in range(16) for other in range(16) if other != true]]
    page = report_of(tmp_path, [f"class {place}" for place in range(16)], labels.tolist(), wrong)
    outline = Outline(page)
    linked = [link for link in outline.links if link.startswith("pair-")]
    assert len(linked) == 200
    assert set(linked) <= set(outline.ids)
    assert page.count('class="w"') == 240
    assert "200 of 240 pairs of classes that are confused." in text_of(page)


@pytest.mark.slow
def test_a_report_of_very_many_classes_draws_the_matrix(tmp_path: Path) -> None:
    names = [f"class {place}" for place in range(120)]
    labels = list(range(120)) * 2
    page = report_of(tmp_path, names, labels, answers(labels, 120))
    assert 'class="confusion"' not in page
    assert "index of the true class" in page
    assert len(page) < 700_000


def test_a_run_of_an_earlier_version_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path, NAMES, [0], [[1, 0, 0]])
    (run.folder / "record.json").unlink()
    words = text_of(make_report(run))
    assert "could not be made" not in words
    assert "accuracy" in words
    assert "The run is of an earlier version, which kept no list of its artifacts." in words


def test_settings_are_compared_with_the_built_in_recipe_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, NAMES)

    def settings_of(*changes: str) -> str:
        recipe = load_recipe("digits", changes, elsewhere=True)
        (run.folder / "recipe.yaml").write_text(write_yaml(recipe.model_dump(mode="json")))
        page = make_report(choose_run(str(run.folder), []))
        assert "could not be made" not in page
        return text_of(page).partition("Settings")[2]

    assert "As the built-in recipe digits has them. " in settings_of()
    words = settings_of("training.epochs=3", "data.splits={train: 0.6, eval: 0.2, test: 0.2}")
    assert (
        "Changed from the built-in recipe digits: setting value in the recipe data.splits.train 0.6 0.7 "
        "data.splits.eval 0.2 0.1 training.epochs 3 15 " in words
    )
    assert "transform.height_px 24 " in words  # the recipe's own, other than the default
    words = settings_of("name=mine")
    assert words.strip().startswith("Settings other than the defaults:")


@pytest.mark.slow
def test_slices_are_shown_next_to_the_whole(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 4
    # Of all images together the last metric has no number.
    slices = {EVIL: {"accuracy": 0.25, "loss": 0.5}, "dog": {"accuracy": 1.0, "other": 0.75}}
    page = report_of(tmp_path, NAMES, labels, answers(labels, 3), slices=slices)
    words = text_of(page)
    assert f"Slices slice accuracy loss other {EVIL} 0.2500 0.5000 – dog 1.0000 – 0.7500 all images " in words
    assert EVIL not in page
    assert "Slices</h3>" not in report_of(tmp_path / "without", NAMES, labels, answers(labels, 3))


def test_predictions_are_kept_in_little_room() -> None:
    names = [f"{place}.png" for place in range(2000)] + ["größe\udc80" + "x" * 5000]
    found = predict(("cat", "dog"), names, np.zeros(2001), np.full([2001, 2], 0.5))
    stored = found.to_bytes()
    with np.load(io.BytesIO(stored)) as archive:
        assert sum(archive[name].nbytes for name in archive.files) < 200_000  # not 2,001 times the longest
    back = Predictions.from_bytes(stored)
    assert back.images == sorted(names)
    assert back.class_names == ("cat", "dog")
    assert Predictions.from_bytes(Predictions().to_bytes()).images == []


def test_ece_is_the_mean_distance_of_the_bins() -> None:
    # Two images of 0.9, one is right; two of 0.6, both are right: (2 x 0.4 + 2 x 0.4) / 4.
    bins, ece = calibrate(np.array([0.9, 0.9, 0.6, 0.6, -1.0]), np.array([True, False, True, True, False]))
    assert ece == pytest.approx(0.4)
    assert [(each.images, round(each.accuracy, 3)) for each in bins] == [(2, 1.0), (2, 0.5)]
    assert calibrate(np.zeros(0), np.zeros(0, bool)) == ([], None)


def test_wilsons_interval_is_that_of_the_tables() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    for (count, total), ends in {(81, 263): (0.2553, 0.3662), (0, 20): (0.0, 0.1611)}.items():
        interval = wilson_interval(count, total)
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(ends, abs=5e-5)
    assert wilson_interval(0, 0) is None


@pytest.mark.slow
def test_the_command_writes_where_it_is_asked_to(tmp_path: Path) -> None:
    labels = [0, 1, 2]
    make_run(tmp_path / "root", NAMES, labels, answers(labels, 3))
    done = mirante("report", str(tmp_path / "root"), "-o", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    done = mirante("report", str(tmp_path / "root"))
    assert f"root/runs/{RUN_ID}/report.html" in done.stdout
    assert mirante("report", str(tmp_path / "nothing")).returncode == 2
