"""Which split of a YOLO data set an image is in, by what its data.yaml names."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError
from components.base.words import format_count
from components.ingest.files import FileEntry
from components.ingest.item import Reject
from components.ingest.sources.context import SourceContext
from components.ingest.sources.lookup import Lookup, split_of_folders
from components.ingest.sources.yolo_config import YoloConfig

_DRIVE = re.compile(r"[A-Za-z]:")


class SplitsOfConfig:
    """The folders and lists of images that data.yaml names.

    Attributes:
        lists: The lists of images, relative to the input.
        rejects: What they name and is not there.
    """

    def __init__(self, context: SourceContext, config: YoloConfig) -> None:
        self._context = context
        self._folders: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self.rejects: list[Reject] = []
        self.lists: set[str] = set()
        self._several = 0
        files = {entry.path: entry for entry in context.index.files} if config.splits else {}
        folders = {f"{path[: at.start()]}/" for path in files for at in re.finditer("/", path)} | {""}
        for key, values in config.splits.items():
            split = context.split_named(key) or ""
            for value in values:
                for tail in _tails(config, value):
                    if tail in files:
                        self._read_list(files[tail], split)
                    elif f"{tail}/" in folders:
                        self._add_folder(f"{tail}/", split, key, config)
                    else:
                        continue
                    break
        if self._several:
            images = format_count(self._several, "image is", "images are")
            context.index.warn(f"{images} in the lists of several splits: the first of these counts.")

    def of(self, image: str) -> str | None:
        """Return the split of an image; "" where nothing says, None where it is in none of those named."""
        if image in self._images:
            return self._images[image]
        above = max((folder for folder in self._folders if image.startswith(folder)), key=len, default=None)
        if above is not None:
            return self._folders[above]
        named = self._images or self._folders
        return None if named and split_of_folders(self._context, image) is None else ""

    def _add_folder(self, folder: str, split: str, key: str, config: YoloConfig) -> None:
        if self._folders.setdefault(folder, split) != split:
            self._context.index.warn(
                f"{config.files[0]} names {folder} as {self._folders[folder]} and as {key}: its images are "
                f"read as {self._folders[folder]} alone."
            )

    def _read_list(self, entry: FileEntry, split: str) -> None:
        path = Path(os.fsdecode(self._context.absolute(entry.raw)))
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataRefusedError(
                f"{self._context.shown}: {entry.path}: expected a list of images in UTF-8, got what cannot "
                "be read as one; correct or remove it"
            ) from error
        self.lists.add(entry.path)
        lookup = Lookup(self._context, path)
        for at, line in enumerate(lines, start=1):
            if name := line.strip():
                found = lookup.find(name, split or None)
                if isinstance(found, str):
                    self.rejects.append(Reject(name, f"{found} ({entry.path} line {at})"))
                elif self._images.setdefault(found.path, split) != split:
                    self._several += 1


def _tails(config: YoloConfig, value: str) -> Iterator[str]:
    """Yield what a path of data.yaml may be relative to the input, the longest first."""
    parts = [
        part
        for part in f"{config.path}/{value}".replace("\\", "/").split("/")
        if part not in ("", ".", "..") and not _DRIVE.fullmatch(part)
    ]
    for at in range(len(parts)):
        tail = "/".join(parts[at:])
        yield from dict.fromkeys((f"{config.folder}{tail}", tail))
