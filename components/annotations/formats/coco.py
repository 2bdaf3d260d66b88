"""COCO: images, boxes and classes of a split in one JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.annotations.image import AnnotatedImage

FILE = "_annotations.coco.json"


class Writer:
    """Writes a file for each split; a difficult box is a crowd, which evaluations pass over."""

    def __init__(self, folder: Path, class_names: Sequence[str]):
        self._folder = folder
        self._ids = {name: number for number, name in enumerate(class_names, start=1)}
        self._splits: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}

    def add(self, image: AnnotatedImage) -> None:
        """Keep an image and its boxes."""
        images, annotations = self._splits.setdefault(image.split, ([], []))
        key = len(images) + 1
        images.append({"id": key, "file_name": image.path, "width": image.width, "height": image.height})
        for box in image.boxes:
            xmin, ymin, xmax, ymax = map(float, box.sides)
            width, height = round(xmax - xmin, 3), round(ymax - ymin, 3)
            told = {} if box.score is None else {"score": box.score}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": key,
                    "category_id": self._ids[box.label],
                    "bbox": [xmin, ymin, width, height],
                    "area": round(width * height, 3),
                    "iscrowd": int(box.difficult),
                    **told,
                }
            )

    def close(self) -> None:
        """Write the files."""
        categories = [{"id": key, "name": name, "supercategory": ""} for name, key in self._ids.items()]
        for split, (images, annotations) in self._splits.items():
            content = {"images": images, "annotations": annotations, "categories": categories}
            path = self._folder / split / FILE
            path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
