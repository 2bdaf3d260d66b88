"""A CSV file with a file name and a class in every row, or a file name and a box.

    filename,label                       filename,width,height,class,xmin,ymin,xmax,ymax
    Image_1.jpg,ATALA                    cat.12.jpg,300,224,cat,38,19,241,191

Columns, in any order and case; of several that would do, the first named here counts:
    the file   filename, file_name, file, filepath, filepaths, file_path, path, image, image_path, image_name,
    img the class  label, labels, class, class_name, category, target
    the split  split, set, subset, partition, data set          (optional)
    the box    xmin, ymin, xmax, ymax, or others of components.ingest.sources.box_columns: they mean
               detection, see components.ingest.sources.csv_boxes

Several CSV files are read together if the name of each begins with another split's: train_labels.csv,
test_labels.csv.

A name is looked up next to the CSV, then in the folders below it: `Image_1.jpg` finds `train/Image_1.jpg`.
One that fits several files is a reject, so is one that fits none. Every row gives a record, also one that
repeats another. A row is one line: a quote that is not closed in its line would swallow the rows after it, so
such a list is refused. A row with more or fewer fields than the first line names is a reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, UsageError
from components.ingest.files import label_of
from components.ingest.item import Item, Reject
from components.ingest.sources.context import SourceContext
from components.ingest.sources.csv_boxes import find_boxes
from components.ingest.sources.csv_table import Row, Table
from components.ingest.sources.lookup import Lookup
from components.ingest.truth import Label

_LETTERS = re.compile(r"[A-Za-z]+")


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per row, or where rows are boxes one item an image.

    Raises:
        UsageError: A CSV is not of this kind.
        DataRefusedError: A CSV is broken.
    """
    tables = [Table(context, path, split) for path, split in _tables(context)]
    with_boxes = [table for table in tables if table.box is not None]
    if not with_boxes:
        for table in tables:
            lookup = Lookup(context, table.path)
            context.announce(table.count)
            for row in table.rows():
                yield _labelled(context, lookup, table, row)
    elif len(with_boxes) < len(tables):
        one, other = with_boxes[0], next(table for table in tables if table.box is None)
        columns = ", ".join(one.box.names) if one.box is not None else ""
        raise UsageError(
            f"{context.shown}: {one.path.name} has boxes ({columns}) and {other.path.name} has not; "
            "give the one to read as INPUT"
        )
    else:
        yield from find_boxes(context, tables)


def fits(context: SourceContext) -> str | None:
    """Return the columns of the first list, where all lists have what is needed; else None."""
    try:
        tables = [Table(context, path, split) for path, split in _tables(context)]
    except (UsageError, DataRefusedError):
        return None
    first = tables[0]
    columns = [first.name_column, *([] if first.box is None else first.box.names), first.label_column]
    return f"{first.path.name} has the columns {', '.join(columns)}"


def _labelled(context: SourceContext, lookup: Lookup, table: Table, row: Row) -> Item | Reject:
    name, label = row.cells[table.name_column], row.cells[table.label_column]
    if row.problem:
        return Reject(name or row.where, f"{row.problem} ({row.where})")
    if not name:
        return Reject(row.where, f"no file name ({row.where})")
    found = lookup.find(name, row.split)
    if isinstance(found, str):
        return Reject(name, f"{found} ({row.where})")
    if not label:
        return Reject(found.path, f"unlabelled: no class ({row.where})")
    if found.problem:
        return Reject(found.path, f"{found.problem} ({row.where})")
    return Item(
        path=found.path,
        file=context.absolute(found.raw),
        size_bytes=found.size_bytes,
        stamp=found.stamp,
        truth=Label(label_of(label)),
        split=row.split,
    )


def _tables(context: SourceContext) -> list[tuple[Path, str | None]]:
    """Return the CSV files to read, each with the split that its name tells where there are several."""
    if context.input_file is not None:
        return [(context.input_file, None)]
    found = [
        context.root / entry.path
        for entry in context.index.files
        if entry.path.lower().endswith(".csv") and not entry.problem
    ]
    if len(found) == 1:
        return [(found[0], None)]
    if not found:
        raise UsageError(
            f"{context.shown}: no .csv file in it; give the CSV file itself, or a folder that holds it"
        )
    splits = []
    for path in found:
        letters = _LETTERS.match(path.name)
        splits.append(context.split_named(letters.group()) if letters else None)
    if None not in splits and len(set(splits)) == len(splits):
        return list(zip(found, splits, strict=True))
    shown = ", ".join(sorted(path.relative_to(context.root).as_posix() for path in found)[:5])
    raise UsageError(
        f"{context.shown}: {len(found)} .csv files in it ({shown}); give the one to read as INPUT, or have "
        "their names begin with their splits, as in train_labels.csv and test_labels.csv"
    )
