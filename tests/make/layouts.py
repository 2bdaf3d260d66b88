"""Data as people download them: the layouts of public sets, made small.

Each maker writes a folder and returns what is given as DATA. Classes are colours, so that a model could learn
them; boxes are bright squares on noise. Every split shows every class.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from schemas import features
from tests.make.boxes import make_xml, write_files
from tests.make.folders import encode_idx
from tests.make.images import encode_image, make_coloured_png

CLASSES = ("blue", "green")
# Of each class. Detection makes half as many, all of which show both classes.
_TRAIN, _OTHER = 16, 6
_SIZE_PX, _BOXES_PX, _SQUARE_PX = 32, 96, 32

Files = dict[str, "bytes | str"]
# xmin, ymin, xmax, ymax in pixels, class.
Box = tuple[int, int, int, int, str]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout.

    Attributes:
        source: The source that reads it.
        write: Writes it into a folder and returns DATA.
        splits: The splits that it brings.
        task: What a model of it does.
    """

    source: str
    write: Callable[[Path], Path]
    splits: tuple[str, ...] = ()
    task: str = "classification"


def _images(splits: Sequence[str], size_px: int = _SIZE_PX) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield split, class, name and content of images."""
    for split in splits:
        for label, name in enumerate(CLASSES):
            for number in range(_TRAIN if split == splits[0] else _OTHER):
                seed = 1000 * splits.index(split) + 100 * label + number
                yield split, name, f"{seed:04d}.png", make_coloured_png(label, seed, size_px)


def _with_boxes(splits: Sequence[str]) -> Iterator[tuple[str, str, bytes, list[Box]]]:
    """Yield split, name, content and boxes of images with a square of each class."""
    side = _SQUARE_PX
    for split in splits:
        for number in range(_TRAIN if split == splits[0] else _OTHER):
            seed = 1000 * splits.index(split) + number
            random = np.random.default_rng(seed)
            pixels = random.integers(0, 80, (_BOXES_PX, _BOXES_PX, 3), np.uint8)
            boxes: list[Box] = []
            for label, name in enumerate(CLASSES):
                x = int(random.integers(0, _BOXES_PX // 2 - side)) + label * _BOXES_PX // 2
                y = int(random.integers(0, _BOXES_PX - side))
                pixels[y : y + side, x : x + side, 2 - label] = 230
                boxes.append((x, y, x + side, y + side, name))
            yield split, f"{seed:04d}.jpg", encode_image(pixels, "JPEG"), boxes


def split_folders(root: Path) -> Path:
    """Write train/, validation/ and test/ with class folders, as cats_vs_dogs has them."""
    found = _images(("train", "validation", "test"))
    return write_files(root, {f"{split}/{name}/{file}": data for split, name, file, data in found})


def class_folders(root: Path) -> Path:
    """Write a folder for each class, and a note."""
    files: Files = {f"{name}/{file}": data for _, name, file, data in _images(("all",))}
    return write_files(root, {**files, "README.txt": "two colours"})


def kaggle_csv(root: Path) -> Path:
    """Write the files of a Kaggle competition: train.csv with names that have no ending, and the test's."""
    found = list(_images(("train",)))
    rows = "".join(f"{file.removesuffix('.png')},{name}\n" for _, name, file, _ in found)
    files: Files = {f"train/{file}": data for _, _, file, data in found}
    files |= {f"test/x{number}.png": make_coloured_png(0, 9000 + number, _SIZE_PX) for number in (1, 2)}
    lists: Files = {
        "train.csv": f"id,label\n{rows}",
        "test.csv": "id\nx1\nx2\n",
        "sample_submission.csv": "id,label\nx1,blue\nx2,blue\n",
    }
    return write_files(root, {**files, **lists})


def one_hot_csv(root: Path) -> Path:
    """Write a `_classes.csv` with a column for each class into every split, as Roboflow does."""
    files: Files = {}
    lists: dict[str, str] = {}
    for split, name, file, data in _images(("train", "valid", "test")):
        files[f"{split}/{file}"] = data
        cells = ", ".join(str(int(name == one)) for one in CLASSES)
        header = f"filename, {', '.join(CLASSES)}\n"
        lists[split] = f"{lists.get(split, header)}{file}, {cells}\n"
    return write_files(root, {**files, **{f"{split}/_classes.csv": text for split, text in lists.items()}})


def vertex_import(root: Path) -> Path:
    """Write an import file of Vertex AI without a header, whose images are in a bucket, and the images."""
    names = {"train": "training", "val": "validation", "test": "test"}
    found = list(_images(tuple(names)))
    rows = "".join(
        f"{names[split]},gs://bucket/photos/{name}/{file},{name}\n" for split, name, file, _ in found
    )
    files: Files = {f"photos/{name}/{file}": data for _, name, file, data in found}
    return write_files(root, {**files, "import.csv": rows})


def idx(root: Path) -> Path:
    """Write the four files of MNIST, with images of 28 px."""
    random = np.random.default_rng(0)
    files: Files = {}
    for part, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count) % 2
        pixels = random.integers(0, 80, (count, 28, 28), np.uint8)
        pixels[labels == 1, 8:20, 8:20] += 150
        files[f"{part}-images-idx3-ubyte"] = encode_idx(count, 28, 28, data=pixels.tobytes())
        files[f"{part}-labels-idx1-ubyte"] = encode_idx(count, data=labels.astype(np.uint8).tobytes())
    return write_files(root, files)


def cifar(root: Path) -> Path:
    """Write CIFAR-10's pickles of the python version."""
    random = np.random.default_rng(0)
    files: Files = {"cifar-10-batches-py/batches.meta": pickle.dumps({"label_names": list(CLASSES)}, 2)}
    for batch, count in (("data_batch_1", 40), ("data_batch_2", 40), ("test_batch", 20)):
        labels = np.arange(count) % 2
        pixels = random.integers(0, 80, (count, 3, 1024), np.uint8)
        pixels[np.arange(count), 2 - labels] += 150
        values = {
            "data": pixels.reshape(count, 3072),
            "labels": labels.tolist(),
            "filenames": [f"{batch}_{number}.png" for number in range(count)],
        }
        files[f"cifar-10-batches-py/{batch}"] = pickle.dumps(values, 2)
    return write_files(root, files)


def tfrecords(root: Path) -> Path:
    """Write TFRecords with an encoded image and a class in each record."""
    records: dict[str, bytes] = {}
    for split, name, file, data in _images(("train", "validation", "test")):
        values: dict[str, bytes | int] = {
            features.ENCODED: data, features.FILENAME: file.encode(),
            features.LABEL: CLASSES.index(name), features.LABEL_TEXT: name.encode(),
        }  # fmt: skip
        path = f"{split}-00000-of-00001"
        records[path] = records.get(path, b"") + frame_record(serialize_example(values))
    return write_files(root, records)


def parquet(root: Path) -> Path:
    """Write Parquet files with the images in them, as Hugging Face keeps data sets."""
    import pyarrow
    import pyarrow.parquet

    (root / "data").mkdir(parents=True)
    for split in ("train", "validation", "test"):
        rows = [
            {"image": {"bytes": data, "path": file}, "label": CLASSES.index(name)}
            for one, name, file, data in _images(("train", "validation", "test"))
            if one == split
        ]
        table = pyarrow.Table.from_pylist(rows)
        label = {"names": list(CLASSES), "_type": "ClassLabel"}
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        pyarrow.parquet.write_table(table, root / "data" / f"{split}-00000-of-00001.parquet")
    return root


def voc(root: Path) -> Path:
    """Write the folders of the Pascal VOC challenges, with lists of splits."""
    files: Files = {}
    lists: dict[str, str] = {}
    for split, file, data, boxes in _with_boxes(("train", "val", "test")):
        stem = file.removesuffix(".jpg")
        files[f"VOC2012/JPEGImages/{file}"] = data
        files[f"VOC2012/Annotations/{stem}.xml"] = make_xml(
            *boxes, size=(_BOXES_PX, _BOXES_PX), filename=file
        )
        lists[split] = lists.get(split, "") + f"{stem}\n"
    files |= {f"VOC2012/ImageSets/Main/{split}.txt": text for split, text in lists.items()}
    return write_files(root, files)


def coco(root: Path) -> Path:
    """Write COCO's folders of images and its JSON files."""
    files: Files = {}
    lists: dict[str, dict[str, list[Mapping[str, object]]]] = {}
    for split, file, data, boxes in _with_boxes(("train2017", "val2017", "test2017")):
        files[f"{split}/{file}"] = data
        listed = lists.setdefault(split, {"images": [], "annotations": []})
        listed["images"].append({"id": int(file[:4]), "file_name": file, "width": 96, "height": 96})
        for x, y, right, lower, name in boxes:
            listed["annotations"].append(
                {
                    "id": len(listed["annotations"]),
                    "image_id": int(file[:4]),
                    "category_id": 1 + CLASSES.index(name),
                    "bbox": [x, y, right - x, lower - y],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1 + at, "name": name} for at, name in enumerate(CLASSES)]
    for split, listed in lists.items():
        files[f"annotations/instances_{split}.json"] = json.dumps({**listed, "categories": categories})
    return write_files(root, files)


def yolo(root: Path) -> Path:
    """Write data.yaml, and images and labels of each split, as Roboflow exports them."""
    files: Files = {
        "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n"
        f"nc: {len(CLASSES)}\nnames: {json.dumps(CLASSES)}\n",
        "README.roboflow.txt": "Exported.\n",
    }
    for split, file, data, boxes in _with_boxes(("train", "valid", "test")):
        files[f"{split}/images/{file}"] = data
        files[f"{split}/labels/{file.removesuffix('.jpg')}.txt"] = "".join(
            f"{CLASSES.index(name)} {(x + right) / 2 / _BOXES_PX} {(y + lower) / 2 / _BOXES_PX} "
            f"{(right - x) / _BOXES_PX} {(lower - y) / _BOXES_PX}\n"
            for x, y, right, lower, name in boxes
        )
    return write_files(root, files)


def cvat(root: Path) -> Path:
    """Write the XML of CVAT's export "CVAT for images 1.1" and its images."""
    files: Files = {}
    shown = []
    for number, (_, file, data, boxes) in enumerate(_with_boxes(("all",))):
        files[f"images/{file}"] = data
        inside = "".join(
            f'<box label="{name}" source="manual" occluded="0" xtl="{x}" ytl="{y}" xbr="{right}" '
            f'ybr="{lower}" z_order="0"></box>'
            for x, y, right, lower, name in boxes
        )
        shown.append(
            f'<image id="{number}" name="{file}" width="{_BOXES_PX}" height="{_BOXES_PX}">{inside}</image>'
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
    files["annotations.xml"] = (
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{''.join(shown)}</annotations>"
    )
    return write_files(root, files)


def label_studio(root: Path) -> Path:
    """Write Label Studio's export JSON, whose boxes are percents, and the uploaded images."""
    files: Files = {}
    tasks = []
    for number, (_, file, data, boxes) in enumerate(_with_boxes(("all",))):
        files[f"images/0fe1ab23-{file}"] = data
        percents = [[100 * side / _BOXES_PX for side in box[:4]] for box in boxes]
        results = [
            {
                "type": "rectanglelabels", "from_name": "label", "to_name": "image",
                "original_width": _BOXES_PX, "original_height": _BOXES_PX,
                "value": {"x": x, "y": y, "width": right - x, "height": lower - y, "rotation": 0,
                          "rectanglelabels": [box[4]]},
            }
            for box, (x, y, right, lower) in zip(boxes, percents, strict=True)
        ]  # fmt: skip
        image = f"/data/upload/1/0fe1ab23-{file}"
        tasks.append(
            {"id": number, "data": {"image": image}, "annotations": [{"id": number, "result": results}]}
        )
    return write_files(root, {**files, "export.json": json.dumps(tasks)})


def labelme(root: Path) -> Path:
    """Write LabelMe's JSON next to each image."""
    files: Files = {}
    for _, file, data, boxes in _with_boxes(("all",)):
        shapes = [
            {"label": name, "points": [[x, y], [right, lower]], "shape_type": "rectangle", "flags": {}}
            for x, y, right, lower, name in boxes
        ]
        told: dict[str, object] = {
            "version": "5.2.1", "flags": {}, "shapes": shapes, "imagePath": file, "imageData": None,
            "imageHeight": _BOXES_PX, "imageWidth": _BOXES_PX,
        }  # fmt: skip
        files |= {file: data, f"{file.removesuffix('.jpg')}.json": json.dumps(told)}
    return write_files(root, files)


def retinanet_csv(root: Path) -> Path:
    """Write the CSV of keras-retinanet, a box per row without names of columns, its classes and images."""
    files: Files = {}
    rows = []
    for _, file, data, boxes in _with_boxes(("all",)):
        files[f"images/{file}"] = data
        rows += [f"images/{file},{x},{y},{right},{lower},{name}\n" for x, y, right, lower, name in boxes]
    return write_files(root, {**files, "annotations.csv": "".join(rows), "classes.csv": "blue,0\ngreen,1\n"})


_ALL = ("train", "eval", "test")
LAYOUTS: Mapping[str, Layout] = {
    "split folders": Layout("folder", split_folders, _ALL),
    "class folders": Layout("folder", class_folders),
    "Kaggle's CSV": Layout("csv", kaggle_csv),
    "one-hot CSV": Layout("csv", one_hot_csv, _ALL),
    "Vertex import file": Layout("csv", vertex_import, _ALL),
    "IDX": Layout("idx", idx, ("train", "test")),
    "CIFAR pickles": Layout("cifar", cifar, ("train", "test")),
    "TFRecords": Layout("tfrecord", tfrecords, _ALL),
    "Parquet": Layout("csv", parquet, _ALL),
    "Pascal VOC": Layout("voc", voc, _ALL, "detection"),
    "COCO": Layout("coco", coco, _ALL, "detection"),
    "YOLO": Layout("yolo", yolo, _ALL, "detection"),
    "CVAT": Layout("cvat", cvat, (), "detection"),
    "Label Studio": Layout("label_studio", label_studio, (), "detection"),
    "LabelMe": Layout("labelme", labelme, (), "detection"),
    "keras-retinanet's CSV": Layout("csv", retinanet_csv, (), "detection"),
}
