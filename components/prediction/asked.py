"""Arguments of `mirante predict`: images by their files and folders, and the model."""

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base import files, serving_folder
from components.base.errors import DataRefusedError, UsageError
from components.base.object_store import parse_url
from components.base.paths import is_in_bucket, is_remote
from components.base.printable import printable
from components.base.saved_model import is_saved_model, on_disk, read_fingerprint
from components.ingest.files import decode_name, walk
from components.ingest.left_out import no_image_reason
from components.model_stores.address import is_store
from components.model_stores.store import fetch_served


@dataclasses.dataclass(frozen=True)
class AskedImage:
    """An image file, or something in its place.

    Attributes:
        name: The given path, in valid Unicode; for a file in a given folder it begins with the folder.
        path: The same path as bytes.
        problem: Why it cannot be read; empty if no problem is known yet.
    """

    name: str
    path: bytes
    problem: str = ""


def asked_images(given: Sequence[str]) -> Iterator[AskedImage]:
    """Yield each file in the order given, and the files of a folder in the order of their names.

    In a folder, hidden files and files whose names are not those of images are left out.
    """
    for path in map(os.fsencode, given):
        if not os.path.isdir(path):
            yield AskedImage(decode_name(path), path)
            continue
        try:
            found = 0
            for entry in walk(Path(os.fsdecode(path))):
                if not no_image_reason(entry.path.rpartition("/")[2]):
                    found += 1
                    inside = os.path.join(path, entry.raw)
                    yield AskedImage(decode_name(inside), inside, entry.problem)
            if not found:
                yield AskedImage(decode_name(path), path, "a folder without an image")
        except DataRefusedError as e:
            yield AskedImage(decode_name(path), path, str(e))


def saved_model_folder(model: str) -> Path:
    """Return the SavedModel for the argument `model`.

    It is that folder itself, the highest version in it, which TF Serving takes, or the model of a run's root:
    the highest version where the newest run pushed to that has one. From a model store the served version is
    fetched, from a bucket the highest one, into a folder that is removed at the end of this process.

    Raises:
        UsageError: There is no model.
        MiranteError: The model store or the bucket cannot be asked.
    """
    if is_store(model):
        return Path(fetch_served(model, _make_folder(model)))
    for candidate in _find_candidates(model):
        with files.explained(candidate):
            versions = [candidate] if is_saved_model(candidate) else _versions(candidate)
            if versions and is_remote(candidate):
                return _fetch(versions[0], read_fingerprint(versions[0]))
        if versions:
            return Path(versions[0])
    raise UsageError(
        f"{printable(decode_name(os.fsencode(model)))}: no model there: expected a SavedModel, or a folder "
        "of numbered versions such as a run's serving/ folder, or a run's root"
    )


@functools.cache
def _make_folder(model: str) -> str:
    """Return a folder for versions of a model; it is removed at the end of this process."""
    fetched = tempfile.mkdtemp(prefix="mirante-model-")
    atexit.register(shutil.rmtree, fetched, ignore_errors=True)
    return fetched


@functools.cache
def _fetch(version: str, fingerprint: bytes | None) -> Path:
    """Return a copy of a version in a bucket; a process makes it once for each model there."""
    held = contextlib.ExitStack()
    atexit.register(held.close)
    return Path(held.enter_context(on_disk(version)))


def find_push_destination(root: str) -> str:
    """Return the folder of versions for an argument `root`: that folder itself, or the one a root pushes to.

    A bucket that a root pushes to is not asked, and one that is given may be empty.

    Raises:
        UsageError: There are no versions.
    """
    for candidate in _find_candidates(root):
        if is_in_bucket(candidate) and not is_in_bucket(root):
            return candidate
        with files.explained(candidate):
            if not os.path.isfile(candidate) and serving_folder.list_versions(candidate):
                return candidate
    if is_in_bucket(root):
        return root
    raise UsageError(
        f"{printable(decode_name(os.fsencode(root)))}: no versions there: expected a run's root, or the "
        "folder of numbered versions that it pushes to, such as its serving/ folder"
    )


def _versions(folder: str) -> list[str]:
    """Return the SavedModels whose name is a number, the highest first."""
    if not is_remote(folder) and not os.path.isdir(folder):
        return []
    return [path for path in serving_folder.list_versions(folder).values() if is_saved_model(path)]


def _find_candidates(model: str) -> Iterator[str]:
    """Yield a folder, and if it is a run's root where its runs push to, the newest run first."""
    if is_remote(model):
        parse_url(model)
        yield from (model, f"{model.rstrip('/')}/serving")
        return
    folder = Path(model)
    yield str(folder)
    for kept in sorted((folder / "runs").glob("*/result.json"), reverse=True):
        try:
            result = json.loads(kept.read_text(encoding="utf-8"))
            pushed, former = result.get("pushed_model"), result.get("root")
        except (OSError, ValueError, AttributeError):
            continue
        if not isinstance(pushed, str):
            continue
        place = os.path.dirname(pushed)
        if isinstance(former, str) and Path(place).is_relative_to(former):
            # The root may have been moved or copied since: what it pushed into itself is in the new place.
            yield str(folder / Path(place).relative_to(former))
        else:
            yield place
    yield str(folder / "serving")
