"""The page of runs side by side, from small artifacts."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.history.compare import compare_runs
from pipeline.history.runs import PastRun, choose_run
from pipeline.history.text import format_comparison
from pipeline.report.comparison import make_comparison
from tests.make.detections import make_detections
from tests.make.runs import make_run
from tests.pages.test_views import text_of

pytestmark = pytest.mark.stack_free

NAMES = ("cat", "<script>alert(1)</script>")
DATA = {"test_sha256": "t", "images": {"test": 40}}


def made(root: Path, wrong: int, first_wrong: int = 0, **result: Any) -> PastRun:
    """A run of 40 test images of which some are wrong, in a row."""
    labels = [0, 1] * 20
    answers = np.eye(2)[labels] * 0.8 + 0.1
    for place in range(first_wrong, first_wrong + wrong):
        answers[place] = answers[place][::-1]
    mistakes = {"images": wrong, "file": str(root / "evaluation" / "mistakes.csv")}
    return make_run(root, NAMES, labels, answers, data=DATA, mistakes=mistakes, infra_blessed=True, **result)


def page_of(*runs: PastRun) -> str:
    page = make_comparison(compare_runs(runs))
    assert "could not be made" not in page, re.findall(r"could not be made[^<]*", page)
    return page


def test_runs_are_side_by_side_with_the_images_that_one_gets_right(tmp_path: Path) -> None:
    page = page_of(made(tmp_path / "a", 2), made(tmp_path / "b", 12, first_wrong=1))
    words = text_of(page)
    assert "A and B differ in accuracy by more than chance (McNemar's exact test, p = 0.0063)" in words
    assert "only A gets 11 images right, only B 1 image, and both get 1 image wrong." in words
    assert "accuracy 0.9500 0.7000 -0.2500" in words
    assert "Only A is right, B is wrong: 11 images" in words
    assert "Only B is right, A is wrong: 1 image " in words
    assert re.findall(r"<b>cat</b>", page)  # an image with its class
    assert "image0.png" in words  # which only B gets right
    assert NAMES[1] not in page
    assert "The runs have the same settings." in words
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", page)


def test_a_metric_on_the_same_drawn_splits_has_an_interval_of_its_difference(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 2)
    (much,) = compare_runs([first, made(tmp_path / "b", 12)]).pairs
    interval = much.differences["loss"]
    # Ten images more of 40 have a loss of log 0.9 - log 0.1 more; drawn are mostly 5 to 15 of them.
    each = np.log(9) / 40
    assert 4 * each < interval.low < 7 * each
    assert 13 * each < interval.high < 17 * each
    # One image more is wrong: of many draws none has it, so it may be chance.
    (little,) = compare_runs([first, made(tmp_path / "c", 3)]).pairs
    assert little.differences["loss"].low == pytest.approx(0, abs=1e-6)
    assert compare_runs([first, made(tmp_path / "d", 2)]).pairs[0].differences == {}
    words = text_of(page_of(first, *(choose_run(str(tmp_path / name), []) for name in "bc")))
    assert f"{interval.low:+.4f} to {interval.high:+.4f}" in words
    assert "With 0 in it the difference may be chance." in words
    said = format_comparison(compare_runs([first, choose_run(str(tmp_path / "b"), [])]))
    assert "  loss differs by more than chance (paired bootstrap, 95 %: +0." in said


@pytest.mark.slow
def test_detectors_are_compared_by_images_without_an_error_and_by_their_map(tmp_path: Path) -> None:
    box = (10.0, 10.0, 110.0, 110.0)
    found = [make_detections([(box, 1)], [(box, 1, 0.9)], name=f"{place:02}.jpg") for place in range(20)]
    missed = [make_detections([(box, 1)], name=f"{place:02}.jpg") for place in range(20)]
    runs = []
    for name, images in (("a", found), ("b", [*missed[:10], *found[10:]])):
        told = {"images": 10 if name == "b" else 0, "file": str(tmp_path / name / "evaluation/mistakes.csv")}
        runs.append(make_run(tmp_path / name, NAMES, detections=images, data=DATA, mistakes=told))
    shutil.rmtree(tmp_path / "b" / "examples")  # those of the other run will do
    page = page_of(*runs)
    words = text_of(page)
    assert "A and B differ in the share of images without an error by more than chance" in words
    assert "only A gets 10 images right, only B 0 images, and both get 0 images wrong." in words
    assert re.search(r" map 1\.0000 0\.\d{4} -0\.\d{4} -0\.\d{4} to -0\.\d{4} ", words)
    # Six are shown: the labels, the boxes of A, and those of B, which found none.
    for name in (f"{place:02}.jpg" for place in range(6)):
        assert f"{name} labels A: 1 right B: 1 missed " in words
        for alt in ("labels", "A: 1 right", "B: 1 missed"):
            assert f'alt="{name}, {alt}"' in page
    assert page.count('<figure class="row">') == 6
    assert "Also 06.jpg, 07.jpg, 08.jpg, 09.jpg." in words
    assert "No image is shown" not in words

    # What the images need may be gone.
    shutil.rmtree(tmp_path / "a" / "examples")
    words = text_of(page_of(*runs))
    assert "No image is shown: the test images are gone. 00.jpg, 01.jpg, 02.jpg" in words
    (tmp_path / "a" / "evaluation" / "detection" / "counted.npz").unlink()
    words = text_of(page_of(*runs))
    assert "No image is shown: an evaluation of an earlier version kept no boxes. 00.jpg, 01.jpg" in words


@pytest.mark.slow
def test_boxes_of_both_detectors_are_on_the_images_that_differ(tmp_path: Path) -> None:
    """Two images have one name: one model alone gets the first right, and both get the second wrong."""
    left, right = (10.0, 10.0, 110.0, 110.0), (200.0, 10.0, 300.0, 110.0)
    hostile = "<script>alert('ä')</script>.jpg"
    first = make_detections([(left, 1), (right, 2)], [(left, 1, 0.9), (right, 2, 0.8)], name=hostile)
    second = make_detections([(left, 2)], [(right, 2, 0.7)], name=hostile)
    half = dataclasses.replace(
        first, found_boxes=first.found_boxes[:1], found_labels=first.found_labels[:1], scores=first.scores[:1]
    )
    runs = []
    for name, images in (("a", [half, second]), ("b", [first, second])):
        told = {"images": 3 - len(images[0].scores), "file": str(tmp_path / name / "evaluation/mistakes.csv")}
        runs.append(make_run(tmp_path / name, NAMES, detections=images, data=DATA, mistakes=told))
    page = page_of(*runs)
    assert "<script>alert('" not in page
    assert "&lt;script&gt;alert(&#39;ä&#39;)&lt;/script&gt;.jpg, labels" in page
    words = text_of(page)
    assert "Only B is right, A is wrong: 1 image " in words
    assert words.count("B: 2 right A: 1 right, 1 missed") == 1
    assert page.count('<figure class="row">') == 1
    labels, of_b, of_a = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"), int)
        for content in re.findall(r'<img class="image" src="data:image/jpeg;base64,([^"]*)"', page)
    ]
    assert labels.shape == (240, 480, 3)
    # The image is black, and its right half has a box of the second class, unless A was to find it.
    assert [image[:, 240:].max() > 100 for image in (labels, of_b, of_a)] == [True, True, False]
    assert all(image[:, :240].max() > 100 for image in (labels, of_b, of_a))


def test_runs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    failed = make_run(tmp_path / "b", NAMES, error="Trainer: no")
    other = made(tmp_path / "c", 3)
    words = text_of(page_of(made(tmp_path / "a", 2), failed, other))
    assert "3 runs side by side" in words
    assert f"A and B were not compared image by image: {failed.run_id} has no metrics." in words
    assert "A and C differ in accuracy by no more than chance" in words
    assert "accuracy 0.9500 – – 0.9250 -0.0250" in words


def test_settings_that_differ_are_listed(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a", 2), made(tmp_path / "b", 2)
    recipe = other.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 3", "epochs: 5"))
    words = text_of(page_of(first, PastRun(other.root, other.run_id, other.result)))
    assert "training.epochs 3 5" in words
