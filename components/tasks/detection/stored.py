"""Judged detections of a split as bytes, and back: metrics and report need one pass of the model."""

import dataclasses
import io
import json
from collections.abc import Sequence

import numpy as np

from components.tasks.detection.coco_eval import CocoResult, Detections


@dataclasses.dataclass(frozen=True)
class Judged:
    """The arguments of `to_bytes`.

    Attributes:
        images: Images of the split; not all if they are more than a `Sample` keeps.
        class_names: All classes, in the order of their labels.
        result: The metrics of all images.
    """

    images: list[Detections]
    class_names: list[str]
    result: CocoResult

    @property
    def is_whole(self) -> bool:
        """Return whether all images of the split are there."""
        return len(self.images) == self.result.images


def to_bytes(images: Sequence[Detections], class_names: Sequence[str], result: CocoResult) -> bytes:
    """Return a compressed NumPy archive; about 2 kB per image with 100 boxes found."""
    empty = np.zeros((0, 4), np.float32)

    def joined(name: str, kind: type) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        parts = [getattr(image, name) for image in images]
        return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)

    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        class_names=np.array(list(class_names), np.str_),
        # It may have NaN, since only this module reads it.
        metrics=np.array(json.dumps([result.metrics, result.per_class])),
        counts=np.array([result.objects, result.difficult], np.int64).reshape(2, -1),
        of_images=np.array(result.images, np.int64),
        precision=result.precision.astype(np.float32),
        recall_scores=result.scores.astype(np.float32),
        names=np.array([image.name for image in images], np.str_),
        sizes=np.array([(image.height, image.width) for image in images], np.int32).reshape(-1, 2),
        objects=np.array([len(image.boxes) for image in images], np.int32),
        found=np.array([len(image.found_boxes) for image in images], np.int32),
        boxes=np.concatenate([empty, *(image.boxes for image in images)]),
        labels=joined("labels", np.int32),
        difficult=joined("difficult", np.bool_),
        found_boxes=np.concatenate([empty, *(image.found_boxes for image in images)]),
        found_labels=joined("found_labels", np.int32),
        scores=joined("scores", np.float32),
    )
    return buffer.getvalue()


def from_bytes(stored: bytes) -> Judged:
    """Return the arguments of `to_bytes`, with float32 curves."""
    with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
        values = {name: archive[name] for name in archive.files}
    objects, found = (np.cumsum(values[name])[:-1] for name in ("objects", "found"))
    per_image = zip(
        values["names"].tolist(),
        values["sizes"].tolist(),
        *(np.split(values[name], objects) for name in ("boxes", "labels", "difficult")),
        *(np.split(values[name], found) for name in ("found_boxes", "found_labels", "scores")),
        strict=False,  # np.split gives one empty part for no image at all
    )
    images = [
        Detections(
            name,
            height,
            width,
            boxes=boxes,
            labels=labels.astype(np.int64),
            difficult=difficult,
            found_boxes=found_boxes,
            found_labels=found_labels.astype(np.int64),
            scores=scores,
        )
        for name, (height, width), boxes, labels, difficult, found_boxes, found_labels, scores in per_image
    ]
    metrics, per_class = json.loads(values["metrics"].item())
    counts = int(values["of_images"]), *values["counts"]
    result = CocoResult(metrics, per_class, values["precision"], values["recall_scores"], *counts)
    return Judged(images, values["class_names"].tolist(), result)
