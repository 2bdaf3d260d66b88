"""The report of an evaluation: which images, which figures, and what is drawn on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.pictures.boxes import colour_of
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.confidence import draw_metrics
from components.tasks.detection.drawing import draw_side_by_side
from components.tasks.detection.error_kinds import (
    BACKGROUND,
    KINDS,
    MISSED,
    RIGHT,
    analyse,
    count_errors,
    judge,
)
from components.tasks.detection.report import (
    COUNTED,
    group_by_image,
    keep_counted,
    rank_worst,
    shuffle_by_name,
    write_report,
)
from components.tasks.detection.stored import Judged, from_bytes, to_bytes
from components.tasks.detection.tally import evaluate
from tests.make.detections import make_detections, make_random_detections
from tests.make.images import encode_image

pytestmark = pytest.mark.stack_free

CAT, DOG = 1, 2
LEFT, RIGHT_BOX = (10.0, 10.0, 110.0, 110.0), (200.0, 10.0, 300.0, 110.0)
NAMES = ["cat", "dog"]


def three_images() -> list[Detections]:
    """One all right, one with a missed cat and a false one, one with half of its cats missed."""
    return [
        make_detections([(LEFT, CAT)], [(LEFT, CAT, 0.9)], name="right.jpg"),
        make_detections([(LEFT, CAT)], [(RIGHT_BOX, CAT, 0.8)], name="wrong.jpg"),
        make_detections([(LEFT, CAT), (RIGHT_BOX, CAT)], [(LEFT, CAT, 0.7)], name="half.jpg"),
    ]


def test_the_worst_come_first_and_those_without_errors_not_at_all() -> None:
    images = three_images()
    errors = group_by_image(images, analyse(images, 2))
    assert [each.f1 for each in errors] == [1.0, 0.0, pytest.approx(2 / 3)]
    assert [images[i].name for i in rank_worst(images, errors)] == ["wrong.jpg", "half.jpg"]
    assert errors[1].counts == {MISSED: 1, BACKGROUND: 1}
    assert errors[2].counts == {RIGHT: 1, MISSED: 1}
    assert (errors[0].not_found, errors[2].not_found) == ([], [1])


def test_the_boxes_that_count_have_the_same_errors_by_themselves() -> None:
    images = make_random_detections(3, 20, 3)
    whole = group_by_image(images, analyse(images, 3))
    assert {kind for each in whole for kind in each.counts} == {*KINDS, RIGHT}
    kept = [keep_counted(image, errors) for image, errors in zip(images, whole, strict=True)]
    assert sum(map(len, (image.scores for image in kept))) < sum(len(image.scores) for image in images) / 2
    for place, (image, errors) in enumerate(zip(kept, whole, strict=True)):
        again = count_errors(place, image, judge(image, place))
        assert (again.counts, again.not_found, again.f1) == (errors.counts, errors.not_found, errors.f1)
        assert [(one.score, one.kind, one.object) for one in again.found] == [
            (one.score, one.kind, one.object) for one in errors.found
        ]


def test_images_are_chosen_by_name_alone() -> None:
    images = three_images()
    order = [images[i].name for i in shuffle_by_name(images)]
    backwards = images[::-1]
    assert [backwards[i].name for i in shuffle_by_name(backwards)] == order
    assert sorted(order) == ["half.jpg", "right.jpg", "wrong.jpg"]


def test_what_is_written(tmp_path: Path) -> None:
    images = three_images()
    asked: list[int] = []

    def pictures(wanted: object) -> dict[int, bytes]:
        asked.extend(wanted)  # type: ignore[call-overload]
        return {i: encode_image(np.zeros((200, 400, 3), np.uint8)) for i in range(3)}

    write_report(tmp_path, Judged(images, NAMES, evaluate(images, 2)), draw_metrics(images, 2), pictures)
    assert asked == [0, 1, 2]  # each once
    assert sorted(path.name for path in (tmp_path / "pictures/").iterdir()) == [
        *("chosen-01.png", "chosen-02.png", "chosen-03.png"),
        *("worst-01.png", "worst-02.png"),
    ]
    counted = from_bytes((tmp_path / COUNTED).read_bytes())
    assert [(image.name, image.scores.tolist()) for image in counted.images] == [
        (image.name, image.scores.tolist()) for image in images
    ]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["images"], metrics["objects"], metrics["difficult_objects"]) == (3, 4, 0)
    assert metrics["metrics"]["map"] == pytest.approx(evaluate(images, 2).metrics["map"], abs=1e-6)
    absent = dict.fromkeys(("map", "map_50", "map_75", "ar_100"))
    assert metrics["per_class"]["dog"] == {"objects": 0, **absent}
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors["counts"] == {**dict.fromkeys(KINDS, 0), "missed": 2, "background": 1, "right": 2}
    assert errors["images_with_errors"] == 2
    assert errors["images"][0]["image"] == "wrong.jpg"
    assert errors["per_class"]["cat"]["counted_from_score"] == pytest.approx(0.7)
    assert json.loads((tmp_path / "intervals.json").read_text())["map_50"]["method"] == "bootstrap"
    curves = json.loads((tmp_path / "precision_recall.json").read_text())
    assert len(curves["recalls"]) == 101
    cat = curves["classes"]["cat"]
    # Two of four cats are found: the first box is right, of three two.
    assert cat["0.50"]["precision"][:26] == [1.0] * 26
    assert cat["0.50"]["precision"][26:51] == pytest.approx([2 / 3] * 25, abs=1e-6)
    assert cat["0.50"]["precision"][51:] == [0.0] * 50
    assert cat["0.50"]["scores"][0] == pytest.approx(0.9)
    assert set(cat) == {"0.50", "0.75", "0.50:0.95"}
    assert curves["classes"]["dog"]["0.75"]["precision"] == [None] * 101


def test_both_sides_show_their_boxes() -> None:
    image = make_detections([(LEFT, CAT)], [(RIGHT_BOX, DOG, 0.9)])
    (errors,) = group_by_image([image], analyse([image], 2))
    sheet = draw_side_by_side(image, encode_image(np.zeros((200, 400, 3), np.uint8)), errors, NAMES)
    pixels = np.asarray(sheet)
    half = sheet.width // 2
    cat, dog = ((pixels == colour_of(label)).all(axis=-1) for label in (CAT, DOG))
    assert cat[:, :half].any()
    assert not cat[:, half:].any()
    assert dog[:, half:].any()
    assert not dog[:, :half].any()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_is_stored_comes_back(count: int) -> None:
    images = make_random_detections(5, count, 3)
    result = evaluate(images, 3)
    back = from_bytes(to_bytes(images, ["猫", "dog", "owl"], result))
    assert back.class_names == ["猫", "dog", "owl"]
    assert len(back.images) == count
    for one, other in zip(back.images, images, strict=True):
        for name, value in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), value, err_msg=name)
    assert back.result.metrics == pytest.approx(result.metrics, nan_ok=True, abs=0)
    assert back.result.per_class[2] == pytest.approx(result.per_class[2], nan_ok=True, abs=0)
    np.testing.assert_allclose(back.result.precision, result.precision, atol=1e-7)
    np.testing.assert_allclose(back.result.scores, result.scores, atol=1e-7)
