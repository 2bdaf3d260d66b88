"""A CSV file with a box in every row, as the Object Detection API's tutorials have it:

    filename,width,height,class,xmin,ymin,xmax,ymax
    cat.12.jpg,300,224,cat,38,19,241,191
    meadow.jpg,640,480,,,,,

    path/cat.12.jpg,38,19,241,191,cat        keras-retinanet's, without names of columns

Four columns are a box, by its corners or by its upper left corner and lengths:
components.ingest.sources.box_columns has their names. Boxes are in pixels, fractions allowed, of an image of
width x height (both may be missing, or 0). A row without class and box is an image on which there is
nothing, and so is one with a class that has no box in any row, as "No finding" has. `difficult` and
`truncated` (0 or 1) may be columns, too. Rows of one image need not stand together. An image that one of its
rows spoils is rejected: what that row should have told would else count as background.
"""  # noqa: D415 - an example follows

from collections.abc import Iterator, Mapping, Sequence

from components.base.errors import UsageError
from components.ingest.files import label_of
from components.ingest.item import Found, LeftOut, Reject
from components.ingest.readings import Size
from components.ingest.sources.context import SourceContext
from components.ingest.sources.gather import Gathered, Names, is_guessed
from components.ingest.sources.list_rows import ImageCell
from components.ingest.sources.list_table import Row, Table
from components.ingest.truth.placing import Box
from components.ingest.values import number_of

# What programs write for a missing number.
_MISSING = ("", "nan", "na", "none", "null")


def find_boxes(context: SourceContext, tables: Sequence[tuple[Table, str | None]]) -> Iterator[Found]:
    """Yield one item per image that a row names, per split.

    Args:
        context: Of the source.
        tables: The lists, each with the split of rows that tell none.

    Raises:
        UsageError: Some of the lists have boxes in pixels and others in shares.
        DataRefusedError: The label map does not have a class.
    """
    if len({table.layout.in_shares for table, _ in tables}) > 1:
        raise UsageError(
            f"{context.shown}: some lists have boxes in pixels, others in shares; give the one to read as "
            "INPUT"
        )
    label_map = context.label_map()
    gathered, labels = Gathered(context), set[str]()
    for table, split in tables:
        names = Names(context, table.path)
        for row in table.rows(split):
            name = row.name
            if row.left_out:
                yield LeftOut(name or row.where, f"{row.left_out} ({row.where})")
                continue
            if isinstance(name, ImageCell):
                yield Reject(
                    str(name) or row.where, f"expected the name of an image, got its bytes ({row.where})"
                )
                continue
            if not name:
                yield Reject(row.where, f"{row.problem or 'no file name'} ({row.where})")
                continue
            found = names.find(name, row.split)
            # The name if there is no file: each missing file is reported once.
            key = f"{row.split} {found if isinstance(found, str) else 'file'} "
            key += name if isinstance(found, str) else found.path
            if is_guessed(name, found):
                key += f" as {name}"
            size: Size | None
            box: Box | str | None
            try:
                size, box = (None, row.problem) if row.problem else _read(table, row)
            except ValueError as error:
                size, box = None, str(error)
            if box is None and (label := label_of(row.label)):
                gathered.add_boxless(key, label, row.where)
            told = gathered.find_told(key)
            if told is None:
                gathered.add_image(key, name, found, row.split, size, row.where, row.group)
            elif size != told[0] and not isinstance(box, str):
                gathered.spoil(key, f"{row.where} gives another size than {told[1]}")
            if isinstance(box, str):
                gathered.spoil(key, f"{box} ({row.where})")
            elif box is not None:
                labels.add(box.label)
                if label_map is not None:
                    box = Box(label_map.named(box.label, row.where), *box.sides, box.difficult, box.truncated)
                gathered.add_box(key, box)
    gathered.conclude_boxless(labels)
    yield from gathered.inputs(in_shares=context.in_shares(usual=tables[0][0].layout.in_shares))


def _read(table: Table, row: Row) -> tuple[Size | None, Box | None]:
    """Return the annotated size and the box of a row.

    Raises:
        ValueError: Says what is wrong with the row.
    """
    cells = row.cells
    columns = table.layout.box
    assert columns is not None
    sides = {column: cells[column] for column in columns.names}
    size = (0.0, 0.0)
    if not {"width", "height"} & set(columns.names):
        size = (_or_0(cells, "width"), _or_0(cells, "height"))
    told = size if min(size) > 0 else None
    label = label_of(row.label)
    if all(map(_is_nothing, sides.values())):
        return told, None
    if not label:
        raise ValueError("unlabelled: a box without a class")
    values = [number_of(column, text) for column, text in sides.items()]
    difficult, truncated = (_or_0(cells, column) != 0 for column in ("difficult", "truncated"))
    return told, Box(label, *columns.sides(values), difficult, truncated)


def _is_nothing(text: str) -> bool:
    """Return whether a side of a box is missing, or 0 as lists have it that need a number in each field."""
    return text.lower() in _MISSING or not text.strip("+-0.")


def _or_0(cells: Mapping[str, str], column: str) -> float:
    text = cells.get(column, "")
    return number_of(column, text) if text else 0.0
