"""Detection as the Trainer's task: what is measured, shown and refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import DataRefusedError
from components.models.config import ModelConfig
from components.pictures.grid import draw_grid
from components.tasks.detection.geometry import encode
from components.tasks.detection.guard import DetectionGuard
from components.tasks.detection.mistakes import match_boxes
from components.tasks.detection.trainer import Detection, pack, unpack
from components.trainer.config import GuardConfig
from components.trainer.guard import NotLearningError
from components.trainer.result import StageResult

A, B, C = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.0, 0.6, 0.3, 0.9]


def task(**options: object) -> Detection:
    config = ModelConfig.model_validate({"name": "ssd_mobilenet_v2", "detection": options})
    return Detection(("cat", "dog"), config, (96, 96, 3))


def targets(*boxes: list[float], labels: list[int] | None = None) -> np.ndarray:
    """Return the targets of one image, float32 [1, 4, 5]."""
    filled = np.zeros((1, 4, 5), np.float32)
    for place, box in enumerate(boxes):
        filled[0, place] = [*box, labels[place] if labels else 1]
    return filled


def predictions(*found: tuple[list[float], float, int]) -> dict[str, np.ndarray]:
    boxes, scores, labels = zip(*found, strict=True)
    return {"boxes": np.array([boxes]), "scores": np.array([scores]), "labels": np.array([labels])}


def test_boxes_and_labels_go_as_one() -> None:
    boxes, labels = tf.constant([[A, B]]), tf.constant([[2, 0]], tf.int64)
    packed = pack(boxes, labels)
    assert packed.shape == (1, 2, 5)
    again = unpack(packed)
    np.testing.assert_array_equal(again[0], boxes)
    assert again[1].numpy().tolist() == [[2, 0]]


# --- average precision


def test_a_true_box_is_found_once() -> None:
    near_a = [0.0, 0.0, 0.4, 0.36]  # overlaps A by 0.9
    assert match_boxes(np.array([near_a, A, C]), np.array([A, B]), 0.5).tolist() == [True, False, False]
    assert match_boxes(np.array([near_a]), np.array([A]), 0.95).tolist() == [False]
    assert match_boxes(np.array([A]), np.empty((0, 4)), 0.5).tolist() == [False]


def map_50(truth: np.ndarray, *found: tuple[list[float], float, int]) -> float:
    empty = {"boxes": np.zeros((1, 1, 4)), "scores": np.zeros((1, 1)), "labels": np.zeros((1, 1), int)}
    return task().judge(truth, predictions(*found) if found else empty)["map_50"]


def test_average_precision_by_hand() -> None:
    # Hit, miss, hit, of two: precision 1 up to a recall of 0.5 (51 of the 101 recalls), then 2/3.
    found = map_50(targets(A, B), (A, 0.9, 1), (C, 0.8, 1), (B, 0.7, 1))
    assert found == pytest.approx((51 + 50 * 2 / 3) / 101)
    # Of four, two are never found: 51 recalls of 0 to 0.5, the first 26 of them with precision 1.
    others = [0.6, 0.0, 0.7, 0.1], [0.8, 0.0, 0.9, 0.1]
    found = map_50(targets(A, B, *others), (A, 0.9, 1), (C, 0.8, 1), (B, 0.7, 1))
    assert found == pytest.approx((26 + 25 * 2 / 3) / 101)
    assert map_50(targets(A, B, C)) == 0.0


def test_the_mean_is_over_the_classes_that_occur() -> None:
    found = (A, 0.9, 1), (B, 0.8, 2)
    assert map_50(targets(A, B, labels=[1, 2]), *found) == pytest.approx(1.0)
    assert map_50(targets(A, B, labels=[1, 1]), *found) == pytest.approx(51 / 101)
    assert map_50(targets(A, C, labels=[1, 2]), *found) == pytest.approx(0.5)
    assert map_50(targets(), *found) == 0.0


# --- what is measured


def perfect(detection: Detection, truth: np.ndarray) -> np.ndarray:
    """Outputs that say exactly what matching asks for."""
    from components.tasks.detection.matching import match

    matches = match(*unpack(tf.constant(truth)), tf.constant(detection.anchors), detection.config)
    positive = matches.labels.numpy() > 0
    codes = np.where(positive[..., None], encode(matches.boxes, tf.constant(detection.anchors)), 0.0)
    labels = np.eye(3)[matches.labels.numpy()][..., 1:]
    return np.concatenate([codes, np.where(labels > 0, 9.0, -9.0)], axis=-1).astype(np.float32)


def test_who_says_what_is_asked_for_loses_nothing_and_finds_everything() -> None:
    detection, truth = task(), targets(A, B, labels=[1, 2])
    outputs = tf.constant(perfect(detection, truth))
    measured = detection.measure(tf.constant(truth), outputs)
    assert set(measured) == {"loss", "class_loss", "box_loss"}
    assert float(measured["loss"][0]) == pytest.approx(0.0, abs=1e-4)
    found = {name: value.numpy() for name, value in detection.predict(outputs).items()}
    assert found["boxes"].shape == (1, 100, 4)
    assert sorted(found["labels"][0, :2]) == [1, 2]
    assert detection.judge(truth, found) == {"map_50": pytest.approx(1.0)}


def test_what_is_said_on_a_difficult_object_costs_nothing() -> None:
    detection, truth = task(), targets(A, B, labels=[1, -2])
    learned = task(train_on_difficult=True)
    outputs = perfect(detection, truth)
    # Anything at all, where the difficult object is.
    anchors, sparing = tf.constant(detection.anchors), tf.constant(truth)
    from components.tasks.detection.matching import match

    on_it = match(*unpack(sparing), anchors, detection.config).counted.numpy() == 0
    both = match(*unpack(tf.abs(sparing)), anchors, detection.config)
    on_it &= (both.labels.numpy() == 2) | (both.counted.numpy() == 0)
    assert 1 <= on_it.sum() < 100
    outputs[on_it] = 5.0
    assert float(detection.measure(truth, outputs)["loss"][0]) == pytest.approx(0.0, abs=1e-4)
    assert float(learned.measure(truth, outputs)["loss"][0]) > 1.0
    assert float(learned.measure(truth, perfect(learned, truth))["loss"][0]) == pytest.approx(0.0, abs=1e-4)


def test_the_loss_is_that_of_classes_and_of_boxes_by_its_weight() -> None:
    detection, truth = task(box_weight=3.0), targets(A)
    outputs = tf.random.stateless_normal([1, len(detection.anchors), 6], [0, 1])
    measured = {name: float(value[0]) for name, value in detection.measure(truth, outputs).items()}
    assert measured["loss"] == pytest.approx(measured["class_loss"] + 3 * measured["box_loss"], rel=1e-5)


def test_difficult_objects_need_not_be_found() -> None:
    # Precision 1 up to a recall of 1 whether the difficult one is found, twice, or not.
    truth = targets(A, B, labels=[1, -1])
    assert map_50(truth, (A, 0.9, 1)) == pytest.approx(1.0)
    assert map_50(truth, (B, 0.9, 1), (B, 0.85, 1), (A, 0.8, 1)) == pytest.approx(1.0)
    assert map_50(truth, (C, 0.9, 1), (A, 0.8, 1)) == pytest.approx(0.5)


def test_boxes_are_shares_of_the_image_and_not_of_what_it_was_padded_to() -> None:
    # The image is the middle half of the frame: y of 1/4 to 3/4.
    detection, truth = task(), targets([0.1, 0.3, 0.6, 0.7], [0.2, 0.0, 0.5, 0.24], labels=[1, 2])
    outputs = tf.constant(perfect(detection, truth))
    frame = tf.constant([[0.0, 0.25, 1.0, 0.75]])
    found = {name: value.numpy()[0] for name, value in detection.predict(outputs, frame).items()}
    np.testing.assert_allclose(found["boxes"][0], [0.1, 0.1, 0.6, 0.9], atol=1e-5)
    # The second one is on the padding alone.
    assert found["labels"].tolist() == [1] + [0] * 99
    # One that begins there is cut off at the image's edge.
    truth = targets([0.1, 0.0, 0.6, 0.7])
    outputs = tf.constant(perfect(detection, truth))
    found = {name: value.numpy()[0] for name, value in detection.predict(outputs, frame).items()}
    np.testing.assert_allclose(found["boxes"][0], [0.1, 0.0, 0.6, 0.9], atol=1e-5)


# --- the guard


def test_guessing_is_the_best_answer_that_does_not_look() -> None:
    detection, truth = task(), np.concatenate([targets(A), targets(B)])
    guard = detection.guard(GuardConfig(), truth, truth)
    at_first = np.zeros((2, len(detection.anchors), 6), np.float32)
    at_first[..., 4:] = -math.log(99)
    assert 0 < guard._guessing_loss <= float(np.mean(detection.measure(truth, at_first)["loss"])) + 1e-4


def test_a_class_that_is_difficult_everywhere_is_refused() -> None:
    some = np.concatenate([targets(A, B, labels=[1, -2]), targets(A, labels=[2])])
    task().guard(GuardConfig(), some, some)
    with pytest.raises(DataRefusedError, match="all objects of the class 'dog' are marked difficult"):
        task().guard(GuardConfig(), some[:1], some)
    task(train_on_difficult=True).guard(GuardConfig(), some[:1], some)


def test_a_detector_that_learns_nothing_is_stopped() -> None:
    guard = DetectionGuard(GuardConfig(steps=20), 1.5)
    losses = {"class_loss": 0.9, "box_loss": 0.7}
    for number in range(1, 21):
        guard.step(number, 1.6, losses, 1.0, 8)
    nothing = StageResult(1.6, {"map_50": 0.0}, {}, np.empty(0), {})
    # It may still learn; at the end of the training it has not.
    guard.epoch(20, {"loss": 1.6}, nothing, 30)
    with pytest.raises(
        NotLearningError, match=r"no better than guessing for 10 steps \(up to step 20\): .* gives 1.5000"
    ):
        guard.epoch(20, {"loss": 1.6}, nothing, 30, is_last=True)


def test_a_detector_that_learns_is_left_alone() -> None:
    guard = DetectionGuard(GuardConfig(steps=20), 1.5)
    for number in range(1, 100):
        guard.step(number, 3.0 * 0.97**number, {"class_loss": 0.0, "box_loss": 0.0}, 1.0, 8)


@pytest.mark.parametrize(("boxes", "stops"), [(19, False), (20, True)])
def test_a_detector_that_finds_nothing_is_stopped(boxes: int, stops: bool) -> None:
    guard = DetectionGuard(GuardConfig(steps=20), 1.5, num_eval_boxes=boxes)
    train = {"loss": 1.0}
    nothing = StageResult(1.0, {"map_50": 0.0}, {}, np.empty(0), {})
    guard.epoch(10, train, nothing, 30)
    something = StageResult(1.0, {"map_50": 0.1}, {}, np.empty(0), {})
    guard.epoch(30, train, something, 30)
    guard.epoch(40, train, nothing, 30)
    guard.epoch(50, train, nothing, 30)  # it may still find some
    if not stops:  # too few to be sure
        guard.epoch(60, train, nothing, 30, is_last=True)
        return
    with pytest.raises(
        NotLearningError, match="not one of the 20 boxes of the 30 eval images has been found"
    ):
        guard.epoch(60, train, nothing, 30, is_last=True)


def test_a_detector_whose_loss_falls_is_waited_for() -> None:
    guard = DetectionGuard(GuardConfig(steps=20), 1.5, num_eval_boxes=100)
    for number in range(1, 41):
        guard.step(number, 3.0 - 0.04 * number, {"class_loss": 0.0, "box_loss": 0.0}, 1.0, 8)
    for step in (40, 50):
        guard.epoch(step, {"loss": 1.5}, StageResult(1.0, {"map_50": 0.0}, {}, np.empty(0), {}), 30)


# --- what is shown


def test_a_label_is_shown_as_its_boxes() -> None:
    caption, marks = task().show(targets(A, B, labels=[1, 2])[0])
    assert caption == "2 boxes"
    assert [mark[1:] for mark in marks] == [("cat", 1), ("dog", 2)]
    np.testing.assert_allclose(marks[1][0], B)
    assert task().show(targets()[0]) == ("0 boxes", [])
    assert [mark[1:] for mark in task().show(targets(A, labels=[-2])[0])[1]] == [("dog?", 2)]


def test_boxes_are_drawn_where_they_are() -> None:
    images = np.zeros((1, 128, 128, 3), np.uint8)
    marked = draw_grid(images, ["1 box"], [[([0.25, 0.5, 0.75, 1.0], "cat", 1)]])
    tile = marked[4:132, 4:132].astype(int)
    is_drawn = tile.max(axis=-1) > 60
    rows, columns = np.where(is_drawn)
    assert (columns.min(), columns.max(), rows.max()) == (32, 95, 127)
    assert is_drawn[64, 32:96].all()  # the upper edge, and the name above it
    assert not is_drawn[:48].any()
    assert not tile[90:120, 40:90].any()  # the inside stays


def test_the_worst_mistakes_come_first() -> None:
    labels = np.concatenate([targets(A), targets(A, B), targets(A)])
    found = {
        # Found; one missed and one extra; one extra.
        "boxes": np.array([[A, A], [A, C], [A, B]]),
        "scores": np.array([[0.9, 0.1], [0.9, 0.8], [0.9, 0.4]]),
        "labels": np.array([[1, 1], [1, 1], [1, 1]]),
    }
    evaluation = StageResult(1.0, {}, {}, np.arange(3), found)
    worst = task().mistakes(evaluation, labels, 5)
    assert [(place, caption) for place, caption, _ in worst] == [
        (1, "1 missed\n1 extra"),
        (2, "0 missed\n1 extra"),
    ]
    assert [text for _, text, _ in worst[0][2]] == ["cat 0.90", "cat 0.80"]
    assert len(task().mistakes(evaluation, labels, 1)) == 1
    # Difficult ones are neither missed nor extra.
    labels[1, 1, 4] = labels[2, 1, 4] = -1
    labels[2, 1, :4] = B
    assert [caption for _, caption, _ in task().mistakes(evaluation, labels, 5)] == ["0 missed\n1 extra"]
