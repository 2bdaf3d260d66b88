"""The folder that models are pushed to: its versions, and the record of each push.

    serving/1795358001/               a SavedModel; TF Serving serves the highest number
    serving/pushes/1795358001.json    size and SHA-256 of each file that was pushed as that version
    serving/pushes/stores.txt         model stores that got a version too, one address per line
    serving/pushes/.lock              held while something is pushed

TF Serving and Triton only look at folders whose name is a number. A record without its version says that the
version was taken back. Imports no TensorFlow for a folder on a disk.
"""

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from components.base import files
from components.base.errors import MiranteError, UsageError
from components.base.paths import is_in_bucket, is_remote
from components.base.saved_model import CARD_FILES, class_names_of, is_saved_model, task_of

RECORDS = "pushes"
# Property of a PushedModel that was not pushed: the version that had this model until it was removed.
TAKEN_BACK = "taken_back_version"
_LOCK = ".lock"
_STORES = "stores.txt"
_VERSION = re.compile(r"[0-9]{1,19}")
_LARGEST_VERSION = 2**63 - 1
_BLOCK_BYTES = 1 << 20
# Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_logger = logging.getLogger("mirante.push")


@dataclasses.dataclass(frozen=True)
class FileSum:
    """Size and SHA-256 of a file."""

    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Record:
    """The files that were pushed as a version, by their path in the model's folder."""

    version: int
    files: dict[str, FileSum]

    @property
    def digest(self) -> str:
        """SHA-256 of the names and contents of all files: equal for copies of one model."""
        return model_digest(self.files)


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A model of Mirante in a folder of versions.

    Attributes:
        version: Its number.
        path: Its folder.
        task: `classification` or `detection`.
        class_names: The classes that it knows, in the order of their labels.
    """

    version: int
    path: str
    task: str
    class_names: tuple[str, ...]


def version_number(name: str) -> int | None:
    """Return the version that is the name of a folder; None for any other name.

    TF Serving reads ASCII digits as a 64-bit integer; `str.isdigit` also accepts characters such as "²".
    """
    if _VERSION.fullmatch(name) is None or int(name) > _LARGEST_VERSION:
        return None
    return int(name)


def list_versions(folder: str) -> dict[int, str]:
    """Return the path of each version in a folder, the highest version first; none if there is no folder."""
    found = {version_number(name): name for name in files.list_names(folder)}
    numbers = sorted((number for number in found if number is not None), reverse=True)
    return {number: os.path.join(folder, found[number]) for number in numbers}


def highest_version(folder: str) -> int | None:
    """Return the version that TF Serving serves; None if there is none."""
    return next(iter(list_versions(folder)), None)


def find_served_models(folder: str) -> list[ServedModel]:
    """Return the models of Mirante in a folder of versions, the served one first.

    Other folders are left out, even if their name is a number: a model without labels is not Mirante's, and a
    folder without `saved_model.pb` is a push into a bucket that was killed.
    """
    return [model for number, path in list_versions(folder).items() if (model := _model_at(number, path))]


def _model_at(version: int, path: str) -> ServedModel | None:
    class_names = class_names_of(path)
    if class_names is None or not is_saved_model(path):
        return None
    return ServedModel(version, path, task_of(path), class_names)


def measure_files(folder: str) -> dict[str, FileSum]:
    """Read all files of a model and return their sizes and digests, by their path in its folder."""
    measured = {}
    for path in files.list_below(folder):
        if os.path.relpath(path, folder) in CARD_FILES:
            continue
        digest, size_bytes = hashlib.sha256(), 0
        with files.open_binary(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
        measured[os.path.relpath(path, folder)] = FileSum(size_bytes, digest.hexdigest())
    return measured


def model_digest(measured: Mapping[str, FileSum]) -> str:
    """Return one SHA-256 for the files of a model; see `Record.digest`."""
    lines = "".join(f"{sums.sha256}  {name}\n" for name, sums in sorted(measured.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def find_difference(wanted: Mapping[str, FileSum], found: Mapping[str, FileSum]) -> str | None:
    """Describe the first file that is missing or differs from what was pushed; None if all are equal."""
    for name, sums in sorted(wanted.items()):
        if name not in found:
            return f"{name} is missing"
        if found[name].size_bytes != sums.size_bytes:
            return f"{name} has {found[name].size_bytes:,} bytes, and {sums.size_bytes:,} were pushed"
        if found[name] != sums:
            return f"{name} has other content than what was pushed"
    return None


def find_damage(folder: str, version: int) -> str | None:
    """Describe what differs between a version and the record of its push; None if nothing differs.

    A version without a record counts as whole. So does one in a bucket: buckets keep checksums themselves,
    and a task has only a few of its files.
    """
    record = read_record(folder, version)
    path = list_versions(folder).get(version)
    if record is None or path is None or is_in_bucket(folder):
        return None
    return find_difference(record.files, measure_files(path))


def record_path(folder: str, version: int) -> str:
    """Return the path of the record of a version."""
    return os.path.join(folder, RECORDS, f"{version}.json")


def read_record(folder: str, version: int) -> Record | None:
    """Return the record of a version; None if there is none, or none that can be read."""
    path = record_path(folder, version)
    if not files.exists(path):
        return None
    try:
        pushed = json.loads(files.read_text(path))["files"]
        return Record(
            version, {name: FileSum(item["bytes"], item["sha256"]) for name, item in pushed.items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_records(folder: str) -> dict[int, Record]:
    """Return all records in a folder, the highest version first."""
    numbers = [
        number
        for name in files.list_names(os.path.join(folder, RECORDS))
        if name.endswith(".json") and (number := version_number(name.removesuffix(".json"))) is not None
    ]
    found = (read_record(folder, number) for number in sorted(numbers, reverse=True))
    return {record.version: record for record in found if record is not None}


def write_record(folder: str, version: int, measured: Mapping[str, FileSum]) -> None:
    """Write the record of a version, all of it or nothing."""
    content = {
        "version": version,
        "recorded": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "files": {name: {"bytes": s.size_bytes, "sha256": s.sha256} for name, s in sorted(measured.items())},
    }
    files.write_text(record_path(folder, version), json.dumps(content, indent=1))


def find_taken_back(folder: str, measured: Mapping[str, FileSum]) -> int | None:
    """Return the version of a model's last push, if that version was removed since.

    If a folder was removed with its records, nothing in the new one was taken back.
    """
    digest = model_digest(measured)
    last = next((number for number, record in read_records(folder).items() if record.digest == digest), None)
    return None if last is None or last in list_versions(folder) else last


def note_stores(folder: str, addresses: Sequence[str]) -> None:
    """Note which model stores get the versions of a folder."""
    known = read_stores(folder)
    if new := [address for address in addresses if address not in known]:
        text = "".join(f"{address}\n" for address in (*known, *new))
        files.write_text(os.path.join(folder, RECORDS, _STORES), text)


def read_stores(folder: str) -> list[str]:
    """Return the addresses of the model stores that got a version of a folder."""
    path = os.path.join(folder, RECORDS, _STORES)
    return files.read_text(path).split() if files.exists(path) else []


@contextlib.contextmanager
def hold_lock(folder: str) -> Iterator[None]:
    """Hold the lock of a push destination, which is created if necessary; waits for other holders.

    The lock ends with the process, in any case. A bucket has no lock.
    """
    if is_in_bucket(folder):
        yield
        return
    inside = Path(folder, RECORDS)
    inside.mkdir(parents=True, exist_ok=True)
    with (inside / _LOCK).open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as e:
            if e.errno not in _NO_LOCKS:
                raise
            _logger.warning("%s: %s: let one run at a time push there", folder, e.strerror)
        yield


def check_can_push(folder: str) -> None:
    """Write and remove a small file in a push destination, so that a run fails before it trains.

    On a disk the nearest folder that exists is tried, and nothing is left behind.

    Raises:
        UsageError: The destination is a file, or below one.
        MiranteError: Nothing can be written there.
    """
    if is_remote(folder):
        _check_bucket(folder)
        return
    place = Path(folder)
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"push.destination: {folder}: {place} is not a folder; give another destination")
    try:
        with tempfile.TemporaryDirectory(prefix=".mirante-", dir=place) as inner:
            Path(inner, "file").write_bytes(b"mirante")
    except OSError as e:
        raise MiranteError(
            f"push.destination: {folder}: user {os.getuid()} cannot write to {place}: {e.strerror or e}; "
            "give it other permissions, or give another destination"
        ) from e


def _check_bucket(folder: str) -> None:
    path = os.path.join(folder, RECORDS, f".{uuid.uuid4().hex}")
    try:
        with files.explained(folder):
            files.write_text(path, "mirante")
            files.remove(path)
    except (MiranteError, OSError) as e:
        raise MiranteError(f"push.destination: {e}; or give another destination") from e
