"""Reads a list in Parquet by pyarrow, some rows at a time; also one that holds the images themselves.

Memory does not grow with a file or its row groups, but with its largest page, which is read and unpacked as a
whole. pyarrow writes 1,024 rows into a page at least.

Data sets of Hugging Face have a column of structs {bytes, path} with the images, and a column of numbers
whose names are in the file's metadata.
"""

import functools
import importlib
import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import DataRefusedError
from components.ingest.files import label_of
from components.ingest.sources.list_rows import ImageCell, RawRow, format_cell

_ROWS_AT_A_TIME = 4096
# Of rows with images, which may have megabytes each.
_IMAGES_AT_A_TIME = 32
_BUFFER_BYTES = 1 << 20


class ParquetRows:
    """The rows of a list in Parquet.

    Attributes:
        names: The columns that have one value per row, and those of images.
        class_names: By column, the names of the classes that the file's metadata have.
        unit: What a row is called.
        count: The number of rows according to the file's end, once rows are read.

    Raises:
        DataRefusedError: It is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.unit, self.count = path, "row", 0
        import pyarrow as pa
        import pyarrow.parquet as pq

        if int(pa.__version__.split(".")[0]) < 14:
            # Apache Beam brings it along: without it, older versions run code that a file may contain.
            importlib.import_module("pyarrow_hotfix")
        self._errors = (pa.ArrowException, OSError, ValueError)
        # A stream in place of a whole row group.
        self._open = functools.partial(pq.ParquetFile, path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        try:
            with self._open() as file:
                schema = file.schema_arrow
        except self._errors as error:
            raise self._damaged(error) from error
        self._image_columns = [field.name for field in schema if _holds_images(pa, field.type)]
        names = [
            field.name
            for field in schema
            if field.name in self._image_columns or not pa.types.is_nested(field.type) or _is_list(pa, field)
        ]
        self.names: Sequence[str] | None = names
        self.class_names = _read_class_names(schema.metadata or {})

    def rows(self) -> Generator[RawRow, None, None]:
        """Yield (number of the row, its cells, why it cannot be read).

        Raises:
            DataRefusedError: The file is damaged.
        """
        names = list(self.names or ())
        number = 0
        try:
            with self._open() as file:
                self.count = file.metadata.num_rows
                for values in self._values(file, names):
                    number += 1
                    try:
                        cells = [self._cell(name, value) for name, value in zip(names, values, strict=True)]
                        yield number, cells, ""
                    except ValueError as error:
                        yield number, [], str(error)
            if number != self.count:
                raise ValueError(f"it says {self.count} rows and has {number}")
        except self._errors as error:
            raise self._damaged(error) from error

    def _values(self, file: Any, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of each row in these columns."""
        if not names:  # batches without columns have no rows
            yield from itertools.repeat((), self.count)
            return
        size = _IMAGES_AT_A_TIME if self._image_columns else _ROWS_AT_A_TIME
        for batch in file.iter_batches(size, columns=names, use_threads=False):
            columns = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in names]
            yield from zip(*columns, strict=True)

    def _cell(self, column: str, value: Any) -> str:
        if column in self._image_columns:
            return _image_cell(value)
        if column in self.class_names and isinstance(value, int):
            names = self.class_names[column]
            if value == -1:
                return ""
            if not 0 <= value < len(names):
                raise ValueError(f"{column}: expected a class of 0 to {len(names) - 1}, got {value}")
            return names[value]
        return format_cell(value)

    def _damaged(self, error: Exception) -> DataRefusedError:
        said = str(error).strip().splitlines() or [type(error).__name__]
        return DataRefusedError(f"{self.path}: damaged, or not Parquet ({said[0][:200]}); write it again")


def _holds_images(pa: Any, kind: Any) -> bool:
    """Return whether a column holds encoded images: bytes, or a struct of bytes and a path."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and kind.get_field_index("path") >= 0
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list(pa: Any, field: Any) -> bool:
    """Return whether a column holds short lists, such as the sides of a box, or several labels."""
    kind = field.type
    is_list = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    return is_list and not pa.types.is_nested(kind.value_type)


def _image_cell(value: Any) -> str:
    if isinstance(value, dict):
        path, encoded = value["path"] or "", value["bytes"]
    else:
        path, encoded = "", value
    if encoded is None:
        return format_cell(path)
    cell = ImageCell(format_cell(path))
    cell.encoded = encoded
    return cell


def _read_class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of classes, by column, as Hugging Face's datasets write them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: [label_of(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
