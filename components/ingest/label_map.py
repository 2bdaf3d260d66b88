"""Label maps: which number each class of boxes has.

The Object Detection API's text form of StringIntLabelMap, usually a file `label_map.pbtxt`:

    item { id: 1 name: 'n02123045' display_name: 'cat' }

https://github.com/tensorflow/models/blob/master/research/object_detection/protos/string_int_label_map.proto
A class is called by its display name where it has one; in the data it may be called by either. A .txt or
.names file is a list of classes instead, one a line, numbered from 1.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.base.errors import DataRefusedError, UsageError
from components.base.words import format_some
from components.ingest.files import label_of, label_problem
from components.ingest.truth import Boxes

SUFFIX = ".pbtxt"
_LIST_SUFFIXES = (".txt", ".names")
# Open Images has 600 classes, in 60 KB.
_MAX_BYTES = 16 << 20
_MESSAGES = {
    "Item": (
        ("name", 1, "string"),
        ("id", 2, "int32"),
        ("display_name", 3, "string"),
        ("frequency", 4, "string"),
        ("instance_count", 5, "int32"),
        ("ancestor_ids", 11, "*int32"),
        ("descendant_ids", 12, "*int32"),
        ("keypoints", 13, "*Keypoint"),
    ),
    "Keypoint": (("id", 1, "int32"), ("label", 2, "string")),
    "StringIntLabelMap": (("item", 1, "*Item"),),
}


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The classes of boxes, numbered by a file.

    Attributes:
        file: Where they were read.
        names: Classes by the number that the file gives them, in the order of numbers.
        by_text: Classes by each text that may stand for them.
    """

    file: Path
    names: dict[int, str]
    by_text: dict[str, str]

    def class_names(self) -> list[str]:
        """Return all classes, in the order of their numbers; in records they are 1, 2 and so on."""
        return list(self.names.values())

    def named(self, text: str, where: str) -> str:
        """Return the class that a text stands for.

        Raises:
            DataRefusedError: The map does not have it.
        """
        if text not in self.by_text:
            raise DataRefusedError(
                f"{where}: the class {text!r} is not in the label map {self.file}: it has "
                f"{format_some(self.by_text, 10)}. Add it there, or correct the annotation"
            )
        return self.by_text[text]

    def apply(self, annotation: Boxes, where: str) -> Boxes:
        """Return the boxes with their classes called as in the map.

        Raises:
            DataRefusedError: The map does not have a class.
        """
        boxes = (dataclasses.replace(box, label=self.named(box.label, where)) for box in annotation.boxes)
        return dataclasses.replace(annotation, boxes=tuple(boxes))

    def numbered(self, number: int, where: str) -> str:
        """Return the class of a number.

        Raises:
            DataRefusedError: The map does not have it.
        """
        if number not in self.names:
            raise DataRefusedError(
                f"{where}: the class {number} is not in the label map {self.file}: it has "
                f"{format_some(self.names, 10)}. Is it the label map of this data?"
            )
        return self.names[number]


def read_label_map(file: Path) -> LabelMap:
    """Read a label map.

    Raises:
        UsageError: The file is something else; with the line if there is one.
    """
    if file.suffix.lower() in _LIST_SUFFIXES:
        listed = read_class_list(file)
        return LabelMap(file, dict(enumerate(listed, start=1)), {name: name for name in listed})
    from google.protobuf import text_format

    how = "Expected items like: item { id: 1 name: 'cat' }"
    try:
        parsed = text_format.Parse(_text(file, how), _message_class()())
    except text_format.ParseError as error:
        line = error.GetLine()
        where = f", line {line}" if line else ""
        # The parser says the line before it says what is wrong.
        what = re.sub(r"^\d+:\d+ : ", "", str(error)).rstrip(".")
        if "codec" in what:
            what = "a backslash in quotes that stands for nothing"
        raise UsageError(f"label map {file}{where}: {what}. {how}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"label map {file}: its text has what no label map has ({error}). {how}") from error
    names: dict[int, str] = {}
    by_text: dict[str, str] = {}
    for at, item in enumerate(parsed.item, start=1):
        where = f"label map {file}, item {at}"
        name, shown = label_of(item.name), label_of(item.display_name)
        if not (name or shown) or not item.HasField("id"):
            raise UsageError(f"{where}: it has no {'id' if name or shown else 'name'}. {how}")
        if item.id < 1:
            raise UsageError(f"{where} ({shown or name}): its id is {item.id}; 0 is the background. {how}")
        if item.id in names:
            raise UsageError(f"{where} ({shown or name}): the id {item.id} is {names[item.id]!r} already")
        names[item.id] = shown or name
        for text in sorted({name, shown} - {""}):
            if text in by_text:
                raise UsageError(f"{where}: {text!r} stands for two classes")
            by_text[text] = shown or name
    if not names:
        raise UsageError(f"label map {file}: it has no items. {how}")
    return LabelMap(file, dict(sorted(names.items())), by_text)


def read_class_list(file: Path) -> list[str]:
    """Return the classes of a file that has one in each line; empty lines count for nothing.

    Raises:
        UsageError: It cannot be read, is empty, or has a name twice or one that cannot be used.
    """
    how = "Expected the name of a class in each line"
    names: dict[str, int] = {}
    for at, line in enumerate(_text(file, how).splitlines(), start=1):
        if name := label_of(line):
            if problem := label_problem(name):
                raise UsageError(f"list of classes {file}, line {at}: {problem}")
            if name in names:
                raise UsageError(
                    f"list of classes {file}, line {at}: {name!r} is in line {names[name]} already. {how}"
                )
            names[name] = at
    if not names:
        raise UsageError(f"list of classes {file}: it is empty. {how}")
    return list(names)


def _text(file: Path, how: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UsageError(f"{file}: larger than {_MAX_BYTES >> 20} MiB, as no list of classes is. {how}")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}. {how}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: cannot be read: not UTF-8. {how}") from error


def find_label_map(given: Path | None, root: Path, paths: Iterable[str]) -> LabelMap | None:
    """Return the label map that was given, else the only .pbtxt file among the paths below root, else None.

    Raises:
        UsageError: It cannot be read, or there are several.
    """
    if given is not None:
        return read_label_map(given)
    beside = [root / path for path in paths if path.lower().endswith(SUFFIX)]
    if len(beside) > 1:
        raise UsageError(
            f"{root}: {len(beside)} label maps in it ({', '.join(path.name for path in beside[:3])}): say "
            "which one it is, by data.label_map in a recipe, --label-map of mirante ingest"
        )
    return read_label_map(beside[0]) if beside else None


@functools.cache
def _message_class() -> Any:
    """StringIntLabelMap, in a descriptor pool of its own: only the text form is read, by names."""
    from components.base.messages import make_messages

    return make_messages("mirante", _MESSAGES, syntax="proto2")["StringIntLabelMap"]
