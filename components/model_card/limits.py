"""The limits of a model that its numbers show, as sentences for its card."""

import statistics
from collections.abc import Iterator, Mapping

from components.base.intervals import wilson_interval
from components.base.task import task_named
from components.base.words import format_count, format_some
from components.model_card.facts import Facts
from schemas import features

# A share of fewer images is uncertain by 0.18 and more, see `wilson_interval`.
FEW_TEST_IMAGES = 30
FEW_TRAIN_IMAGES = 50
# How far below the mean of all classes a class falls behind.
BEHIND = 0.1
# Images of the largest class for each image of the smallest one.
UNEVEN = 5
_FEW = 5
# The metric by which classes are compared, where the task has it; otherwise its first one.
_MEASURE = "f1"


def find_limits(facts: Facts) -> list[str]:
    """Return what the numbers do not show, or show too little of."""
    return [
        *_find_few_images(facts.given.counts),
        *_find_behind(facts),
        *_find_uneven(facts.given.counts.get(features.TRAIN, {})),
        *_find_unknown(facts),
        *facts.warnings,
        "All numbers are measured on images of the same origin as the training images. Other cameras, places "
        "and times can give worse ones.",
    ]


def _find_few_images(by_split: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    counts = by_split.get(features.TEST, {})
    few = [name for name, count in counts.items() if 0 < count < FEW_TEST_IMAGES]
    if few:
        fewest = min(counts[name] for name in few)
        interval = wilson_interval(fewest / 2, fewest)
        assert interval is not None
        its = "its" if len(few) == 1 else "their"
        yield (
            f"{_name_classes(few)} fewer than {FEW_TEST_IMAGES} test images, so {its} metrics are uncertain: "
            f"of {format_count(fewest, 'image')}, a share of 0.5 means {interval.low:.2f} to "
            f"{interval.high:.2f} (95 %)."
        )
    if none := [name for name, count in counts.items() if not count]:
        yield f"{_name_classes(none)} no test images: nothing is known about how well the model does there."
    counts = by_split.get(features.TRAIN, {})
    if few := [name for name, count in counts.items() if count < FEW_TRAIN_IMAGES]:
        yield f"{_name_classes(few)} fewer than {FEW_TRAIN_IMAGES} training images."


def _name_classes(names: list[str]) -> str:
    verb = "has" if len(names) == 1 else "have"
    return f"{format_count(names, 'class', 'classes')} ({format_some(names, _FEW)}) {verb}"


def _find_behind(facts: Facts) -> Iterator[str]:
    of_classes = task_named(facts.given.task).class_metrics
    measure = _MEASURE if _MEASURE in of_classes else next(iter(of_classes), "")
    classes = {name: value for name, of in facts.per_class.items() if (value := of.get(measure)) is not None}
    yield from _name_behind(classes, measure, ("class", "classes"))
    metric = next(iter(facts.metrics), "")
    slices = {name: of[metric] for name, of in facts.slices.items() if metric in of}
    yield from _name_behind(slices, metric, ("slice", "slices"))


def _name_behind(values: Mapping[str, float], measure: str, nouns: tuple[str, str]) -> Iterator[str]:
    if not values:
        return
    mean = statistics.fmean(values.values())
    behind = {name: value for name, value in values.items() if value < mean - BEHIND}
    if behind:
        worst = [f"{name} {value:.2f}" for name, value in sorted(behind.items(), key=lambda item: item[1])]
        verb = "falls" if len(behind) == 1 else "fall"
        yield (
            f"{format_count(behind, *nouns)} {verb} behind the mean {measure} of {mean:.2f} by "
            f"more than {BEHIND}: {format_some(worst, _FEW)}."
        )


def _find_uneven(counts: Mapping[str, int]) -> Iterator[str]:
    there = {name: count for name, count in counts.items() if count}
    if not there:
        return
    most, least = (find(there, key=lambda name: there[name]) for find in (max, min))
    if there[most] >= UNEVEN * there[least]:
        yield (
            f"The training images are uneven: {most} has {there[most]:,}, {least} has {there[least]:,}. The "
            "model takes rare classes for frequent ones more often than the other way round."
        )


def _find_unknown(facts: Facts) -> Iterator[str]:
    if facts.baseline is None:
        yield "The model was compared with no other one."
    if not facts.intervals:
        yield "The metrics have no confidence intervals."
    if not facts.given.data_sha256:
        yield "The data have no checksum, so that it cannot be told later which they were."
    if not facts.given.counts:
        yield "The images of each class were not counted."
