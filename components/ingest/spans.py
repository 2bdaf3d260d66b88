"""Paths with TFX ExampleGen's placeholders: data that arrive a folder at a time, and the newest of them.

    photos/span-{SPAN}               span-1, span-2, ... span-10
    photos/{SPAN:3}                  001, 002, ... 010: always three digits
    photos/{YYYY}-{MM}-{DD}          2026-11-26, ...; the span is the number of days since 1970-01-01
    photos/{SPAN}/v{VERSION}         of the newest span the newest version

Where TFX's own driver gives an answer, this gives the same (tests/data/test_spans.py). It is needed before
that driver runs: raw data are ingested first. Imports no TensorFlow.
"""

import dataclasses
import datetime
import glob
import os
import re
from collections.abc import Callable, Iterator

from components.base.errors import UsageError
from components.base.words import format_some

_DATE = ("{YYYY}", "{MM}", "{DD}")
_NUMBER = re.compile(r"\{(SPAN|VERSION)(?::([^{}]*))?\}")
_PLACEHOLDER = re.compile(rf"{_NUMBER.pattern}|{'|'.join(map(re.escape, _DATE))}")
_EPOCH = datetime.date(1970, 1, 1)
_FEW = 5


@dataclasses.dataclass(frozen=True)
class Span:
    """One span of a path with placeholders.

    Attributes:
        base: The folder in which it was looked for, absolute; without a placeholder.
        pattern: What comes below `base`, with the placeholders.
        number: The span; of a date the days since 1970-01-01.
        version: None where the pattern has no {VERSION}.
        is_day: Whether it was named by a date.
        first: The first span of a window that ends with this one; None for one span.
    """

    base: str
    pattern: str
    number: int
    version: int | None = None
    is_day: bool = False
    first: int | None = None

    @property
    def path(self) -> str:
        """The path of this very span."""
        return os.path.join(self.base, _filled(self.pattern, self.number, self.version))

    def __str__(self) -> str:
        date = f" ({day_of(self.number)})" if self.is_day else ""
        if self.first is not None and self.first != self.number:
            since = f" ({day_of(self.first)})" if self.is_day else ""
            return f"spans {self.first}{since} to {self.number}{date}"
        return f"span {self.number}{date}" + ("" if self.version is None else f", version {self.version}")


def is_pattern(path: str | None) -> bool:
    """Return whether a path has a placeholder."""
    return path is not None and _PLACEHOLDER.search(path) is not None


def number_of_day(day: datetime.date) -> int:
    """Return the span of a date, as TFX counts."""
    return (day - _EPOCH).days


def day_of(number: int) -> datetime.date:
    """Return the inverse of `number_of_day`."""
    return _EPOCH + datetime.timedelta(number)


def check_pattern(path: str) -> None:
    """Look at the placeholders of a path, not at what is there.

    Raises:
        ValueError: They do not fit together, or a width is not a number.
    """
    names = [match[1] for match in _NUMBER.finditer(path)]
    dates = [path.count(name) for name in _DATE]
    for name, width in _NUMBER.findall(path):
        if names.count(name) > 1:
            raise ValueError(f"{path}: {{{name}}} is there more than once, and one is allowed")
        if width and not (width.isascii() and width.isdigit() and int(width)):
            raise ValueError(
                f"{path}: {{{name}:{width}}}: expected how many digits it has, such as {{{name}:3}}"
            )
    if "SPAN" in names and any(dates):
        raise ValueError(
            f"{path}: {{SPAN}} and a date cannot go together: take either {{SPAN}}, or {{YYYY}}, {{MM}} and "
            "{DD}"
        )
    if any(dates) and dates != [1, 1, 1]:
        raise ValueError(f"{path}: a date needs each of {{YYYY}}, {{MM}} and {{DD}} once")
    if "VERSION" in names and "SPAN" not in names and not any(dates):
        raise ValueError(f"{path}: {{VERSION}} is of a span: add {{SPAN}}, or {{YYYY}}, {{MM}} and {{DD}}")
    if re.search(r"\{(SPAN|VERSION)\}\{(SPAN|VERSION)\}", path):
        raise ValueError(f"{path}: nothing tells where one number ends: write a width, such as {{SPAN:3}}")


def find_span(path: str, wanted: int | None = None) -> Span:
    """Return the newest version of a path's newest span, or of the span that is wanted.

    Raises:
        UsageError: As for `find_window`.
    """
    return find_window(path, 1, wanted)[-1]


def find_window(path: str, count: int, wanted: int | None = None) -> list[Span]:
    """Return the newest versions of a path's newest spans, or of the span that is wanted and those before.

    There may be fewer. The oldest span comes first.

    What the path matches, hidden files and folders apart, must be written as the placeholders say: a folder
    `span-3.part` or `span-03` is not span 3 of `span-{SPAN}`. Passed over are files that do not fit, and
    folders without any digit where the number should be (`span-new`, `lost+found`).

    Raises:
        UsageError: Nothing matches, a folder does not fit, or there is no such span.
    """
    base, pattern = split_path(os.path.abspath(path))
    found = sorted(_found(base, pattern), key=lambda span: (span.number, span.version or 0))
    if not found:
        example = Span(base, pattern, number_of_day(datetime.date(2026, 1, 31)), 1)
        if _DATE[0] not in pattern:
            example = dataclasses.replace(example, number=1)
        raise UsageError(
            f"data.path: {path}: there is no such folder: expected names like {example.path}; "
            f"{_listed(base)}. Correct the path, or add the data"
        )
    newest = {span.number: span for span in found}
    known = list(newest)
    if wanted is not None and wanted not in newest:
        shown = ", ".join(map(str, known[-_FEW:]))
        raise UsageError(
            f"data.span: there is no span {wanted} of {path}; the newest of {len(known)}: {shown}. Give one "
            "of them, or leave data.span out for the newest"
        )
    last = known[-1] if wanted is None else wanted
    return [newest[number] for number in known if number <= last][-count:]


def list_places(path: str) -> list[str]:
    """Return what is at a path with placeholders: its spans, and the folders that `find_window` refuses."""
    base, pattern = split_path(os.path.abspath(path))
    return [place for place, below in _matched(base, pattern) if _has_digit(pattern, below)]


def split_path(path: str) -> tuple[str, str]:
    """Return the folders before the first placeholder of a path, and the rest."""
    parts = path.split("/")
    first = next(at for at, part in enumerate(parts) if _PLACEHOLDER.search(part))
    return "/".join(parts[:first]) or "/", "/".join(parts[first:])


def _found(base: str, pattern: str) -> Iterator[Span]:
    regex = re.compile(_replaced(pattern, re.escape, _regex_of))
    for path, below in _matched(base, pattern):
        match = regex.fullmatch(below)
        span = None if match is None else _span_of(base, pattern, match.groupdict())
        if span is not None:
            yield span
        elif os.path.isdir(path) and _has_digit(pattern, below):
            raise UsageError(
                f"{path} is no span of {os.path.join(base, pattern)}: expected {_described(pattern)}. Rename "
                "it, or move it elsewhere; what is still being written begins with a dot until it is complete"
            )


def _matched(base: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the paths that fit a pattern with anything for its placeholders, also relative to the base."""
    any_name = _replaced(pattern, glob.escape, lambda match: "*")
    for path in glob.iglob(os.path.join(glob.escape(base), any_name)):
        yield path, os.path.relpath(path, base)


def _has_digit(pattern: str, below: str) -> bool:
    """Return whether a path has a digit where a pattern has a placeholder."""
    match = re.fullmatch(_replaced(pattern, re.escape, lambda match: "(.*)"), below)
    return match is not None and any(re.search(r"\d", part) for part in match.groups())


def _replaced(
    pattern: str, literal: Callable[[str], str], placeholder: Callable[[re.Match[str]], str]
) -> str:
    made, end = "", 0
    for match in _PLACEHOLDER.finditer(pattern):
        made += literal(pattern[end : match.start()]) + placeholder(match)
        end = match.end()
    return made + literal(pattern[end:])


def _regex_of(match: re.Match[str]) -> str:
    if match[1] is None:
        name = match[0].strip("{}")
        return f"(?P<{name}>[0-9]{{{len(name)}}})"
    return f"(?P<{match[1]}>{f'[0-9]{{{int(match[2])}}}' if match[2] else '0|[1-9][0-9]*'})"


def _span_of(base: str, pattern: str, read: dict[str, str]) -> Span | None:
    version = int(read["VERSION"]) if "VERSION" in read else None
    if "SPAN" in read:
        return Span(base, pattern, int(read["SPAN"]), version)
    try:
        day = datetime.date(int(read["YYYY"]), int(read["MM"]), int(read["DD"]))
    except ValueError:
        return None
    return Span(base, pattern, number_of_day(day), version, is_day=True)


def _filled(pattern: str, number: int, version: int | None) -> str:
    day = day_of(number) if _DATE[0] in pattern else _EPOCH
    dates = {"{YYYY}": f"{day.year:04}", "{MM}": f"{day.month:02}", "{DD}": f"{day.day:02}"}

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return dates[match[0]]
        return str(number if match[1] == "SPAN" else version).zfill(int(match[2] or 0))

    return _replaced(pattern, str, value)


def _described(pattern: str) -> str:
    said = ["a date" if _DATE[0] in pattern else ""]
    for name, width in _NUMBER.findall(pattern):
        digits = f" of {int(width)} digits" if width else " without leading zeros"
        said.append(f"a number{digits} for {{{name}}}")
    return " and ".join(filter(None, said))


def _listed(folder: str) -> str:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return f"there is no folder {folder}"
    return f"{folder} holds {format_some(names, _FEW, none='nothing')}"
