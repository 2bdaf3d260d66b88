"""Going back to an older version in a push destination. Imports no TensorFlow.

serving/1795358001/                      served again
serving/pushes/taken-back/1795361144/    served before
serving/pushes/1795361144.json           stays: the record of a version that is gone keeps its model back

A bucket cannot rename: there a version is copied aside, then removed, its saved_model.pb first.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from components.base import files, serving_folder
from components.base.errors import MiranteError, UsageError
from components.base.paths import is_in_bucket
from components.base.saved_model import MODEL_FILE, is_saved_model
from components.base.words import format_some, quote
from components.model_stores.store import follow

FOLDER = os.path.join(serving_folder.RECORDS, "taken-back")
_FEW = 10


@dataclasses.dataclass(frozen=True)
class RolledBack:
    """The result of going back.

    Attributes:
        version: The version that is served now.
        path: Its folder.
        taken_back: Where the versions that were served before are now, by their number.
        is_restored: Whether the served version had been taken back before.
    """

    version: int
    path: str
    taken_back: Mapping[int, str]
    is_restored: bool


def roll_back(folder: str, version: int | None = None) -> RolledBack:
    """Have an older version served: move all higher versions aside, and the version back if it was aside.

    Nothing is deleted. The version that is served stays in its place until the last step, so that a server
    never sees another one in between. After an interruption the same call finishes.

    Args:
        folder: The push destination.
        version: The version to serve; the one below the served one when None.

    Raises:
        UsageError: There is no such version, or none to go back to.
        MiranteError: The version is damaged, or another one was pushed into a bucket meanwhile.
    """
    with serving_folder.hold_lock(folder):
        there = _list_whole(folder)
        aside = serving_folder.list_versions(os.path.join(folder, FOLDER))
        # With what is left of one that an interrupted call moved aside, but without a push under way.
        seen = {
            number: path
            for number, path in serving_folder.list_versions(folder).items()
            if number in there or number in aside
        }
        version = _choose(folder, seen, aside) if version is None else version
        if version not in there and version not in aside:
            known = format_some(sorted({*there, *aside}, reverse=True), _FEW, none="none")
            raise UsageError(f"--to {version}: expected a version in {folder}, got none; there are {known}")
        path = os.path.join(folder, str(version))
        _check_whole(folder, version, there.get(version) or aside[version])
        if is_restored := version not in there:
            _move(aside[version], path)
        taken_back = {
            number: _move_aside(folder, number, seen[number]) for number in sorted(seen) if number > version
        }
        # The lock of a bucket locks nothing, neither for a push nor here.
        highest = max(_list_whole(folder))
        if highest > version:
            raise MiranteError(
                f"{folder}: version {highest} was pushed meanwhile, so that {version} is not served; wait "
                "until no run pushes there, and give the same command again"
            )
    return RolledBack(version, path, taken_back, is_restored)


def _list_whole(folder: str) -> dict[int, str]:
    """Return the versions in a folder, in a bucket those that are not just being copied."""
    versions = serving_folder.list_versions(folder)
    if not is_in_bucket(folder):
        return versions
    return {number: path for number, path in versions.items() if is_saved_model(path)}


def roll_back_stores(folder: str, done: RolledBack, command: Sequence[str]) -> list[str]:
    """Have the model stores of a push destination serve the version that it serves; return their addresses.

    Args:
        folder: The push destination.
        done: What was done there.
        command: The command that was given, for the message.

    Raises:
        MiranteError: A store cannot be asked.
    """
    with serving_folder.hold_lock(folder):
        addresses = serving_folder.read_stores(folder)
        highest = max(_list_whole(folder), default=done.version)
        if addresses and highest > done.version:
            raise MiranteError(
                f"{folder}: version {highest} was pushed meanwhile, and model stores serve it too; then run "
                f"{quote(*command, '--to', str(done.version))}"
            )
        for address in addresses:
            try:
                follow(address, done.path, done.version)
            except MiranteError as e:
                again = quote(*command, "--to", str(done.version))
                said = f"{folder} serves version {done.version}, but {e}; then run {again}"
                raise MiranteError(said) from e
    return addresses


def _choose(folder: str, there: Mapping[int, str], aside: Mapping[int, str]) -> int:
    """Return the version below the served one."""
    if len(there) > 1:
        return list(there)[1]
    older = format_some(sorted(aside, reverse=True), _FEW)
    hint = (
        f"serve one that was taken back, with --to ({older})" if older else "train a better one: mirante run"
    )
    served = f"only version {next(iter(there))}" if there else "none"
    raise UsageError(f"{folder}: expected an older version to go back to, got {served}; {hint}")


def _check_whole(folder: str, version: int, path: str) -> None:
    record = serving_folder.read_record(folder, version)
    problem = "it is no SavedModel" if not is_saved_model(path) else None
    if problem is None and record is not None:
        problem = serving_folder.find_difference(record.files, serving_folder.measure_files(path))
    if problem is not None:
        raise MiranteError(f"{path}: cannot be served: {problem}; choose another version with --to")


def _move_aside(folder: str, version: int, path: str) -> str:
    """Move a version to the folder of those that were taken back; return its new place."""
    if serving_folder.read_record(folder, version) is None:
        serving_folder.write_record(folder, version, serving_folder.measure_files(path))
    target = os.path.join(folder, FOLDER, str(version))
    _move(path, target)
    return target


def _move(source: str, target: str) -> None:
    """Move a version; in a bucket a call that was interrupted is finished by the next one."""
    if not is_in_bucket(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(source, target)
        return
    model_file = os.path.join(source, MODEL_FILE)
    # Servers look for the model's file: it comes last, and goes first.
    if files.exists(model_file):
        files.copy_tree(source, target, last=MODEL_FILE)
        files.remove(model_file)
    files.remove_tree(source)
