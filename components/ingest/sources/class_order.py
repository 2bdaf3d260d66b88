"""The order of classes by a list of names that tools leave next to the annotations.

    predefined_classes.txt      labelImg
    classes.txt, labels.txt     LabelMe and others, a name in each line
    labelmap.txt                CVAT's export of Pascal VOC: name:red,green,blue:parts:actions

A list may hold names that no box has, such as the ones that labelImg brings, so it gives the order alone. A
label map that the user gives counts instead.
"""

import os
from collections.abc import Collection
from pathlib import Path

from components.base.errors import UsageError
from components.base.printable import printable
from components.base.words import format_some
from components.ingest.files import label_of, label_problem
from components.ingest.label_map import read_class_list
from components.ingest.sources.context import SourceContext

_LABEL_MAP = "labelmap.txt"
_NAMES = ("predefined_classes.txt", "classes.txt", "labels.txt", _LABEL_MAP)


def order_by_list(context: SourceContext, used: Collection[str]) -> None:
    """Say the order of the classes in use, if a list in INPUT has one of them; else change nothing.

    The list counts as used then.
    """
    used = {name for name in used if not label_problem(name)}
    lists: dict[str, list[str]] = {}
    for entry in context.index.files:
        name = entry.path.rpartition("/")[2].lower()
        if name in _NAMES and not entry.problem:
            try:
                listed = _read(context.root / os.fsdecode(entry.raw), name)
            except UsageError as error:
                context.index.warn(f"{printable(str(error))}: the classes are not in its order.")
                continue
            if not set(listed).isdisjoint(used):
                lists[entry.path] = [one for one in listed if one in used]
    if len({tuple(listed) for listed in lists.values()}) > 1:
        context.index.warn(
            f"{format_some(map(printable, lists), 3)} have the classes in different orders: they are sorted "
            "by name; --label-map (data.label_map in a recipe) says which list counts."
        )
    elif lists:
        path, listed = next(iter(lists.items()))
        context.index.use(path)
        others = sorted(used - set(listed))
        if others:
            names = format_some(map(printable, others), 5)
            context.index.warn(f"{printable(path)} does not list {names}: they follow its classes.")
        context.index.set_class_names([*listed, *others])


def _read(file: Path, name: str) -> list[str]:
    if name != _LABEL_MAP:
        return read_class_list(file)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"list of classes {file}: cannot be read") from error
    return list(dict.fromkeys(label_of(line.partition(":")[0]) for line in lines if not line.startswith("#")))
