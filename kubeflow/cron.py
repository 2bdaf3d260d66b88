"""Schedules of recurring runs: from cron's five fields to the six that Kubeflow Pipelines reads."""

from __future__ import annotations

import re

from components.base.errors import UsageError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Name, smallest and largest value, and names for values from the smallest on.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<range>[*?]|(?P<low>\w+)(-(?P<high>\w+))?)(/(?P<step>\d+))?")


def six_fields(cron: str) -> str:
    """Return the schedule with seconds in front, as Kubeflow Pipelines wants it.

    Source: the package robfig/cron, version 1, with which its controller reads schedules: second, minute,
    hour, day of the month, month, day of the week; Sunday is 0.

    Raises:
        UsageError: Not five or six fields, or one that is out of its range.
    """
    fields = cron.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise UsageError(
            f"--cron {cron!r}: expected five fields, minute hour day-of-month month day-of-week, such as "
            f"'0 3 * * *' (or six, seconds first), got {len(fields)}"
        )
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            reason = _find_fault(part, least, most, names)
            if reason:
                sunday = "; Sunday is 0" if names is _DAYS else ""
                raise UsageError(f"--cron {cron!r}: {name} {field!r}: {reason}{sunday}")
    return " ".join(fields)


def _find_fault(part: str, least: int, most: int, names: tuple[str, ...]) -> str | None:
    """Say what is wrong with one part of a field's list; None where it is right."""
    match = _PART.fullmatch(part)
    expected = f"expected *, a value of {least} to {most}, a range or a step, such as */2"
    if match is None:
        return expected
    if match["step"] is not None and int(match["step"]) == 0:
        return "expected a step of 1 or more"
    values = []
    for text in (match["low"], match["high"]):
        if text is None:
            continue
        if text.upper() in names:
            values.append(least + names.index(text.upper()))
        elif text.isdecimal() and least <= int(text) <= most:
            values.append(int(text))
        else:
            return expected
    if len(values) == 2 and values[0] > values[1]:
        return "the range ends before it begins"
    return None
