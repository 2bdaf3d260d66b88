"""The pages of a detector, from small artifacts. A whole run's: tests/targets/test_kubeflow_detector.py."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.base.outcome import Output
from components.pages.rendered import RenderedPage
from components.pictures.boxes import colour_of
from components.schema_gen.schema_file import write_schema
from schemas import features
from tests.make import shapes
from tests.make.images import make_coloured_png
from tests.pages.test_views import EVIL, output, page_of, text_of, write_records

pytestmark = pytest.mark.stack_free


def boxes_page(node_id: str, **outputs: Output) -> RenderedPage:
    return page_of(node_id, shapes.CLASSES, features.DETECTION, **outputs)


def test_images_are_shown_with_their_boxes_and_count_for_each_class(tmp_path: Path) -> None:
    drawn = [shapes.draw(seed) for seed in range(3)]
    empty = dataclasses.replace(drawn[0], boxes=np.empty((0, 4), np.float32), labels=np.empty(0, int))
    records = [shapes.make_record(picture, "name.png") for picture in (*drawn, empty)]
    write_records(tmp_path / "Split-train" / "data_tfrecord-00000-of-00001.gz", records)
    page = boxes_page("ImportExampleGen", examples=output(tmp_path))
    words = text_of(page)
    assert "4 train examples" in words
    on = [{shapes.CLASSES[label - 1] for label in picture.labels} for picture in drawn]
    counts = {name: sum(name in names for names in on) for name in shapes.CLASSES}
    for name, count in [*counts.items(), ("(nothing)", 1)]:
        assert f"{name} {count}" in words
    assert "An image counts once for every class on it." in words
    assert page.html.count('<img class="boxed"') == sum(counts.values()) + 1


def test_a_box_is_drawn_where_it_is(tmp_path: Path) -> None:
    # A grey image with a box in its right half.
    half = shapes.Shapes(
        make_coloured_png(0, 0), np.array([[0.5, 0.25, 1.0, 0.75]], np.float32), np.array([3])
    )
    with Image.open(io.BytesIO(half.encoded)) as image:
        gray = io.BytesIO()
        Image.new("RGB", image.size, (120, 120, 120)).save(gray, "PNG")
    gray_half = dataclasses.replace(half, encoded=gray.getvalue())
    write_records(tmp_path / "Split-train" / "data.gz", [shapes.make_record(gray_half, "half.png")])
    page = boxes_page("ImportExampleGen", examples=output(tmp_path))
    (encoded,) = re.findall(r'class="boxed" src="data:image/jpeg;base64,([^"]+)"', page.html)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as shown:
        pixels = np.asarray(shown).astype(int)
    near = np.abs(pixels - colour_of(3)).max(axis=-1) < 60
    rows, columns = np.nonzero(near)
    height, width = near.shape
    assert columns.min() / width == np.clip(columns.min() / width, 0.47, 0.53)
    assert columns.max() >= width - 4
    assert (rows.min() / height, rows.max() / height) == (
        np.clip(rows.min() / height, 0.22, 0.28),
        np.clip(rows.max() / height, 0.72, 0.78),
    )


def test_labels_of_boxes_begin_at_1(tmp_path: Path) -> None:
    schema = write_schema(shapes.CLASSES, tmp_path, features.DETECTION).parent
    words = text_of(boxes_page("ImportSchemaGen", schema=output(schema)))
    assert "3 classes in the order of their labels, from 1: circle, square, triangle" in words
    assert "image/object/class/label int may be missing 1 to 3" in words


def test_the_gate_tells_of_boxes(tmp_path: Path) -> None:
    def facts(images: int, few: int) -> dict[str, object]:
        return {
            "images": images,
            "boxes": 4 * few,
            "difficult": few,
            "boxes_per_image": {"2": few, "10": 1},
            "areas": {"0.05": few, "0.5": 2},
            "sizes": {"large": 1, "small": few},
            "by_class": {"circle": 4 * few},
        }

    report = {"images": {"train": 9, "test": 4}, "boxes": {"test": facts(4, 2), "train": facts(9, 3)}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "boxes.png").write_bytes(make_coloured_png(1, 0))
    page = boxes_page("DataGate", blessing=output(tmp_path))
    words = text_of(page)
    assert "split images boxes difficult train 9 12 3 test 4 8 2" in words
    assert "boxes train test 2 3 2 10 1 1" in words  # by number, not by its digits
    assert "up to train test 0.05 3 2 0.5 2 2" in words
    assert "size train test small 3 2 large 1 1" in words
    assert page.html.count("<img") == 1


def test_trials_of_a_detector_are_listed_by_its_own_measure(tmp_path: Path) -> None:
    values = {"model.dropout": 0.25}
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best_hyperparameters.txt").write_text(json.dumps({"space": [], "values": values}))
    (tmp_path / "results").mkdir()
    with (tmp_path / "results" / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "status", "model.dropout", "eval_map_50", "eval_loss", "seconds", "reason"])
        writer.writerow([1, "completed", 0.1, 0.5, 1.5, 4.2, ""])
        writer.writerow([2, "failed", 0.4, "", "", "", f"diverged {EVIL}"])
        writer.writerow([3, "completed", 0.25, 0.75, 1.25, 4.0, ""])
    outputs = {
        "best_hyperparameters": output(tmp_path / "best"),
        "tuner_results": output(tmp_path / "results"),
    }
    page = boxes_page("Tuner", **outputs)
    words = text_of(page)
    assert "trial eval_map_50 eval_loss seconds model.dropout 1 0.5000 1.5000 4.2000 0.1" in words
    assert page.metrics == {"trials": 3.0, "best_trial_eval_map_50": 0.75, "best_trial_eval_loss": 1.25}
    assert "The green row is the best trial." in words
