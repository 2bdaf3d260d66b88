"""Kinds of errors: one case of each by hand, and their costs."""

from __future__ import annotations

import numpy as np
import pytest

from components.tasks.detection.error_kinds import (
    BACKGROUND,
    BADLY_PLACED,
    DUPLICATE,
    KINDS,
    MISSED,
    RIGHT,
    WRONG_CLASS,
    analyse,
    average_precision,
    judge,
)
from components.tasks.detection.tally import evaluate
from tests.make.detections import Corners, make_detections, make_random_detections

pytestmark = pytest.mark.stack_free

CAT, DOG = 1, 2
OBJECT = (10.0, 10.0, 110.0, 110.0)
OTHER = (200.0, 10.0, 300.0, 110.0)
NEAR = (60.0, 10.0, 160.0, 110.0)  # IoU with OBJECT: 50 of 150 columns, a third
NOWHERE = (320.0, 120.0, 390.0, 190.0)


def kinds(objects: list[tuple[Corners, int]], found: list[tuple[Corners, int, float]]) -> list[str]:
    return [each.kind for each in judge(make_detections(objects, found))]


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (OBJECT, CAT, RIGHT),
        (OBJECT, DOG, WRONG_CLASS),
        (NEAR, CAT, BADLY_PLACED),
        (NEAR, DOG, WRONG_CLASS),
        (NOWHERE, CAT, BACKGROUND),
        # IoU 1/19: of the object's hundred columns it has ten, and ninety outside it.
        ((100.0, 10.0, 200.0, 110.0), CAT, BACKGROUND),
        ((85.0, 10.0, 185.0, 110.0), CAT, BADLY_PLACED),  # 25 of 175
    ],
)
def test_one_box_and_one_object(box: Corners, label: int, kind: str) -> None:
    assert kinds([(OBJECT, CAT)], [(box, label, 0.9)]) == [kind]


def test_the_second_box_on_an_object_is_a_duplicate() -> None:
    found = [(OBJECT, CAT, 0.5), (OBJECT, CAT, 0.9), (OBJECT, CAT, 0.7)]
    judged = judge(make_detections([(OBJECT, CAT)], found))
    assert [(each.index, each.kind, each.object) for each in judged] == [
        (1, RIGHT, 0),
        (2, DUPLICATE, 0),
        (0, DUPLICATE, 0),
    ]


def test_a_second_object_below_takes_the_second_box() -> None:
    assert kinds([(OBJECT, CAT)] * 2, [(OBJECT, CAT, 0.9), (OBJECT, CAT, 0.8)]) == [RIGHT, RIGHT]


def test_its_own_class_comes_before_another_one_as_far_off() -> None:
    objects = [(OBJECT, CAT), ((110.0, 10.0, 210.0, 110.0), DOG)]  # NEAR overlaps both alike
    assert kinds(objects, [(NEAR, CAT, 0.9)]) == [BADLY_PLACED]
    # Unless it is right on that one.
    assert kinds(objects, [((100.0, 10.0, 200.0, 110.0), CAT, 0.9)]) == [WRONG_CLASS]


def test_boxes_on_difficult_objects_are_not_looked_at() -> None:
    image = make_detections([(OBJECT, CAT)], [(OBJECT, CAT, 0.9), (OBJECT, CAT, 0.8)], difficult=[0])
    assert judge(image) == []
    assert analyse([image], 1).missed == []
    # Boxes that are only near it count like any other box outside an object.
    assert judge(make_detections([(OBJECT, CAT)], [(NEAR, CAT, 0.9)], difficult=[0]))[0].kind == BACKGROUND


def test_what_a_wrong_box_lies_on_is_not_missed_too() -> None:
    objects = [(OBJECT, CAT), (OTHER, CAT)]
    assert analyse([make_detections(objects, [(OBJECT, DOG, 0.9)])], 2).missed == [(0, 1)]
    assert analyse([make_detections(objects, [(NEAR, CAT, 0.9)])], 2).missed == [(0, 1)]
    assert analyse([make_detections(objects)], 2).missed == [(0, 0), (0, 1)]


def test_counts_are_from_the_best_score_of_each_class_on() -> None:
    # Of the cats, the two first are best: F1 2/2, 4/4, then 4/5, 4/6. No dog is right: from 0.5 on.
    cats = [(OBJECT, CAT, 0.9), (OTHER, CAT, 0.8), (NOWHERE, CAT, 0.3), (OBJECT, CAT, 0.2)]
    dogs = [(NOWHERE, DOG, 0.6), (NOWHERE, DOG, 0.4)]
    analysis = analyse([make_detections([(OBJECT, CAT), (OTHER, CAT)], [*cats, *dogs])], 2)
    assert analysis.best_scores == pytest.approx([0.8, 0.5])
    none = dict.fromkeys(KINDS, 0)
    assert analysis.counts_by_class == [{**none, RIGHT: 2}, {**none, RIGHT: 0, BACKGROUND: 1}]
    assert analysis.counts == {**none, RIGHT: 2, BACKGROUND: 1}


def test_costs_by_hand() -> None:
    objects = [(OBJECT, CAT), (OTHER, CAT)]
    # Precision 1 at recalls to 0.5, as both kinds of errors come after: 51 of 101 points.
    found = [(OBJECT, CAT, 0.9), (NOWHERE, CAT, 0.5), (OBJECT, CAT, 0.4)]
    analysis = analyse([make_detections(objects, found)], 1)
    assert evaluate([make_detections(objects, found)], 1).metrics["map_50"] == pytest.approx(51 / 101)
    none = dict.fromkeys(KINDS, 0.0)
    assert analysis.costs == pytest.approx({**none, MISSED: 50 / 101})
    # Before it they cost: 2/3 at best, and 1 or 1/2 without one of them.
    found = [(NOWHERE, CAT, 0.9), (OBJECT, CAT, 0.8), (OTHER, CAT, 0.7)]
    analysis = analyse([make_detections(objects, found)], 1)
    assert analysis.costs == pytest.approx({**none, BACKGROUND: 1 - 2 / 3})
    # A cat that is taken for a dog, and a cat next to its place: each is half of all there is.
    found = [(OBJECT, DOG, 0.9), ((150.0, 10.0, 250.0, 110.0), CAT, 0.8)]
    analysis = analyse([make_detections(objects, found)], 2)
    assert analysis.counts[WRONG_CLASS] == 1
    # Then the dog is a cat that is right, and precision 1 up to recall 0.5.
    assert analysis.costs[WRONG_CLASS] == pytest.approx(51 / 101)
    # And then the box next to it is right, after no wrong one.
    assert analysis.costs[BADLY_PLACED] == pytest.approx(51 / 101)
    assert analysis.costs[MISSED] == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_right_is_what_coco_takes_for_right(seed: int) -> None:
    images = make_random_detections(seed, 40, 3)
    analysis = analyse(images, 3)
    for label in (1, 2, 3):
        objects = sum(int(np.sum((image.labels == label) & ~image.difficult)) for image in images)
        right = np.array([each.kind == RIGHT for each in analysis.found if each.label == label])
        expected = evaluate(images, 3).per_class[label - 1]["map_50"]
        assert average_precision(right, objects) == pytest.approx(expected, abs=1e-12)
    assert all(cost >= -1e-12 for cost in analysis.costs.values())
    assert set(analysis.costs) == set(KINDS)


def test_average_precision_by_hand() -> None:
    assert average_precision(np.array([True, True]), 2) == 1.0
    assert average_precision(np.array([], bool), 2) == 0.0
    assert np.isnan(average_precision(np.array([True]), 0))
    assert average_precision(np.array([False, True]), 1) == pytest.approx(0.5)
