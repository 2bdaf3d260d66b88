"""The order of class names, and what is odd about them."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from components.base.printable import printable
from components.base.words import format_count, format_part, format_some

_NAMES_SHOWN = 5
# A class name that is a number, of as many digits as a number has that somebody counted.
_DECIMAL = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_NUMBER = re.compile(r"\d+(\.0*)?$")
# What programs write where a value is missing.
_MISSING = ("nan", "null", "<na>", "n/a", "#n/a", "nat")


def sort_classes(names: Iterable[str]) -> list[str]:
    """Return class names in the order of their labels: by name, or by number where all are numbers."""
    names = sorted(names)
    if names and all(map(_DECIMAL.fullmatch, names)):
        return sorted(names, key=Decimal)
    return names


def about_names(class_names: Sequence[str]) -> list[str]:
    """Return a sentence for classes that may be one, that may be several, and that may be none."""
    found = []
    twins: dict[str, list[str]] = {}
    for class_name in class_names:
        twins.setdefault(_plain(class_name), []).append(class_name)
    for same in twins.values():
        if len(same) > 1:
            found.append(
                "Classes whose names differ only in upper and lower case, spaces, or how a number is "
                f"written: {_join(map(repr, same))}."
            )
    missing = [name for name in class_names if name.lower() in _MISSING or name == "None"]
    if missing:
        found.append(
            f"{format_count(missing, 'class name usually means', 'class names usually mean')} that a value "
            f"is missing: {_join(map(repr, missing))}. Leave such images out, or call the class otherwise."
        )
    numbers = [name for name in class_names if _DECIMAL.fullmatch(name)]
    if 0 < len(numbers) < len(class_names):
        others = [name for name in class_names if not _DECIMAL.fullmatch(name)]
        are = format_part(numbers, class_names, "class name is", "class names are")
        what = "a number" if len(numbers) == 1 else "numbers"
        are_not = "the other is not" if len(others) == 1 else "the others are not"
        found.append(
            f"{are} {what} ({_join(map(repr, numbers))}) and {are_not} ({_join(map(repr, others))}), so all "
            "are sorted by their letters."
        )
    several = _find_several(class_names)
    if several:
        made = format_count(several, "class name is", "class names are")
        found.append(
            f"{made} made of other classes' names ({_join(map(repr, several))}): are "
            "these several labels of one image? Each combination is a class of its own here; task: "
            "multilabel (--multilabel) reads them as several classes."
        )
    return found


def _find_several(class_names: Sequence[str]) -> list[str]:
    """Return the names that are made of others: of classes, or of parts that | or ; separates."""
    known = set(class_names)
    parts = {name: [part.strip() for part in re.split(r"[|;]", name) if part.strip()] for name in class_names}
    repeated = {part for part in known if len(parts[part]) == 1}
    seen: set[str] = set()
    for name in class_names:
        if len(parts[name]) > 1:
            repeated.update(seen.intersection(parts[name]))
            seen.update(parts[name])
    return [
        name
        for name in class_names
        if (len(words := _words(name)) > 1 and known.issuperset(words))
        or (len(parts[name]) > 1 and repeated.intersection(parts[name]))
    ]


def _plain(name: str) -> str:
    """Return a class name without what may be there by accident: 'Cat' and 'c at', or '1' and '1.0'."""
    plain = re.sub(r"[\s_]+", "", name.casefold())
    return re.sub(r"^0+(?=\d)", "", re.sub(r"\.0*$", "", plain)) if _NUMBER.match(plain) else plain


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\s,;|+&]+", name) if word]


def _join(names: Iterable[str]) -> str:
    return format_some(map(printable, names), _NAMES_SHOWN)
