"""Changes of annotations that keep their form: odd values in JSON, features of another type in TFRecords."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from components.base.example import parse_example, serialize_example
from components.base.tfrecord import frame_record

_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 3.5, 1e308, float("nan"), float("inf"), "", "x", "3", "3.0", "\ud800", [], {},
    [[]], 10**50, 10**99, {"size": [7, 9], "counts": "PP"}, {"size": [7, 9], "counts": [10, 53]},
    {"size": [7, 9], "counts": [10, 20, 33]}, {"size": [10**30, 1], "counts": []}, [[1, 2, 3, 4, 5, 6]],
    "../../1.png", "C:\\a\\2.png", [1, 2, 3, 4], ["1", "2", "3", "4"], [1e15, 1e15, 1e15, 1e15],
)  # fmt: skip
_ODD_FEATURES: tuple[Any, ...] = (
    b"1", b"", b"\xff", b"cat\n", 1, -1, 2**62, 0.5, 1e30, -0.5, float("nan"), float("inf"),
)  # fmt: skip


def odd_values(random: Random, files: dict[str, bytes]) -> dict[str, bytes]:
    """Puts odd values in the place of some of a JSON file, drops some, and repeats elements of lists."""
    path = next(path for path in files if path.endswith(".json"))
    changed = _changed(random, json.loads(files[path]))
    return {**files, path: json.dumps(changed).encode()}


def _changed(random: Random, value: Any) -> Any:
    if random.random() < 0.1:
        return random.choice(_ODD_VALUES)
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if random.random() > 0.04}
        if random.random() < 0.06:
            kept[random.choice(("bbox", "segmentation", "iscrowd", "id"))] = random.choice(_ODD_VALUES)
        return {key: _changed(random, one) if random.random() < 0.4 else one for key, one in kept.items()}
    if isinstance(value, list):
        repeated = [*value, *random.choices(value, k=random.choice((0, 0, 0, 1)))] if value else []
        return [_changed(random, one) if random.random() < 0.4 else one for one in repeated]
    return value


def odd_features(random: Random, files: dict[str, bytes]) -> dict[str, bytes]:
    """Gives some features of the first record other types, other counts, or nothing."""
    path, data = next(iter(files.items()))
    length = int.from_bytes(data[:8], "little")
    values: dict[str, Any] = parse_example(data[12 : 12 + length])
    for name in random.sample(sorted(values), random.choice((1, 1, 2, 3))):
        values[name] = [random.choice(_ODD_FEATURES)] * random.choice((0, 1, 1, 1, 2, 3))
    return {path: frame_record(serialize_example(values)) + data[12 + length + 4 :]}
