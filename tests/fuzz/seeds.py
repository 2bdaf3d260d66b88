"""The readers, each a row: a sound input, how it is changed, and how it is read.

Another reader is a row in TARGETS: the files of a small sound input, how a random generator changes them, and
a function that reads the folder they are written to. `of_source` makes it for a source of `mirante ingest`.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from random import Random

import h5py
import numpy as np
import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq

from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from components.models.config import ModelConfig
from components.models.weights_file import check_weights
from tests.fuzz.annotations import odd_features, odd_values
from tests.fuzz.mutate import TOKENS, change
from tests.fuzz.target import Files, Target, any_file, image, of_source, only
from tests.make.dicom import make_dicom
from tests.make.folders import encode_idx

pillow_heif.register_heif_opener()  # to write HEIC

PNG = image("PNG")
_CLASSES = {
    "a/1.png": PNG,
    "a/2.jpg": image("JPEG"),
    "b/3.png": image("PNG", "L"),
    "b/4.gif": image("GIF", "P"),
}


def _zip(method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for path, data in _CLASSES.items():
            file.writestr(zipfile.ZipInfo(path), data, method)
    return out.getvalue()


def _tar(mode: str, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as file:  # type: ignore[call-overload]
        for path, data in {**_CLASSES, f"b/{'long' * 40}\u00e9.png": PNG}.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _packed_tar(random: Random, files: Files) -> Files:
    """Changes the archive, or what is packed in it."""
    data = files["in.tar.gz"]
    if random.random() < 0.3:
        return {"in.tar.gz": change(random, data)}
    return {"in.tar.gz": gzip.compress(change(random, gzip.decompress(data)), 1)}


def _idx() -> Files:
    pixels = bytes(range(4 * 6))
    return {
        f"{part}-{what}-ubyte": data
        for part in ("train", "t10k")
        for what, data in (
            ("images-idx3", encode_idx(4, 2, 3, data=pixels)),
            ("labels-idx1", encode_idx(4, data=bytes([0, 1, 2, 1]))),
        )
    }  # fmt: skip


def _packed_idx(random: Random, files: Files) -> Files:
    path = random.choice(sorted(files))
    data = gzip.decompress(files[path])
    packed = gzip.compress(change(random, data, head_bytes=20), 1)
    return {**files, path: packed if random.random() < 0.7 else change(random, packed)}


def _cifar() -> Files:
    pixels = np.zeros((3, 3072), np.uint8)
    batch = {b"data": pixels, b"labels": [0, 1, 1], b"filenames": [b"a.png", b"b.png", b"c.png"]}
    files = {f"data_batch_{protocol}": pickle.dumps(batch, protocol) for protocol in (0, 1, 2, 4)}
    files["batches.meta"] = pickle.dumps({b"label_names": [b"cat", b"dog"]}, 2)
    return files


_CSV = 'filename,label,split\na/1.png,cat,train\na/2.jpg,dog,test\n3.png,"Cat, black",\nb/4.gif,dog,eval\n'
_CSV_BOXES = (
    "filename,width,height,class,xmin,ymin,xmax,ymax\n3.png,9,7,cat,1,1,5,5\na/1.png,9,7,dog,0,0,3,3\n"
)


def _parquet() -> bytes:
    out = io.BytesIO()
    images = [{"bytes": PNG, "path": f"{at}.png"} for at in range(3)]
    pq.write_table(pa.table({"image": images, "label": ["cat", "dog", "cat"], "n": [1, 2, 3]}), out)
    return out.getvalue()


def _odd_rows(random: Random, files: Files) -> Files:
    """Changes the list, or makes one of odd cells."""
    if random.random() < 0.5:
        return only("list.csv", text=True)(random, files)
    header, *rows = files["list.csv"].decode().splitlines()
    cells = [*TOKENS, *(cell for row in rows for cell in row.split(","))]
    lines = [
        header,
        *(",".join(random.choices(cells, k=random.randrange(1, 6))) for _ in range(random.randrange(8))),
    ]
    end = random.choice(("\n", "\r\n", "\r", "\n\n"))
    return {**files, "list.csv": end.join(lines).encode("utf-8", "replace")}


def _odd_names(random: Random, files: Files) -> Files:
    """Class folders and files of odd names, some with a line break, some that are no UTF-8."""
    parts = [token.replace("/", "").replace("\0", "")[:80] for token in TOKENS]
    parts = [part for part in parts if part not in ("", ".", "..")]
    names = [
        *parts,
        "train",
        "test",
        "a",
        "b",
        "fold1",
        "@eaDir",
        "Thumbs.db",
        "README",
        "x.txt",
        "x\udcff",
        ".x",
    ]
    made: Files = {}
    for _ in range(random.randrange(1, 9)):
        folders = random.choices(names, k=random.randrange(0, 4))
        path = "/".join([*folders, random.choice([*names, "1.png", "2.png"])])
        above = ["/".join(path.split("/")[:at]) for at in range(1, len(path.split("/")))]
        if (
            path not in made
            and not any(one in made for one in above)
            and not any(one.startswith(f"{path}/") for one in made)
        ):
            made[path] = random.choice((PNG, PNG, b"", b"note", change(random, PNG)))
    return made


_VOC = (
    b"<annotation><filename>1.png</filename><size><width>9</width><height>7</height><depth>3</depth></size>"
    b"<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>"
    b"<difficult>0</difficult></object></annotation>"
)
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_MAP = b"item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n  name: \"dog\"\n  display_name: 'Dog'\n}\n"
_COCO = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": 9, "height": 7} for n in (1, 2)],
    "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 4], "iscrowd": 0, "area": 16},
        {"id": 2, "image_id": 2, "category_id": 7, "bbox": [0.5, 1, 4, 4], "iscrowd": 1,
         "segmentation": [[1, 1, 5, 1, 5, 5]]},
    ],
}  # fmt: skip


_CVAT = (
    b"<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    b"<image id='0' name='1.png' subset='train' width='9' height='7'>"
    b"<box label='cat' xtl='1' ytl='1' xbr='5' ybr='6' rotation='0'/>"
    b"<polygon label='cat' points='1,1;5,1;5,6'/><ellipse label='cat' cx='4' cy='4' rx='2' ry='3'/>"
    b"<mask label='cat' left='1' top='1' width='4' height='5'/></image></annotations>"
)


_LABELME = {
    "flags": {}, "imagePath": "1.png", "imageData": None, "imageHeight": 7, "imageWidth": 9,
    "shapes": [
        {"label": "cat", "points": [[1, 1], [5, 5]], "shape_type": "rectangle", "group_id": None},
        {"label": "cat", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon", "group_id": 1},
        {"label": "dog", "points": [[4, 4], [5, 6]], "shape_type": "circle", "group_id": 1},
    ],
}  # fmt: skip
_LABELME_FILES = {
    "1.png": PNG,
    "1.json": json.dumps(_LABELME).encode(),
    "2.json": json.dumps({**_LABELME, "imageData": base64.b64encode(PNG).decode()}).encode(),
}


_REGION = {"x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}
_SIZED = {"original_width": 9, "original_height": 7}
_LABEL_STUDIO = [
    {
        "id": n, "data": {"image": f"/data/upload/3/0123abcd-{n}.png"}, "annotations": [{"id": n, "result": [
            {"value": _REGION, "id": "a", "type": "rectanglelabels", "image_rotation": 0, **_SIZED},
            {"value": {**_REGION, "rotation": 30}, "id": "b", **_SIZED},
            {"value": {"points": [[1, 1], [50, 1], [50, 50]], "polygonlabels": ["dog"]}, "id": "c"},
        ]}],
    }
    for n in (1, 2)
]  # fmt: skip
_LABEL_STUDIO_MIN = [
    {"image": f"{n}.png", "id": n, "label": [{**_REGION, **_SIZED}], "choice": "cat", "annotator": 1}
    for n in (1, 2)
]


def _label_studio(tasks: object) -> Files:
    return {"1.png": PNG, "2.png": image("PNG", "L"), "list.json": json.dumps(tasks, indent=1).encode()}


def _records() -> bytes:
    common = {"image/encoded": PNG, "image/filename": b"1.png", "image/format": b"png"}
    boxes = {f"image/object/bbox/{side}": [0.1 + at / 10] for at, side in enumerate(_SIDES)}
    return b"".join(
        frame_record(serialize_example({**common, **values}))
        for values in (
            {"image/class/label": 1, "image/class/text": b"cat"},
            {**boxes, "image/object/class/text": [b"cat"], "image/object/class/label": [1]},
        )
    )


def _box_records() -> bytes:
    box = {f"image/object/bbox/{side}": [at] for side, at in zip(_SIDES, (0.1, 0.1, 0.5, 0.6), strict=True)}
    flags = ("difficult", "truncated", "is_crowd", "group_of")
    values = {
        "image/encoded": PNG,
        "image/filename": b"1.png",
        "image/height": 7,
        "image/width": 9,
        **box,
        "image/object/class/text": [b"cat"],
        "image/object/class/label": [1],
        **{f"image/object/{flag}": [0] for flag in flags},
    }
    return b"".join(
        frame_record(serialize_example(one)) for one in (values, {**values, "image/filename": b"2.png"})
    )


def _framed(random: Random, files: Files) -> Files:
    """Changes a record and gives it right checksums, or the file as it is."""
    path, data = next(iter(files.items()))
    if random.random() < 0.3:
        return {path: change(random, data)}
    length = int.from_bytes(data[:8], "little")
    return {path: frame_record(change(random, data[12 : 12 + length])) + data[12 + length + 4 :]}


def _recipe(folder: Path, output: Path) -> None:
    from pipeline.recipe.load import load_recipe

    load_recipe(str(folder / "mine.yaml"), (), None)


_IMAGES = {
    "a/1.png": PNG, "a/2.jpg": image("JPEG"), "a/3.jpg": image("JPEG", "CMYK"), "a/4.gif": image("GIF", "P"),
    "a/5.bmp": image("BMP"), "a/6.webp": image("WEBP"), "a/7.tif": image("TIFF"), "a/8.ppm": image("PPM"),
    "a/9.png": image("PNG", "P"), "a/10.tif": image("TIFF", compression="tiff_lzw"),
    "a/11.jpg": image("JPEG", progressive=True), "a/12.png": image("PNG", "RGBA"), "a/13.avif": image("AVIF"),
    "a/14.heic": image("HEIF"), "a/15.jp2": image("JPEG2000"),
    "a/16.j2k": image("JPEG2000", no_jp2=True, tile_size=(4, 4)),
    "a/17.dcm": make_dicom(np.arange(63, dtype=np.uint16).reshape(7, 9), WindowCenter=30, WindowWidth=40),
}  # fmt: skip


def _one_image(random: Random, files: Files) -> Files:
    path = random.choice(sorted(files))
    head_bytes = random.choice((64, 200, None))
    return {"b/sound.png": PNG, path: change(random, files[path], head_bytes=head_bytes)}


def _weights() -> bytes:
    """Return an HDF5 file with the layer that a MobileNetV2 of width 1.0 is known by."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("block_16_project/block_16_project/kernel:0", data=np.zeros((1, 1, 8, 320), "f4"))
    return buffer.getvalue()


def _check_weights(folder: Path, output: Path) -> None:
    check_weights(ModelConfig(name="mobilenet_v2", weights=str(folder / "w.h5")))


TARGETS: dict[str, Target] = {
    "idx": Target(_idx(), of_source("idx"), any_file),
    "idx.gz": Target(
        {f"{path}.gz": gzip.compress(data) for path, data in _idx().items()}, of_source("idx"), _packed_idx
    ),
    "cifar": Target(_cifar(), of_source("cifar"), any_file),
    "csv": Target(
        {**_CLASSES, "3.png": PNG, "list.csv": _CSV.encode()}, of_source("csv", "list.csv"), _odd_rows
    ),
    "folder": Target({}, of_source("folder"), _odd_names),
    "images": Target(_IMAGES, of_source("folder"), _one_image),
    "zip": Target({"in.zip": _zip(zipfile.ZIP_DEFLATED)}, of_source("folder", "in.zip"), any_file),
    "zip stored": Target({"in.zip": _zip(zipfile.ZIP_STORED)}, of_source("folder", "in.zip"), any_file),
    "tar": Target({"in.tar": _tar("w")}, of_source("folder", "in.tar"), any_file),
    "tar gnu": Target({"in.tar": _tar("w", tarfile.GNU_FORMAT)}, of_source("folder", "in.tar"), any_file),
    "tar.gz": Target({"in.tar.gz": _tar("w:gz")}, of_source("folder", "in.tar.gz"), _packed_tar),
    "label map": Target(
        {"1.png": PNG, "1.xml": _VOC, "map.pbtxt": _MAP}, of_source("voc", label_map="map.pbtxt"),
        only("map.pbtxt", text=True),
    ),
    "voc": Target({"1.png": PNG, "1.xml": _VOC}, of_source("voc"), only("1.xml", text=True)),
    "coco": Target(
        {"1.png": PNG, "2.png": image("PNG", "L"), "list.json": json.dumps(_COCO, indent=1).encode()},
        of_source("coco", "list.json"), only("list.json", text=True),
    ),
    "csv boxes": Target(
        {**_CLASSES, "3.png": PNG, "list.csv": _CSV_BOXES.encode()}, of_source("csv", "list.csv"), _odd_rows
    ),
    "cvat": Target(
        {"1.png": PNG, "annotations.xml": _CVAT}, of_source("cvat"), only("annotations.xml", text=True)
    ),
    "label_studio": Target(
        _label_studio(_LABEL_STUDIO), of_source("label_studio"), only("list.json", text=True)
    ),
    "label_studio values": Target(_label_studio(_LABEL_STUDIO), of_source("label_studio"), odd_values),
    "label_studio min": Target(_label_studio(_LABEL_STUDIO_MIN), of_source("label_studio"), odd_values),
    "labelme": Target(_LABELME_FILES, of_source("labelme"), only("1.json", "2.json", text=True)),
    "labelme values": Target(_LABELME_FILES, of_source("labelme"), odd_values),
    "yolo": Target(
        {
            "data.yaml": b"train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n",
            "images/train/1.png": PNG,
            "images/val/2.png": PNG,
            "labels/train/1.txt": b"0 0.5 0.5 0.4 0.4\n1 0.2 0.2 0.1 0.1\n",
            "labels/val/2.txt": b"1 0.5 0.5 0.4 0.4\n",
        },
        of_source("yolo"),
        only("data.yaml", "labels/train/1.txt", text=True),
    ),
    "tfrecord": Target({"train.tfrecord": _records()}, of_source("tfrecord"), _framed),
    "weights": Target({"w.h5": _weights()}, _check_weights, any_file),
    "tfrecord boxes": Target({"train.tfrecord": _box_records()}, of_source("tfrecord"), odd_features),
    "coco values": Target(
        {"1.png": PNG, "2.png": image("PNG", "L"), "list.json": json.dumps(_COCO).encode()},
        of_source("coco", "list.json"), odd_values,
    ),
    "csv of Vertex": Target(
        {**_CLASSES, "3.png": PNG, "list.csv": b"training,gs://b/3.png,cat,.1,.1,,,.5,.5,,\ngs://b/a/1.png,,\n"},
        of_source("csv", "list.csv"), only("list.csv", text=True),
    ),
    "csv one-hot": Target(
        {**_CLASSES, "l.csv": b"filename, cat, dog\na/1.png, 1, 0\na/2.jpg, 0, 1\nb/3, 0, 1\n"},
        of_source("csv"), only("l.csv", text=True),
    ),
    "json lines": Target(
        {
            **_CLASSES,
            "list.jsonl": b'{"file_name": "a/1.png", "label": "cat"}\n{"file_name": "2", "label": ["dog"]}\n',
        },
        of_source("csv", "list.jsonl"), only("list.jsonl", text=True),
    ),
    "parquet": Target({"list.parquet": _parquet()}, of_source("csv"), any_file),
    "csv headerless": Target(
        {**_CLASSES, "3.png": PNG, "list.csv": b"3.png,1,1,5,5,cat\na/1.png,,,,,\nb/3.png,0,0,3,3,dog\n"},
        of_source("csv", "list.csv"), only("list.csv", text=True),
    ),
    "yolo lists": Target(
        {
            "data.yaml": b"train: train.txt\nval: valid.txt\n", "train.txt": b"data/1.png\n",
            "valid.txt": b"data/2.png\n", "classes.txt": b"cat\ndog\n", "data/1.png": PNG, "data/2.png": PNG,
            "data/1.txt": b"0 0.5 0.5 0.4 0.4\n", "data/2.txt": b"1 0.1 0.1 0.4 0.1 0.4 0.4\n",
        },
        of_source("yolo"), only("data.yaml", "train.txt", "classes.txt", "data/2.txt", text=True),
    ),
}  # fmt: skip


def recipe_target() -> Target:
    """The reader of recipes; made when it is wanted, since it loads what checks them."""
    from pipeline.recipe.load import RECIPES

    text = (RECIPES / "digits.yaml").read_bytes()
    return Target({"mine.yaml": text}, _recipe, only("mine.yaml", text=True))
