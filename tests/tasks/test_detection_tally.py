"""Tallies of detections merge in any order and are bounded; so is the sample of images for the report."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest

from components.tasks.detection.coco_eval import CocoResult, Detections
from components.tasks.detection.sample import Sample, _place, weigh
from components.tasks.detection.tally import Tally, evaluate
from tests.make.detections import make_detections, make_random_detections

LEFT, RIGHT = (10.0, 10.0, 110.0, 110.0), (200.0, 10.0, 300.0, 110.0)


def assert_equal(one: CocoResult, other: CocoResult) -> None:
    """To the last bit."""
    for name, value in vars(one).items():
        np.testing.assert_equal(getattr(other, name), value, err_msg=name)


def tally_in_parts(images: list[Detections], parts: int, seed: int, most_rows: int = 2**22) -> CocoResult:
    """Count images in a random order by several workers, which send their tallies to another one."""
    random = np.random.default_rng(seed)
    shares = np.array_split(random.permutation(len(images)), parts)
    merged = Tally(3, most_rows)
    for share in shares:
        tally = Tally(3, most_rows)
        for place in share:
            tally.add(images[place])
        tally.compact()
        merged.merge(pickle.loads(pickle.dumps(tally)))
    return merged.measure()


@pytest.mark.parametrize("parts", [1, 2, 7, 40])
def test_tallies_of_parts_merge_to_the_same_bits(parts: int) -> None:
    # Scores have one decimal, so most boxes of a class share theirs with boxes of other images.
    images = make_random_detections(11, 30, 3)
    assert_equal(tally_in_parts(images, parts, parts), evaluate(images, 3))


def test_a_tally_keeps_no_more_rows_than_it_may_and_stays_near_the_exact_metrics() -> None:
    random = np.random.default_rng(0)
    images = [
        dataclasses.replace(image, scores=random.random(len(image.scores)).astype(np.float32))
        for image in make_random_detections(2, 60, 3)
    ]
    exact = evaluate(images, 3)
    rough = [tally_in_parts(images, parts, seed, most_rows=800) for parts, seed in ((1, 0), (5, 1), (60, 2))]
    for other in rough[1:]:
        assert_equal(rough[0], other)
    assert rough[0].metrics != exact.metrics
    for name, value in exact.metrics.items():
        assert rough[0].metrics[name] == pytest.approx(value, abs=0.02, nan_ok=True)
    # Recalls do not depend on the order of the scores, so they are exact.
    assert all(rough[0].metrics[f"ar_{count}"] == exact.metrics[f"ar_{count}"] for count in (1, 10, 100))
    tally = Tally(3, 800)
    for image in images * 3:
        tally.add(image)
    tally.compact()
    assert tally.images == 180
    assert sum(len(part) for part in tally._parts) <= 800
    assert len(pickle.dumps(tally)) < 50_000


def test_a_rough_tally_takes_exact_ones_and_the_other_way_round() -> None:
    random = np.random.default_rng(1)
    images = [
        dataclasses.replace(image, scores=random.random(len(image.scores)).astype(np.float32))
        for image in make_random_detections(7, 40, 3)
    ]
    expected = tally_in_parts(images, 1, 0, most_rows=500)
    for first, second in ((images[:1], images[1:]), (images[1:], images[:1])):
        one, other = Tally(3, 500), Tally(3, 500)
        for tally, part in ((one, first), (other, second)):
            for image in part:
                tally.add(image)
        one.compact()
        one.merge(other)
        assert_equal(one.measure(), expected)


def test_equal_scores_of_many_images_are_one_step_once_rows_are_counted_together() -> None:
    # One right and one wrong box of equal scores: precision 1/2 at every recall, in any order.
    images = [make_detections([(LEFT, 1)], [(LEFT, 1, 0.5), (RIGHT, 1, 0.5)], name=str(n)) for n in range(8)]
    tally = Tally(1, 4)
    for image in images:
        tally.add(image)
    metrics = tally.measure().metrics
    assert (metrics["map"], metrics["map_50"], metrics["ar_1"], metrics["ar_100"]) == (0.5, 0.5, 1.0, 1.0)


def test_what_comes_after_scores_have_lost_bits_loses_them_too() -> None:
    # 640 boxes whose scores differ by their last bits alone: the last image comes after they are made fewer.
    random = np.random.default_rng(0)
    images = []
    for image in make_random_detections(2, 32, 3):
        scores = random.integers(8, 12, len(image.scores)) / 16 + random.random(len(image.scores)) * 2**-14
        images.append(dataclasses.replace(image, scores=scores.astype(np.float32)))
    results = []
    for seed in range(6):
        tally = Tally(3, most_rows=300)
        for place in np.random.default_rng(seed).permutation(len(images)):
            tally.add(images[place])
        results.append(tally.measure())
    for result in results[1:]:
        assert_equal(results[0], result)


def test_scores_of_any_sign_keep_their_order_when_they_lose_bits() -> None:
    scores = [-2.0, -0.5, 0.0, 0.25, 3.0]
    found = [(RIGHT, 1, score) for score in scores[:-1]] + [(LEFT, 1, scores[-1])]
    tally = Tally(1, 4)
    tally.add(make_detections([(LEFT, 1)], found))
    assert tally.measure().metrics["map"] == 1.0


def test_nothing_is_counted_of_no_image_and_of_images_without_boxes() -> None:
    for images in ([], [make_detections(), make_detections()]):
        result = evaluate(images, 2)
        assert result.images == len(images)
        assert all(math.isnan(value) for value in result.metrics.values())
        assert result.objects.tolist() == result.difficult.tolist() == [0, 0]


def test_objects_are_counted_by_class() -> None:
    image = make_detections([(LEFT, 1), (RIGHT, 2), (RIGHT, 2)], difficult=[2])
    result = evaluate([image, image], 3)
    assert (result.objects.tolist(), result.difficult.tolist()) == ([2, 2, 0], [0, 2, 0])


def test_a_sample_is_the_same_in_any_order_and_by_any_number_of_workers() -> None:
    images = make_random_detections(4, 50, 2)
    most = sum(map(weigh, images)) // 3
    names = []
    for parts, seed in ((1, 0), (6, 1), (50, 2)):
        merged = Sample(most)
        for share in np.array_split(np.random.default_rng(seed).permutation(50), parts):
            sample = Sample(most)
            for place in share:
                sample.add(images[place])
            merged.merge(sample)
        kept = merged.list_images()
        assert sum(map(weigh, kept)) <= most
        names.append([image.name for image in kept])
    assert names[0] == names[1] == names[2] == sorted(names[0])
    assert 10 < len(names[0]) < 25
    whole = Sample(3 * most + 3)
    for image in reversed(images):
        whole.add(image)
    assert [image.name for image in whole.list_images()] == [image.name for image in images]


@pytest.mark.parametrize("seed", range(5))
def test_no_image_takes_the_room_of_one_that_did_not_fit(seed: int) -> None:
    """A worker with almost all images drops a large one; another worker has one that comes later and fits."""
    images = sorted(make_random_detections(seed, 40, 2), key=_place)
    most = sum(map(weigh, images[:20])) + weigh(images[20]) // 2
    # Later than the first that does not fit; the room that this one leaves is enough for it.
    late = dataclasses.replace(images[30], found_boxes=images[30].found_boxes[:0])
    images[30] = late
    expected = sorted(image.name for image in images[:20])
    for alone in ([30], [20], [20, 30], [35, 30, 3]):
        parts = [[i for i in range(40) if i not in alone], *([i] for i in alone)]
        for order in (parts, parts[::-1]):
            merged = Sample(most)
            for part in order:
                sample = Sample(most)
                for place in part:
                    sample.add(images[place])
                sample.compact()
                merged.merge(sample)
            assert [image.name for image in merged.list_images()] == expected
