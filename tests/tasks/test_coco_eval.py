"""COCO's metrics, on cases that are worked out by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
import pytest

from components.base.errors import DataRefusedError, MiranteError
from components.tasks.detection.coco_eval import IOUS, CocoEvaluation, CocoResult, in_pixels, iou
from components.tasks.detection.tally import evaluate
from tests.make.detections import make_detections, make_random_detections

CAT, DOG = 1, 2
LEFT = (10.0, 10.0, 110.0, 110.0)  # 100 x 100 px
RIGHT = (200.0, 10.0, 300.0, 110.0)
# IoU with LEFT of exactly 0.8: 80 of its 100 columns.
NEARLY_LEFT = (10.0, 10.0, 90.0, 110.0)
NOWHERE = (320.0, 120.0, 390.0, 190.0)


def judge(*images: object, classes: int = 2) -> CocoResult:
    return evaluate(images, classes)  # type: ignore[arg-type]


def test_perfect_boxes_give_1() -> None:
    result = judge(
        make_detections([(LEFT, CAT), (RIGHT, DOG)], [(LEFT, CAT, 0.9), (RIGHT, DOG, 0.8)]),
        make_detections([(RIGHT, CAT)], [(RIGHT, CAT, 0.3)]),
    )
    for name in ("map", "map_50", "map_75", "map_large", "ar_1", "ar_10", "ar_100"):
        assert result.metrics[name] == 1.0, name  # to the last digit: a threshold may be 1
    assert result.per_class[0] == pytest.approx({"map": 1.0, "map_50": 1.0, "map_75": 1.0, "ar_100": 1.0})
    # No object is as small as that.
    assert math.isnan(result.metrics["map_small"])
    assert math.isnan(result.metrics["map_medium"])


def test_one_of_two_missed() -> None:
    result = judge(make_detections([(LEFT, CAT), (RIGHT, CAT)], [(LEFT, CAT, 0.9)]), classes=1)
    # Precision 1 at the recalls 0, 0.01, ... 0.50, which are 51 of 101, then 0.
    assert result.metrics["map_50"] == pytest.approx(51 / 101)
    assert result.metrics["map"] == pytest.approx(51 / 101)
    assert result.metrics["ar_100"] == pytest.approx(0.5)


def test_a_duplicate_is_wrong() -> None:
    # The same box twice, then the other object: precisions 1/1, 1/2, 2/3.
    found = [(LEFT, CAT, 0.9), (LEFT, CAT, 0.8), (RIGHT, CAT, 0.7)]
    result = judge(make_detections([(LEFT, CAT), (RIGHT, CAT)], found), classes=1)
    # 1 up to recall 0.5 (51 points), 2/3 after it (50).
    assert result.metrics["map_50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.metrics["ar_1"] == pytest.approx(0.5)
    assert result.metrics["ar_10"] == pytest.approx(1.0)


def test_a_duplicate_after_all_else_costs_nothing() -> None:
    found = [(LEFT, CAT, 0.9), (RIGHT, CAT, 0.8), (LEFT, CAT, 0.7)]
    result = judge(make_detections([(LEFT, CAT), (RIGHT, CAT)], found), classes=1)
    assert result.metrics["map"] == pytest.approx(1.0)


def test_a_wrong_class_finds_nothing() -> None:
    result = judge(
        make_detections([(LEFT, CAT), (RIGHT, DOG)], [(LEFT, DOG, 0.9), (RIGHT, DOG, 0.8)]),
    )
    assert result.per_class[0]["map"] == pytest.approx(0.0)
    # Of the two dogs found the worse one is one: precision 1/2 at every recall.
    assert result.per_class[1]["map"] == pytest.approx(0.5)
    assert result.metrics["map"] == pytest.approx(0.25)


def test_the_place_counts_by_iou() -> None:
    assert iou(in_pixels([[0, 0, 0.4, 1]], 100, 100), in_pixels([[0, 0, 0.5, 1]], 100, 100)) == 0.8
    box = (10.0, 10.0, 92.0, 110.0)  # IoU 0.82: right at 0.50, 0.55, ... 0.80, seven of ten
    result = judge(make_detections([(LEFT, CAT)], [(box, CAT, 0.9)]), classes=1)
    assert result.metrics["map"] == pytest.approx(0.7)
    assert result.metrics["map_50"] == result.metrics["map_75"] == pytest.approx(1.0)
    assert result.metrics["ar_100"] == pytest.approx(0.7)
    np.testing.assert_allclose(result.precision[:, 0, 0], (IOUS < 0.82).astype(float))


def test_a_class_without_objects_is_left_out_of_the_mean() -> None:
    result = judge(make_detections([(LEFT, CAT)], [(LEFT, CAT, 0.9), (RIGHT, DOG, 0.9)]))
    assert result.metrics["map"] == pytest.approx(1.0)
    assert math.isnan(result.per_class[1]["map"])
    assert np.isnan(result.precision[:, :, 1]).all()


def test_boxes_on_an_image_without_objects_are_wrong() -> None:
    with_object = make_detections([(LEFT, CAT)], [(LEFT, CAT, 0.5)])
    empty = make_detections([], [(LEFT, CAT, 0.9)])
    assert judge(with_object, empty, classes=1).metrics["map"] == pytest.approx(0.5)
    # One that says nothing there does no harm.
    assert judge(with_object, make_detections(), classes=1).metrics["map"] == pytest.approx(1.0)


def test_nothing_found_is_0_and_nothing_there_is_no_number() -> None:
    assert judge(make_detections([(LEFT, CAT)])).metrics["map"] == 0.0
    assert all(math.isnan(value) for value in judge(make_detections()).metrics.values())
    assert all(math.isnan(value) for value in judge().metrics.values())


def test_difficult_objects_need_not_be_found() -> None:
    objects = [(LEFT, CAT), (RIGHT, CAT)]
    alone = [(LEFT, CAT, 0.5)]
    assert judge(make_detections(objects, alone, difficult=[1]), classes=1).metrics["map"] == pytest.approx(
        1.0
    )


def test_boxes_on_a_difficult_object_are_neither_right_nor_wrong_however_many() -> None:
    objects = [(LEFT, CAT), (RIGHT, CAT)]
    found = [(RIGHT, CAT, 0.9), (RIGHT, CAT, 0.8), (LEFT, CAT, 0.5)]
    assert judge(make_detections(objects, found, difficult=[1]), classes=1).metrics["map"] == pytest.approx(
        1.0
    )


def test_a_small_box_inside_a_difficult_object_is_wrong() -> None:
    # All of it lies inside, which is enough on a crowd of COCO's; its IoU is 0.25.
    objects = [(LEFT, CAT), (RIGHT, CAT)]
    found = [((200.0, 10.0, 250.0, 60.0), CAT, 0.9), (LEFT, CAT, 0.5)]
    assert judge(make_detections(objects, found, difficult=[1]), classes=1).metrics["map"] == pytest.approx(
        0.5
    )


def test_by_size() -> None:
    small, medium = (10.0, 10.0, 30.0, 30.0), (200.0, 10.0, 260.0, 70.0)
    large = (50.0, 80.0, 160.0, 190.0)
    objects = [(small, CAT), (medium, CAT), (large, CAT)]
    result = judge(make_detections(objects, [(medium, CAT, 0.9), (large, CAT, 0.8)]), classes=1)
    assert result.metrics["map_small"] == pytest.approx(0.0)
    assert result.metrics["map_medium"] == pytest.approx(1.0)
    assert result.metrics["map_large"] == pytest.approx(1.0)
    assert result.metrics["map"] == pytest.approx(67 / 101)  # recalls 0, 0.01, ... 0.66


def test_size_is_that_in_pixels_of_the_image() -> None:
    # The same shares of an image twice as wide and high: 20 x 20 px become 40 x 40.
    small = [((10.0, 10.0, 30.0, 30.0), CAT)]
    once = judge(make_detections(small), classes=1).metrics
    assert (once["map_small"], math.isnan(once["map_medium"])) == (0.0, True)
    shares = make_detections(small)
    twice = make_detections([((20.0, 20.0, 60.0, 60.0), CAT)], height=400, width=800)
    np.testing.assert_array_equal(shares.boxes, twice.boxes)
    metrics = judge(twice, classes=1).metrics
    assert (metrics["map_medium"], math.isnan(metrics["map_small"])) == (0.0, True)


def test_of_more_than_100_boxes_those_with_the_highest_scores_count() -> None:
    wrong = [(NOWHERE, CAT, 0.5)] * 100
    below = make_detections([(LEFT, CAT)], [*wrong, (LEFT, CAT, 0.4)])
    assert judge(below, classes=1).metrics["map"] == 0.0
    above = make_detections([(LEFT, CAT)], [*wrong, (LEFT, CAT, 0.6)])
    assert judge(above, classes=1).metrics["map"] == pytest.approx(1.0)
    # A hundred of a class each: those of another one take no place away.
    other = make_detections([(LEFT, CAT)], [*[(NOWHERE, DOG, 0.5)] * 100, (LEFT, CAT, 0.4)])
    assert judge(other).per_class[0]["map"] == pytest.approx(1.0)


def test_equal_scores_count_in_the_order_given() -> None:
    right, wrong = (LEFT, CAT, 0.0), (NOWHERE, CAT, 0.0)
    first = judge(make_detections([(LEFT, CAT)], [right, wrong]), classes=1)
    second = judge(make_detections([(LEFT, CAT)], [wrong, right]), classes=1)
    assert first.metrics["map"] == pytest.approx(1.0)  # a score of 0 is one
    assert second.metrics["map"] == pytest.approx(0.5)


def test_the_curve_and_its_scores() -> None:
    found = [(LEFT, CAT, 0.9), (NOWHERE, CAT, 0.8), (RIGHT, CAT, 0.7)]
    result = judge(make_detections([(LEFT, CAT), (RIGHT, CAT)], found), classes=1)
    np.testing.assert_allclose(result.precision[0, :51, 0], 1.0)
    np.testing.assert_allclose(result.precision[0, 51:, 0], 2 / 3)
    np.testing.assert_allclose(result.scores[0, [0, 50, 51, 100], 0], [0.9, 0.9, 0.7, 0.7], rtol=1e-6)


def test_nothing_is_printed() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        judge(*make_random_detections(0, 3, 2))
    assert said.getvalue() == ""


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(
        DataRefusedError, match=r"image.jpg: a box has label 1 or 3, and there are classes 1 to"
    ):
        judge(make_detections([(LEFT, CAT)], [(LEFT, CAT, 0.9), (LEFT, 3, 0.5)]))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(MiranteError, match=r"image.jpg: the model's boxes or scores are not all finite"):
        judge(make_detections([(LEFT, CAT)], [(LEFT, CAT, math.nan)]))


NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "ar_1", "ar_10", "ar_100")


def by_pycocotools(
    objects: Sequence[tuple[int, int, Sequence[float]]],
    found: Sequence[tuple[int, int, Sequence[float], float]],
    images: int,
    labels: Sequence[int],
) -> list[float]:
    """Return what COCO's own code says of its JSON structures, called the usual way.

    Args:
        objects: Image from 1, label, box (x, y, width, height) in pixels.
        found: The same, and the score.
        images: How many there are.
        labels: Those that count.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {
            "id": n,
            "image_id": image,
            "category_id": label,
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for n, (image, label, box) in enumerate(objects, start=1)
    ]
    results = [
        {"image_id": image, "category_id": label, "bbox": list(box), "score": score}
        for image, label, box, score in found
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": n} for n in range(1, images + 1)],
            "annotations": annotations,
            "categories": [{"id": label} for label in labels],
        }
        truth.createIndex()
        usual = COCOeval(truth, truth.loadRes(results), "bbox")
        usual.evaluate()
        usual.accumulate()
        usual.summarize()
    return [math.nan if value < 0 else float(value) for value in usual.stats[:9]]


def test_as_pycocotools_gives_it_from_its_own_files() -> None:
    images = [
        dataclasses.replace(each, difficult=np.zeros(len(each.labels), bool))
        for each in make_random_detections(1, 30, 3)
    ]
    objects, found = [], []
    for number, image in enumerate(images, start=1):
        boxes = in_pixels(image.boxes, 300, 400).tolist()
        objects += [(number, int(label), box) for box, label in zip(boxes, image.labels, strict=True)]
        boxes = in_pixels(image.found_boxes, 300, 400).tolist()
        found += [
            (number, int(label), box, float(score))
            for box, label, score in zip(boxes, image.found_labels, image.scores, strict=True)
        ]
    ours = evaluate(images, 3)
    expected = by_pycocotools(objects, found, len(images), [1, 2, 3])
    assert [ours.metrics[name] for name in NAMES] == pytest.approx(expected, nan_ok=True, abs=1e-12)
    assert 0.1 < ours.metrics["map"] < 0.9
    # Of each class alone: as if there were no other.
    for label in (1, 2, 3):
        alone = by_pycocotools(
            [each for each in objects if each[1] == label],
            [each for each in found if each[1] == label],
            len(images),
            [label],
        )
        assert ours.per_class[label - 1] == pytest.approx(
            {"map": alone[0], "map_50": alone[1], "map_75": alone[2], "ar_100": alone[8]}, abs=1e-12
        )


@pytest.mark.parametrize(("height", "width"), [(427, 640), (375, 500), (800, 1333), (3024, 4032)])
@pytest.mark.parametrize("step", [1.0, 0.01])
def test_boxes_of_whole_and_of_hundredth_pixels_are_judged_as_pycocotools_judges_the_pixels(
    height: int, width: int, step: float
) -> None:
    random = np.random.default_rng(height)
    sides = (16.0, 32.0, 32.0 + step, 64.0, 96.0, 96.0 + step, 150.0)
    images, objects, found = [], [], []
    for number in range(1, 31):
        there, answered = [], []
        for _ in range(6):
            wide, high = random.choice(sides, 2) if random.random() < 0.3 else (random.choice(sides),) * 2
            x, y = (round(random.integers(0, int((end - 151) / step)) * step, 2) for end in (width, height))
            label = int(random.integers(1, 3))
            there.append(((x, y, round(x + wide, 2), round(y + high, 2)), label))
            objects.append((number, label, [x, y, wide, high]))
            # Found as it is, half as wide (an IoU of 0.5 exactly), or not at all.
            of_width = random.choice([0.0, 0.5, 1.0, 1.0])
            if of_width:
                score = round(float(random.random()), 2)
                narrow = round(wide * of_width, 2)
                answered.append(((x, y, round(x + narrow, 2), round(y + high, 2)), label, score))
                found.append((number, label, [x, y, narrow, high], float(np.float32(score))))
        images.append(make_detections(there, answered, height=height, width=width))
    ours = evaluate(images, 2).metrics
    expected = by_pycocotools(objects, found, 30, [1, 2])
    assert [ours[name] for name in NAMES] == pytest.approx(expected, nan_ok=True, abs=1e-12)
    assert 0.0 < ours["map_small"] < 1.0


def test_32_by_32_px_are_small_and_medium_and_96_by_96_px_medium_and_large() -> None:
    for side, names in ((32.0, ("map_small", "map_medium")), (96.0, ("map_medium", "map_large"))):
        boxes = [((x, 41.0, x + side, 41.0 + side), CAT) for x in (7.0, 211.0, 513.0)]
        image = make_detections(boxes, [(box, label, 0.9) for box, label in boxes], height=427, width=640)
        metrics = judge(image, classes=1).metrics
        assert [metrics[name] for name in names] == [1.0, 1.0]
        assert sum(not math.isnan(metrics[f"map_{area}"]) for area in ("small", "medium", "large")) == 2


def test_classes_are_judged_one_by_one_as_pycocotools_judges_all_at_once() -> None:
    # The last class has neither objects nor boxes.
    images = make_random_detections(5, 40, 3)
    result = evaluate(images, 4)
    evaluation = CocoEvaluation(images, range(1, 5))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    expected = evaluation.eval["precision"][..., 0, -1]
    assert np.array_equal(result.precision, np.where(expected < 0, np.nan, expected), equal_nan=True)
    assert np.isnan(result.precision[..., 3]).all()
    small = evaluation.eval["precision"][..., 1, -1]
    assert result.metrics["map_small"] == pytest.approx(small[small >= 0].mean(), nan_ok=True)
    assert result.metrics["ar_10"] == pytest.approx(evaluation.eval["recall"][:, :3, 0, 1].mean())
