"""DataGate's questions about boxes: problems, counts, and the drawing of some records."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.base.example import parse_example
from components.data_gate.combine import MAX_DRAWN, rank
from components.tasks.detection import data_gate
from components.tasks.detection.data_gate import Facts, draw
from tests.make.boxes import make_record

CAT = (0.25, 0.25, 0.5, 0.75, "cat")
DOG = (0.0, 0.0, 1.0, 1.0, "dog")
XMIN = "image/object/bbox/xmin"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"image/object/difficult": None, "image/object/truncated": None}, None),
        ({XMIN: [0.0, float("nan")]}, "box 2 of 2 is not within 0 .. 1: nan, 0, 1, 1"),
        ({XMIN: [-0.25, 0.0]}, "box 1 of 2 is not within 0 .. 1: -0.25, 0.25, 0.5, 0.75"),
        (
            {XMIN: [10.0, 0.0]},
            "box 1 of 2 is not within 0 .. 1: 10, 0.25, 0.5, 0.75; are they pixels?",
        ),
        ({XMIN: [b"0", b"0"]}, f"{XMIN}: expected float, got bytes"),
        ({"image/width": b"40"}, "image/width: expected int64, got bytes"),
        ({XMIN: [0.5, 0.0]}, "box 1 of 2 has no area or its sides are swapped: 0.5, 0.25, 0.5, 0.75"),
        ({XMIN: [0.0]}, f"image/object/bbox/ymin has 2 values, and {XMIN} has 1: one per box is expected"),
        ({"image/object/class/text": None}, "image/object/class/text has 0 values, and"),
        ({"image/object/class/label": [1]}, "image/object/class/label has 1 values, and"),
        ({"image/object/truncated": [1]}, "image/object/truncated has 1 values, and"),
    ],
)
def test_problems_of_boxes(changes: dict[str, Any], problem: str | None) -> None:
    found = data_gate.find_problem(parse_example(make_record(CAT, DOG, **changes)))
    assert (found is None) if problem is None else (found or "").startswith(problem)
    assert data_gate.find_problem(parse_example(make_record())) is None


def test_boxes_of_exactly_32_and_96_px_are_counted_as_the_smaller_size() -> None:
    facts = Facts()
    size = {"image/width": 640, "image/height": 427}
    for x, side in ((7, 32), (211, 32), (7, 96), (513, 96), (7, 97)):
        box = (x / 640, 41 / 427, (x + side) / 640, (41 + side) / 427, "cat")
        facts.add(parse_example(make_record(box, **size)))
    assert facts.sizes == {"small": 2, "medium": 2, "large": 1}


def test_facts_add_up_in_any_order() -> None:
    large = {"image/width": 400, "image/height": 300}
    records = [
        make_record(CAT, DOG, seed=1),  # 100 and 800 pixels
        make_record(CAT, seed=2, **large, **{"image/object/difficult": [1]}),  # 15,000 pixels
        make_record((0.0, 0.0, 0.1, 0.1, "cat"), seed=3, **large),  # 1,200 pixels
        make_record(seed=4),
    ]
    reports = []
    for order in (records, records[::-1]):
        one, other = Facts(), Facts()
        for at, each in enumerate(order):
            (one, other)[at % 2].add(parse_example(each))
        one.merge(other)
        reports.append(one.report())
    assert (
        reports[0]
        == reports[1]
        == {
            "images": 4,
            "boxes": 4,
            "difficult": 1,
            "boxes_per_image": {"0": 1, "1": 2, "2": 1},
            "areas": {"0.05": 1, "0.25": 2, "1": 1},
            "sizes": {"large": 1, "medium": 1, "small": 2},
            "by_class": {"cat": 3, "dog": 1},
        }
    )
    assert list(reports[0]["areas"]) == list(reports[1]["areas"])


def test_a_box_is_drawn_where_it_is() -> None:
    with Image.open(io.BytesIO(draw([make_record(CAT, seed=1), make_record(seed=1)]))) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    # Two images of 40 x 20 in tiles of 300 px: the same pixels, and on the left a box.
    left, right = pixels[6:306, 6:306], pixels[6:306, 312:612]
    rows, columns = np.nonzero(np.abs(left - right).sum(axis=2) > 60)
    # The image is in the middle, 300 x 150: its box goes from 75 to 150 across, and from 112 to 187 down.
    assert (columns.min(), columns.max()) == (pytest.approx(75, abs=6), pytest.approx(150, abs=6))
    assert rows.max() == pytest.approx(187, abs=6)


def test_images_are_in_rows_of_five() -> None:
    sizes = []
    for count in (0, 1, 6, MAX_DRAWN):
        with Image.open(io.BytesIO(draw([make_record(CAT, seed=seed) for seed in range(count)]))) as opened:
            sizes.append(opened.size)
    assert sizes == [(312, 330), (312, 330), (5 * 306 + 6, 2 * 324 + 6), (5 * 306 + 6, 5 * 324 + 6)]


def test_the_same_features_are_chosen_however_they_are_written() -> None:
    import tensorflow as tf

    written = make_record(CAT, seed=1)
    again = tf.train.Example.FromString(written)
    moved = tf.train.Example()
    for name in sorted(again.features.feature, reverse=True):
        moved.features.feature[name].CopyFrom(again.features.feature[name])
    ranks = {rank(one)[0] for one in (written, again.SerializeToString(), moved.SerializeToString())}
    assert ranks == {rank(written)[0]} != {rank(make_record(CAT, seed=2))[0]}
