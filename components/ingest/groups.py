"""Groups that the user names: images of one patient, video or burst, which must not be in two splits.

`group_by` is a regular expression on an image's path, with one group in parentheses, or the name of a column,
which the source of a table reads.
"""

import re

from components.base.errors import UsageError
from components.base.printable import printable
from components.base.words import format_count
from components.ingest.index import Index

_ADVICE = r"give an expression with one group in parentheses, such as (patient\d+)_, or the column of a CSV"


def check_group_by(text: str | None) -> str | None:
    """Return the option as it is.

    Raises:
        ValueError: It is not an expression, or has several groups.
    """
    if text is None or column_of(text) is not None:
        return text
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"expected a regular expression, got {text!r} ({error}); {_ADVICE}") from error
    if groups != 1:
        raise ValueError(
            f"expected one group in parentheses, got {groups} in {text!r}; write (?:...) for those that only "
            "hold alternatives together"
        )
    return text


def column_of(group_by: str | None) -> str | None:
    """Return the column that the option names: it has no group in parentheses; None for an expression."""
    return group_by if group_by is not None and "(" not in group_by else None


def set_groups(index: Index, group_by: str | None, where: str) -> None:
    """Give every item of the index its group, and check that the option says something about the data.

    Args:
        index: Its items are found; a table's column has been read.
        group_by: See IngestConfig.
        where: INPUT, for messages.

    Raises:
        UsageError: No image has a group, or all images have the same one.
    """
    if group_by is None or not (total := _count(index, "*")):
        return
    column = column_of(group_by)
    if column is None:
        expression = re.compile(group_by)

        def group_of(path: str) -> str | None:
            match = expression.search(path)
            return (match[1] or None) if match is not None else None

        index.db.create_function("group_of", 1, group_of, deterministic=True)
        index.db.execute("UPDATE items SET grouped = group_of(path)")
        index.db.commit()
    grouped, groups = _count(index, "grouped"), _count(index, "DISTINCT grouped")
    (example,) = index.db.execute("SELECT min(path) FROM items WHERE grouped IS NULL").fetchone()
    if not grouped:
        what = "such a column with a value in it" if column else "paths that it matches"
        raise UsageError(
            f"group_by: expected {what}, got none in {where} (an image is {printable(example)}); {_ADVICE}"
        )
    if groups == 1 and total > 1 and grouped == total:
        (name,) = index.db.execute("SELECT min(grouped) FROM items").fetchone()
        raise UsageError(
            f"group_by: expected several groups, got all {total} images of {where} in the one group "
            f"{printable(name)!r}, which cannot be split; {_ADVICE}"
        )
    if grouped < total:
        index.warn(
            f"group_by: {format_count(total - grouped, 'image is', 'images are')} in no group (the first: "
            f"{printable(example)}); each counts by itself."
        )


def _count(index: Index, what: str) -> int:
    return int(index.db.execute(f"SELECT count({what}) FROM items").fetchone()[0])
