"""What a YOLO data set says of itself: `data.yaml`, or a list of its classes.

https://docs.ultralytics.com/datasets/detect/#ultralytics-yolo-format

The YAML is read as text throughout, so that a class may be called `no` or `1.0`, and nothing in it is run or
built.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from components.base.errors import DataRefusedError, UsageError
from components.ingest.files import FileEntry, label_of
from components.ingest.label_map import read_class_list
from components.ingest.sources.context import SourceContext
from components.ingest.values import brief, whole, words

SUFFIXES = (".yaml", ".yml")
# Lists of classes that tools write next to the labels, by their names.
CLASS_LISTS = ("classes.txt", "obj.names", "classes.names", "darknet.labels")
_SPLIT_KEYS = ("train", "val", "test")
_DARKNET, _DARKNET_LIST = ".data", ".txt"
_MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class YoloConfig:
    """The description of a data set.

    Attributes:
        names: Class by its number; None where nothing says.
        splits: What each of train, val and test names, by the keys of the file: folders, or lists of images.
        folder: Where the file that says so is, relative to the input: "" or "name/".
        path: What its paths count from, as the file has it.
        files: The files that were read, relative to the input.
        has_key_points: Whether key points follow each box.
    """

    names: dict[int, str] | None = None
    splits: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    folder: str = ""
    path: str = ""
    files: tuple[str, ...] = ()
    has_key_points: bool = False


def read_config(context: SourceContext) -> YoloConfig:
    """Return what the input's data.yaml says, else its list of classes, else nothing.

    Raises:
        UsageError: There are several, and nothing tells which one counts.
        DataRefusedError: One is damaged, or contradicts itself.
    """
    found = [(entry, read) for entry in _yaml_files(context) if (read := _read_yaml(context, entry))]
    if len(found) > 1:
        raise UsageError(
            f"{context.shown}: {len(found)} files that describe YOLO data ({_paths(found)}); give the one to "
            "read as INPUT"
        )
    config = darknet = _read_darknet(context)
    if found:
        entry, read = found[0]
        config = _checked(f"{context.shown}: {entry.path}", entry.path, read)
        config = dataclasses.replace(config, files=(*config.files, *darknet.files))
    return config if config.names is not None else _with_list(context, config)


def _read_darknet(context: SourceContext) -> YoloConfig:
    """Return the splits that Darknet's obj.data names, in lines such as `train = data/train.txt`."""
    for entry in context.index.files:
        if entry.path.lower().endswith(_DARKNET):
            lines = context.read_head(entry).decode("utf-8", "replace").splitlines()
            pairs = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
            if "classes" in pairs or "names" in pairs:
                splits = {
                    key: [value] for key, value in pairs.items() if value.lower().endswith(_DARKNET_LIST)
                }
                return YoloConfig(None, splits, entry.path[: entry.path.rfind("/") + 1], "", (entry.path,))
    return YoloConfig()


def _yaml_files(context: SourceContext) -> Iterator[FileEntry]:
    given = None
    if context.input_file is not None:
        given = context.input_file.relative_to(context.root).as_posix()
    for entry in context.index.files:
        if entry.path == given or (given is None and entry.path.lower().endswith(SUFFIXES)):
            yield entry


def _read_yaml(context: SourceContext, entry: FileEntry) -> dict[str, Any] | None:
    """Return the mapping of a YAML file; None if it is of something else."""
    import yaml

    where = f"{context.shown}: {entry.path}"
    try:
        with open(context.absolute(entry.raw), "rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise DataRefusedError(f"{where}: larger than 1 MiB, which no description of a data set is")
        # BaseLoader makes text, lists and mappings, and nothing else.
        read = yaml.load(content.decode("utf-8-sig"), yaml.BaseLoader)
    except OSError as error:
        raise DataRefusedError(f"{where}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataRefusedError(f"{where}: expected UTF-8, got other bytes; save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "expected YAML, got letters that YAML does not have"
        raise DataRefusedError(f"{where}{line}: {what}; correct the file") from error
    except RecursionError as error:
        raise DataRefusedError(f"{where}: lists in each other, deeper than can be read") from error
    is_ours = isinstance(read, dict) and any(key in read for key in ("names", "nc", *_SPLIT_KEYS))
    return read if is_ours or (context.input_file is not None and isinstance(read, dict)) else None


def _checked(where: str, path: str, read: dict[str, Any]) -> YoloConfig:
    names = _names(where, read.get("names"))
    try:
        count = whole(read["nc"]) if "nc" in read else None
    except ValueError as error:
        raise DataRefusedError(f"{where}: nc: {error}") from error
    if count is not None and names is not None and len(names) != count:
        raise DataRefusedError(f"{where}: nc: expected {len(names)}, as many as names has, got {count}")
    splits = {}
    for key in _SPLIT_KEYS:
        value = read.get(key)
        values = value if isinstance(value, list) else [value]
        try:
            splits[key] = [words(one) for one in values if one not in (None, "", "null", "~")]
        except ValueError as error:
            raise DataRefusedError(f"{where}: {key}: {error}") from error
    base = read.get("path") or ""
    return YoloConfig(
        names,
        {key: values for key, values in splits.items() if values},
        path[: path.rfind("/") + 1],
        base if isinstance(base, str) else "",
        (path,),
        "kpt_shape" in read,
    )


def _names(where: str, read: Any) -> dict[int, str] | None:
    """Classes by number, of a list or of a mapping."""
    if read in (None, ""):
        return None
    pairs = list(read.items()) if isinstance(read, dict) else list(enumerate(read))
    if isinstance(read, str):
        raise DataRefusedError(f"{where}: names: expected a list or a mapping, got {brief(read)}")
    names: dict[int, str] = {}
    for key, value in pairs:
        try:
            number, name = whole(key), label_of(words(value))
        except ValueError as error:
            raise DataRefusedError(f"{where}: names: {brief(key)}: {error}") from error
        if number < 0 or number in names or not name or name in names.values():
            raise DataRefusedError(
                f"{where}: names: expected another number from 0 on and another name for each class, got "
                f"{brief(key)}: {brief(name)}"
            )
        names[number] = name
    return names


def _with_list(context: SourceContext, config: YoloConfig) -> YoloConfig:
    lists = [e for e in context.index.files if e.path.rpartition("/")[2].lower() in CLASS_LISTS]
    read = {
        entry.path: read_class_list(context.root / os.fsdecode(entry.raw))
        for entry in lists
        if not entry.problem
    }
    if len(set(map(tuple, read.values()))) > 1:
        raise UsageError(
            f"{context.shown}: {len(read)} lists of classes that differ ({', '.join(list(read)[:3])}); say "
            "which one it is by --label-map (data.label_map in a recipe)"
        )
    names = dict(enumerate(next(iter(read.values())))) if read else None
    return dataclasses.replace(config, names=names, files=(*config.files, *read))


def _paths(found: list[tuple[FileEntry, dict[str, Any]]]) -> str:
    return ", ".join(entry.path for entry, _ in found[:3])
