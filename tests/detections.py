"""Detections written in pixels, for tests: what is on an image, what was found there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.detection.coco_eval import Detections

Corners = tuple[float, float, float, float]


def detections(
    objects: Sequence[tuple[Corners, int]] = (),
    found: Sequence[tuple[Corners, int, float]] = (),
    difficult: Sequence[int] = (),
    name: str = "image.jpg",
    height: int = 200,
    width: int = 400,
) -> Detections:
    """Corners in pixels; `difficult` are indices of objects."""
    size = np.array([width, height, width, height])
    return Detections(
        name,
        height,
        width,
        boxes=(np.array([box for box, _ in objects]).reshape(-1, 4) / size).astype(np.float32),
        labels=np.array([label for _, label in objects], np.int64),
        difficult=np.isin(np.arange(len(objects)), difficult),
        found_boxes=(np.array([box for box, _, _ in found]).reshape(-1, 4) / size).astype(np.float32),
        found_labels=np.array([label for _, label, _ in found], np.int64),
        scores=np.array([score for _, _, score in found], np.float32),
    )


def random_detections(seed: int, count: int, num_classes: int, boxes: int = 20) -> list[Detections]:
    """Objects, some difficult, and boxes: near them, of other classes, twice, anywhere; scores with ties."""
    random = np.random.default_rng(seed)
    images = []
    for number in range(count):
        corners = random.uniform(0, 150, (random.integers(0, 5), 2))
        corners = np.concatenate([corners, corners + random.uniform(5, 150, corners.shape)], axis=1)
        objects = [(tuple(box), int(random.integers(1, num_classes + 1))) for box in corners]
        found = []
        for _ in range(boxes):
            if objects and random.random() < 0.7:
                box, label = objects[random.integers(len(objects))]
                box = tuple(np.array(box) + random.normal(0, random.choice([0, 5, 30]), 4))
            else:
                box, label = tuple(random.uniform(0, 200, 2).repeat(2)[[0, 2, 1, 3]] + [0, 0, 40, 40]), 1
            if random.random() < 0.2:
                label = int(random.integers(1, num_classes + 1))
            found.append((box, label, round(float(random.random()), 1)))
        hard = [i for i in range(len(objects)) if random.random() < 0.2]
        images.append(detections(objects, found, hard, name=f"{number:05}.jpg", height=300, width=400))
    return images
