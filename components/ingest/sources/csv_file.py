"""A list with an image and its class in every row, or an image and a box.

    filename,label                       filename,width,height,class,xmin,ymin,xmax,ymax
    Image_1.jpg,ATALA                    cat.12.jpg,300,224,cat,38,19,241,191

components.ingest.sources.list_layouts has the names of columns, and list_exports the layouts of other tools.
The columns of a box mean detection: components.ingest.sources.csv_boxes. Several lists are read together if
each tells another split: components.ingest.sources.list_choice.

A name is looked up next to the list, then in the folders below it: `Image_1.jpg` finds `train/Image_1.jpg`.
One that fits several files is a reject, so is one that fits none. Every row gives a record, also one that
repeats another, or a reject, or is left out. Where images may have several classes, the rows of one image are
joined to one record (components.ingest.joined_rows).
"""

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from components.base.errors import DataRefusedError, UsageError
from components.base.printable import printable
from components.base.words import format_count
from components.ingest.files import label_of
from components.ingest.item import Found, Item, LeftOut, Reject
from components.ingest.sources.context import SourceContext
from components.ingest.sources.csv_boxes import find_boxes
from components.ingest.sources.list_choice import choose_lists
from components.ingest.sources.list_rows import ImageCell
from components.ingest.sources.list_table import Row, Table
from components.ingest.sources.lookup import Lookup
from components.ingest.truth import Label

_IMAGES_SHOWN = 5


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per row, or where rows are boxes one item an image.

    Raises:
        UsageError: A list is not of this kind.
        DataRefusedError: A list is broken.
    """
    choice = choose_lists(context)
    choice.report(context)
    tables = choice.tables
    with_boxes = [table for table, _ in tables if table.layout.box is not None]
    if not with_boxes:
        _take_class_names(context, [table for table, _ in tables])
        with (context.scratch / "images").open("wb") as images:
            for table, split in tables:
                lookup = Lookup(context, table.path)
                for row in table.rows(split):
                    yield _labelled(context, lookup, row, images)
                context.announce(table.given)
        if not context.config.multilabel:
            _warn_about_several_classes(context)
    elif len(with_boxes) < len(tables):
        one, other = with_boxes[0], next(table for table, _ in tables if table.layout.box is None)
        columns = ", ".join(one.layout.box.names) if one.layout.box is not None else ""
        raise UsageError(
            f"{context.shown}: {one.path.name} has boxes ({columns}) and {other.path.name} has not; "
            "give the one to read as INPUT"
        )
    else:
        yield from find_boxes(context, tables)


def fits(context: SourceContext) -> str | None:
    """Return the columns of the first list; None if they had to be guessed and no row names an image here."""
    try:
        tables = [table for table, _ in choose_lists(context).tables]
        if not any(not table.layout.note or table.names_an_image() for table in tables):
            return None
    except (UsageError, DataRefusedError):
        return None
    return f"{tables[0].path.name} has {tables[0].describe()}"


def _take_class_names(context: SourceContext, tables: Sequence[Table]) -> None:
    """Tell the index the order of the classes, if all lists have the same."""
    names = tables[0].class_names
    if names and all(table.class_names == names for table in tables):
        context.index.set_class_names(names)


def _warn_about_several_classes(context: SourceContext) -> None:
    """Warn about images that the rows give several classes."""
    rows = context.index.db.execute(
        "SELECT path, min(truth), max(truth), count(*) OVER () FROM items WHERE offset IS NULL GROUP BY path "
        "HAVING min(truth) < max(truth) ORDER BY path LIMIT ?",
        (_IMAGES_SHOWN,),
    ).fetchall()
    if rows:
        names = ", ".join(printable(f"{path} ({one} and {other})") for path, one, other, _ in rows)
        more = rows[0][3] - len(rows)
        context.index.warn(
            f"{format_count(rows[0][3], 'image is', 'images are')} listed with several classes: {names}"
            f"{f' and {more:,} more' if more else ''}. Are these several labels of one image? Each row is an "
            "image of its own here; task: multilabel (--multilabel) reads them as classes of one image."
        )


def _labelled(context: SourceContext, lookup: Lookup, row: Row, images: BinaryIO) -> Found:
    if row.left_out:
        return LeftOut(row.name or row.where, f"{row.left_out} ({row.where})")
    if row.problem:
        return Reject(row.name or row.where, f"{row.problem} ({row.where})")
    if isinstance(row.name, ImageCell):
        return _with_bytes(context, row, row.name, images)
    if not row.name:
        return Reject(row.where, f"no file name ({row.where})")
    found = lookup.find(row.name, row.split)
    if isinstance(found, str):
        return Reject(row.name, f"{found} ({row.where})")
    if not row.label and not context.config.multilabel:
        return Reject(found.path, f"unlabelled: no class ({row.where})")
    if found.problem:
        return Reject(found.path, f"{found.problem} ({row.where})")
    return context.item(found, Label(label_of(row.label)), row.split, row.group)


def _with_bytes(context: SourceContext, row: Row, cell: ImageCell, images: BinaryIO) -> Item | Reject:
    """Return the item of a row that has the image itself, which is appended to a file."""
    path = str(cell) or row.where
    if not row.label and not context.config.multilabel:
        return Reject(path, f"unlabelled: no class ({row.where})")
    if not cell.encoded:
        return Reject(path, f"empty file ({row.where})")
    offset = images.tell()
    images.write(cell.encoded)
    return Item(
        path=path,
        file=os.fsencode(images.name),
        size_bytes=len(cell.encoded),
        offset=offset,
        truth=Label(label_of(row.label)),
        split=row.split,
        group=row.group,
    )
