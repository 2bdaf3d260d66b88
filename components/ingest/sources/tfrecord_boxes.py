"""Boxes of a tf.train.Example as the Object Detection API writes them.

The sides are shares, or pixels if the user says so. A feature that is read must be of its type: a number as
text, or the other way round, is a reject. The class is `image/object/class/text`, or
`image/object/class/label` by the label map; without either it is called by its number. `difficult`,
`is_crowd` and `group_of` (Open Images) all mark what the evaluation passes over. All lists but the
sides may be missing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from components.base.example import type_problem
from components.ingest.files import decode_name, label_of
from components.ingest.item import Reject
from components.ingest.label_map import LabelMap
from components.ingest.truth import Boxes
from components.ingest.truth.placing import Box
from components.ingest.values import number
from schemas import features

_PASSED_OVER = (features.BOX_DIFFICULT, "image/object/is_crowd", "image/object/group_of")
_READ = (
    features.ENCODED, features.FILENAME, features.HEIGHT, features.WIDTH, features.BOX_LABEL,
    features.BOX_TEXT, features.BOX_DIFFICULT, features.BOX_TRUNCATED,
)  # fmt: skip
TYPES = {**{name: features.TYPES[name] for name in _READ}, **dict.fromkeys(_PASSED_OVER, "int64")}
_SIDES_TYPES = dict.fromkeys(features.BOX_SIDES, "float")

Values = Mapping[str, list[Any]]
# The class of a label (None where there is none), a text ("" where there is none), at a place.
NameOf = Callable[["int | None", str, str], "str | Reject"]


def read_boxes(
    values: Values, where: str, label_map: LabelMap | None, name_of: NameOf, *, in_shares: bool = True
) -> Boxes | Reject:
    """Return the boxes of a record, or why they cannot be used.

    Args:
        values: The record's features.
        where: The record, for messages.
        label_map: Numbers the classes.
        name_of: Returns a class if there is no label map.
        in_shares: Whether the sides are shares.
    """
    sides = [values.get(name, []) for name in features.BOX_SIDES]
    count = len(sides[0])
    for name in (*features.BOX_SIDES, features.BOX_LABEL, features.BOX_TEXT, *_PASSED_OVER):
        if len(found := values.get(name, [])) != count and (found or name in features.BOX_SIDES):
            return Reject(where, f"{name} has {len(found)} values, {features.BOX_XMIN} has {count}")
    if in_shares and (problem := type_problem(values, _SIDES_TYPES)):
        hint = "; whole numbers may be pixels, which --box-units pixels reads" if "int64" in problem else ""
        return Reject(where, problem + hint)
    for at, name in enumerate(features.BOX_SIDES):
        try:
            sides[at] = [number(side) for side in sides[at]]
        except ValueError as error:
            return Reject(where, f"{name}: {error}")
    labels = values.get(features.BOX_LABEL) or [None] * count
    texts = values.get(features.BOX_TEXT) or [b""] * count
    passed_over = [any(flags) for flags in zip(*_flags(values, _PASSED_OVER, count), strict=True)]
    (truncated,) = _flags(values, (features.BOX_TRUNCATED,), count)
    boxes = []
    for at in range(count):
        label, text = labels[at], label_of(decode_name(texts[at]))
        called: str | Reject
        if label_map is None:
            called = name_of(label, text, where)
        elif text:
            called = label_map.named(text, where)
        elif label is not None:
            called = label_map.numbered(label, where)
        else:
            called = Reject(where, f"unlabelled: neither {features.BOX_TEXT} nor {features.BOX_LABEL}")
        if isinstance(called, Reject):
            return called
        xmin, ymin, xmax, ymax = (side[at] for side in sides)
        boxes.append(Box(called, xmin, ymin, xmax, ymax, passed_over[at], bool(truncated[at])))
    width, height = (values.get(name) or [0] for name in (features.WIDTH, features.HEIGHT))
    return Boxes(tuple(boxes), (width[0], height[0]), in_shares)


def _flags(values: Values, names: tuple[str, ...], count: int) -> list[list[Any]]:
    return [found if len(found := values.get(name, [])) == count else [0] * count for name in names]
