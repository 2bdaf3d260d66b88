"""The class predictors of a COCO detector of the Object Detection API, for other classes.

They have a row for the background and one for each of COCO's 90 numbers, of which 80 have names.

Source: research/object_detection/data/mscoco_label_map.pbtxt of https://github.com/tensorflow/models.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.base.words import format_count, format_some
from components.models.config import DetectionConfig
from components.trainer.warm_start.coco_head import CODES
from components.trainer.warm_start.source import Source

_SLOTS = 91
# Of the anchors at each place, in their order.
_ASPECT_RATIOS = (1, 2, 0.5, 3, 1 / 3)
_PREDICTORS = r"(box|class)_predictor_\d+(_|/)"
_EXTRA_LAYERS = r"extra_\d+_"
_COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    ", stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, "
    "giraffe, , backpack, umbrella, , , handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, "
    "kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, , wine glass, "
    "cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, "
    "donut, cake, chair, couch, potted plant, bed, , dining table, , , toilet, , tv, laptop, mouse, "
    "remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, , book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
# The number of each class in the logits; 0 is the background.
COCO = {name: number for number, name in enumerate(_COCO.split(", "), start=1) if name.strip()}


def take_classes(
    source: Source, variables: Mapping[str, Any], class_names: Sequence[str], config: DetectionConfig
) -> tuple[Source, str]:
    """Return the source with the class predictors for other classes, and what was taken in a sentence.

    A class takes the row of COCO's class of the same name; one with another name keeps what it has. What
    does not fit is not in the source that is returned, since its shapes may be equal by chance.

    Args:
        source: A checkpoint of the API.
        variables: Those of the network by their paths, with the values that it begins with.
        class_names: The network's classes, in the order of their labels.
        config: The recipe's `model.detection`.
    """
    if config.neck != "none":
        return _without(source, f"{_PREDICTORS}|{_EXTRA_LAYERS}"), (
            f"the head of a COCO detector: nothing of it taken, since neck: {config.neck} puts another map "
            "before its maps"
        )
    if not _are_coco(config.aspect_ratios):
        ours, theirs = (
            ", ".join(f"{ratio:.3g}" for ratio in ratios) for ratios in (config.aspect_ratios, _ASPECT_RATIOS)
        )
        return _without(source, _PREDICTORS), (
            f"the head of a COCO detector: no predictors taken, since they are for aspect_ratios {theirs}, "
            f"and the recipe has {ours}"
        )
    numbers = {place: COCO.get(_plain(name)) for place, name in enumerate(class_names)}
    shapes, values, taken, left = dict(source.shapes), {}, [], []
    heads = [path for path in variables if re.fullmatch(r"class_predictor_\d+/kernel", path)]
    for path in heads:
        layer = path.removesuffix("/kernel")
        boxes = variables[path.replace("class", "box")].shape[-1] // len(CODES)
        their_boxes = shapes.get(path.replace("class", "box"), (0,))[-1] // len(CODES)
        why = _why_not(shapes.get(path), tuple(variables[path].shape), boxes, their_boxes)
        if why:
            left.append(f"{layer} ({why})")
            for name in (path, f"{layer}/bias"):
                shapes.pop(name, None)
            continue
        for name in (path, f"{layer}/bias"):
            values[name] = _Rows(source, name, variables[name].numpy(), boxes, numbers)
            shapes[name] = tuple(variables[name].shape)
        taken.append(layer)
    by_name = [class_names[place] for place, number in numbers.items() if number]
    others = [class_names[place] for place, number in numbers.items() if not number]
    sentence = (
        f"the head of a COCO detector: {format_count(taken, 'class predictor', 'class predictors')} taken, "
        f"with the rows of {format_some(by_name, 10, none='no class')} by name; from scratch: "
        f"{format_some([*others, *left], 10, none='nothing')}"
    )
    read = source.read
    return dataclasses.replace(
        source, shapes=shapes, read=lambda name: values[name].read() if name in values else read(name)
    ), sentence


def _without(source: Source, pattern: str) -> Source:
    """Return the source without the variables whose paths begin like this."""
    kept = {name: shape for name, shape in source.shapes.items() if not re.match(pattern, name)}
    return dataclasses.replace(source, shapes=kept)


def _are_coco(ratios: Sequence[float]) -> bool:
    return len(ratios) == len(_ASPECT_RATIOS) and all(
        math.isclose(ours, theirs, rel_tol=0.01) for ours, theirs in zip(ratios, _ASPECT_RATIOS, strict=True)
    )


def _why_not(theirs: tuple[int, ...] | None, ours: tuple[int, ...], boxes: int, their_boxes: int) -> str:
    """Return why a class predictor cannot be taken; empty if it can."""
    if theirs is None:
        return "the checkpoint has none with a depthwise convolution before it"
    if theirs[-1] != their_boxes * _SLOTS:
        return f"the checkpoint's is for {theirs[-1] // max(their_boxes, 1) - 1} classes that are not COCO's"
    if boxes != their_boxes:
        return f"{their_boxes} anchors per place there, {boxes} here"
    if theirs[:-1] != ours[:-1]:
        return f"{theirs[-2]} channels there, {ours[-2]} here"
    return ""


@dataclasses.dataclass(frozen=True)
class _Rows:
    """A variable of a class predictor, with the rows of COCO's classes in it.

    Attributes:
        source: The checkpoint.
        name: The variable's path.
        initial: What the network begins with.
        boxes: Anchors per place.
        numbers: COCO's number by the place of the class; None for a class of another name.
    """

    source: Source
    name: str
    initial: Array
    boxes: int
    numbers: Mapping[int, int | None]

    def read(self) -> Array:
        """Return the value for the network."""
        theirs = self.source.read(self.name)
        theirs = theirs.reshape(*theirs.shape[:-1], self.boxes, _SLOTS)
        ours = self.initial.reshape(*self.initial.shape[:-1], self.boxes, -1).copy()
        # With softmax there is a row for the background before those of the classes.
        first = ours.shape[-1] - len(self.numbers)
        for place in range(first):
            ours[..., place] = theirs[..., 0]
        for place, number in self.numbers.items():
            if number:
                ours[..., first + place] = theirs[..., number]
        return np.asarray(ours.reshape(self.initial.shape))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip().casefold())
