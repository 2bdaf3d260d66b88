"""Class folders, with or without split folders around them.

    INPUT/cats/1.jpg                  class cats
    INPUT/cats/2019/june/1.jpg        class cats: folders below a class folder only sort its images
    INPUT/train/cats/1.jpg            class cats, split train

The folders directly in INPUT are splits if all of them have a split's name (train, test, validation, ...), or
if one that has holds folders itself; else they are classes. So a class may be called "train", next to "car"
and "plane". A single folder around it all, as archives often have one, is stepped into. Notes, lists and
other files that are no images by their names are left out.
"""

import collections
import dataclasses
from collections.abc import Iterator

from components.base.errors import DataRefusedError, UsageError
from components.base.printable import printable
from components.base.words import format_some
from components.ingest.files import IMAGE_ENDINGS, FileEntry, label_of
from components.ingest.item import Found, LeftOut, Reject
from components.ingest.left_out import no_image_reason
from components.ingest.sources.context import SourceContext
from components.ingest.sources.yolo import looks_like_yolo
from components.ingest.splits import NO_SPLIT
from components.ingest.truth import Label

_NAMES_SHOWN = 5


@dataclasses.dataclass
class _Top:
    """A folder directly in INPUT: the names of its own folders, and whether it holds images itself."""

    folders: set[str] = dataclasses.field(default_factory=set)
    holds_images: bool = False


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per file; files outside every class folder are rejects.

    Raises:
        UsageError: The data have the layout of YOLO.
        DataRefusedError: There are only split folders without class folders in them.
    """
    if looks_like_yolo(context.index):
        raise UsageError(
            f"{context.shown}: expected class folders, got the layout of YOLO (images/, and labels/ with a "
            "text for each image)"
        )
    wrapper, splits = _layout(context)
    files = 0
    spellings: dict[str, set[str]] = {}
    for entry in context.index.files:
        files += 1
        if reason := no_image_reason(entry.path.rpartition("/")[2]):
            yield LeftOut(entry.path, reason)
            continue
        if entry.problem:
            yield Reject(entry.path, entry.problem)
            continue
        *folders, _ = _parts(entry, wrapper) or [""]
        split = None
        if splits and folders:
            split = splits.get(folders.pop(0))
            if split is None:
                yield Reject(
                    entry.path, f"unlabelled: lies outside the split folders {', '.join(sorted(splits))}"
                )
                continue
        if not folders:
            yield Reject(entry.path, "unlabelled: lies outside every class folder")
            continue
        label = label_of(folders[0])
        spellings.setdefault(label, set()).add(folders[0])
        yield context.item(entry, Label(label), split)
    _warn_about_spellings(context, spellings)
    context.announce(files)


def fits(context: SourceContext) -> str | None:
    """Return the folders with images, where there are two or more that are classes; else None."""
    if looks_like_yolo(context.index):
        return None
    try:
        wrapper, splits = _layout(context)
    except DataRefusedError:
        return None
    classes: dict[str, None] = {}
    for entry in context.index.files:
        *folders, name = _parts(entry, wrapper) or [""]
        if splits and folders and folders.pop(0) not in splits:
            continue
        if folders and name.lower().endswith(IMAGE_ENDINGS):
            classes[folders[0]] = None
    if len(classes) < 2:
        return None
    within = f", in {_join(list(splits))}" if splits else ""
    return f"images are in {len(classes)} folders{within}: {_join(list(classes))}"


def _layout(context: SourceContext) -> tuple[str, dict[str, str]]:
    """Return the prefix of the folder that wraps all ("" or "name/"), and the split of each split folder."""
    wrapper = ""
    while True:
        tops: dict[str, _Top] = {}
        for entry in context.index.files:
            parts = _parts(entry, wrapper)
            if len(parts) > 1 and not no_image_reason(parts[-1]):
                top = tops.setdefault(parts[0], _Top())
                if len(parts) > 2:
                    top.folders.add(parts[1])
                else:
                    top.holds_images = True
        splits = {name: split for name in tops if (split := context.split_named(name)) is not None}
        if len(tops) == 1 and not splits and all(top.folders for top in tops.values()):
            wrapper += f"{next(iter(tops))}/"
        elif splits and not any(tops[name].folders for name in splits):
            if len(splits) < len(tops):
                return wrapper, {}
            raise _only_splits(context, splits)
        elif splits:
            return wrapper, splits
        else:
            _warn_about_folds(context, tops)
            return wrapper, {}


def _only_splits(context: SourceContext, splits: dict[str, str]) -> DataRefusedError:
    names = ", ".join(f"{name}={NO_SPLIT}" for name in splits)
    return DataRefusedError(
        f"{context.shown}: its folders {_join(splits)} are read as splits, and expected are class folders in "
        f"them; there are none. If they are classes, say so: --split-names {names.replace(' ', '')} (in a "
        f"recipe data.split_names: {{{names.replace('=', ': ')}}}). If they are splits, put the images of "
        "each class into a folder of its own, as in train/cats"
    )


def _warn_about_folds(context: SourceContext, tops: dict[str, _Top]) -> None:
    """Warn where the class folders hold the same folders, as folds, cameras or years of the data do."""
    if len(tops) < 2 or any(top.holds_images for top in tops.values()):
        return
    names = collections.Counter(name for top in tops.values() for name in top.folders)
    repeated = sorted(name for name, count in names.items() if count > 1)
    if len(repeated) < 2:
        return
    example = ",".join(f"{name}=train" for name in tops)
    context.index.warn(
        f"{_join(tops)} are read as the classes, and each holds the folders {_join(repeated)}, which then "
        f"only sort their images. If {_join(repeated)} are the classes, and {_join(tops)} parts of the data, "
        f"say which split each of them is: --split-names {example} (or =eval, =test). If {_join(tops)} are "
        "the classes, all is well."
    )


def _warn_about_spellings(context: SourceContext, spellings: dict[str, set[str]]) -> None:
    """Warn where several folders are one class, because spaces around a name do not count."""
    for label, names in sorted(spellings.items()):
        if len(names) > 1:
            context.index.warn(
                f"The folders {_join([repr(name) for name in sorted(names)])} are read as one class, "
                f"{printable(label)!r}: spaces around a name do not count."
            )


def _join(names: dict[str, str] | dict[str, _Top] | list[str]) -> str:
    return format_some(map(printable, names), _NAMES_SHOWN)


def _parts(entry: FileEntry, wrapper: str) -> list[str]:
    """Return the entry's folders and name below the wrapper; none if it lies outside."""
    return entry.path[len(wrapper) :].split("/") if entry.path.startswith(wrapper) else []
