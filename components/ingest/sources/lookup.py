"""Finds the picture that a name in a list (a CSV, COCO's JSON) means."""

from __future__ import annotations

from pathlib import Path

from components.ingest.files import FileEntry
from components.ingest.sources import SourceContext


class Lookup:
    """Looks beside the list, then in the folders below; for a list beside the pictures' folders, in them.

    Args:
        context: Of the source.
        table: The list.
    """

    def __init__(self, context: SourceContext, table: Path) -> None:
        self._context = context
        folder = table.parent.relative_to(context.root).as_posix()
        self._beside = "" if folder == "." else f"{folder}/"

    def find(self, name: str, split: str | None = None) -> FileEntry | str:
        """The file, or why there is none.

        Of several files with the name, the one in a folder of the split's name is meant.
        """
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        if ".." in parts or name.startswith("/"):
            return "the name leads out of the folder of its list"
        if not parts:
            return "no file name"
        wanted = "/".join(parts)
        same_name = self._context.index.files_named(parts[-1])
        for folder in (self._beside, ""):
            below = [entry for entry in same_name if entry.path.startswith(folder)]
            for entry in below:
                if entry.path == folder + wanted:
                    return entry
            below = [entry for entry in below if entry.path.endswith(f"/{wanted}")]
            if len(below) > 1 and split is not None:
                of_split = [entry for entry in below if split_of_folders(self._context, entry.path) == split]
                below = of_split or below
            if len(below) == 1:
                return below[0]
            if below:
                return (
                    f"ambiguous: {len(below)} files have this name, {below[0].path} and {below[1].path} "
                    "among them"
                )
        return "no such file"


def split_of_folders(context: SourceContext, path: str) -> str | None:
    """The split of the first folder above a file that has a split's name, or begins with one (train2017)."""
    for folder in path.split("/")[:-1]:
        split = context.split_named(folder) or context.split_named(folder.rstrip("0123456789"))
        if split is not None:
            return split
    return None
