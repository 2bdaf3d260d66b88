"""Opens the stores of models, and does with them what a push, a rollback and a reader want."""

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence

from components.base import serving_folder
from components.base.errors import MiranteError, UsageError
from components.base.redact import redact
from components.base.serving_folder import FileSum, measure_files, model_digest
from components.base.words import format_some
from components.model_stores.address import parse_address
from components.model_stores.protocol import ModelStore, StoredVersion

_FEW = 10
POLL_SECS = 10.0
_logger = logging.getLogger("mirante.serve")


def open_store(address: str) -> ModelStore:
    """Open a store; it is asked only when one of its methods is called.

    Raises:
        UsageError: It is not the address of a store, or what speaks to it is not installed.
    """
    try:
        parsed = parse_address(address)
    except ValueError as e:
        raise UsageError(f"{redact(address)}: {e}") from e
    if parsed.kind == "mongodb":
        from components.model_stores.gridfs import GridFsStore

        return GridFsStore(parsed)
    from components.model_stores.mlflow_registry import MlflowStore

    return MlflowStore(parsed)


def publish(address: str, folder: str, version: int, files: Mapping[str, FileSum]) -> bool:
    """Have a store serve a SavedModel; return whether it had to be sent.

    Args:
        address: The store.
        folder: The SavedModel.
        version: Its number.
        files: Its files.

    Raises:
        MiranteError: The store cannot be asked, or has another model as that version.
    """
    store, digest = open_store(address), model_digest(files)
    found = next((each for each in store.list_versions() if each.number == version), None)
    if found is not None and found.digest != digest:
        raise MiranteError(
            f"push.also: {redact(address)}: version {version} is another model there; give the model another "
            "name, or remove that version"
        )
    if found is None:
        store.add(folder, version, digest)
    elif store.find_served() != version:
        store.serve(version)
    return found is None


def follow(address: str, folder: str, version: int) -> None:
    """Have a store serve the version that the push destination serves; it is sent if the store lacks it.

    Args:
        address: The store.
        folder: The SavedModel.
        version: Its number.

    Raises:
        MiranteError: The store cannot be asked, or has another model as that version.
    """
    publish(address, folder, version, measure_files(folder))
    open_store(address).serve(version)


def fetch_served(address: str, folder: str) -> str:
    """Fetch the version that a store serves into a folder of versions; return its path.

    Raises:
        UsageError: The store has no model of that name.
        MiranteError: The store cannot be asked, or the files are damaged.
    """
    store = open_store(address)
    version = store.find_served()
    if version is None:
        raise UsageError(
            f"{redact(address)}: no model there; push one with push.also, or give another address"
        )
    path = os.path.join(folder, str(version))
    if os.path.isdir(path):
        return path
    digest = next(each.digest for each in store.list_versions() if each.number == version)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder) as temporary:
        inside = os.path.join(temporary, "model")
        os.mkdir(inside)
        store.fetch(version, inside)
        if model_digest(measure_files(inside)) != digest:
            raise MiranteError(f"{redact(address)}: version {version} is damaged; push it again")
        os.rename(inside, path)
    return path


def roll_back(address: str, version: int | None = None) -> tuple[int, list[int]]:
    """Have a store serve an older version; return it, and the versions that this took back.

    Args:
        address: The store.
        version: The version to serve; the one below the served one when None.

    Raises:
        UsageError: There is no such version, or none to go back to.
        MiranteError: The store cannot be asked.
    """
    store = open_store(address)
    there, served = store.list_versions(), store.find_served()
    if version is None:
        version = _choose(address, there, served)
    if version not in {each.number for each in there}:
        known = format_some([each.number for each in there], _FEW, none="none")
        raise UsageError(
            f"--to {version}: expected a version in {redact(address)}, got none; there are {known}"
        )
    store.serve(version)
    return version, [each.number for each in there if each.number > version and not each.is_taken_back]


def _choose(address: str, there: Sequence[StoredVersion], served: int | None) -> int:
    older = [each.number for each in there if served is not None and each.number < served]
    if older:
        return older[0]
    got = f"only version {served}" if served is not None else "none"
    raise UsageError(
        f"{redact(address)}: expected an older version to go back to, got {got}; train a better one: "
        "mirante run"
    )


def check_can_publish(addresses: Sequence[str]) -> None:
    """Ask every store for its versions, so that a run fails before it trains.

    Raises:
        UsageError: An address is wrong, or what speaks to a store is not installed.
        MiranteError: A store does not answer.
    """
    for address in addresses:
        open_store(address).list_versions()


def update_folder(address: str, folder: str) -> int:
    """Fetch the version that a store serves, and remove all others; return the version.

    The new one is there before the former one goes, so that a server always has one.

    Raises:
        UsageError: The store has no model of that name.
        MiranteError: The store cannot be asked, or the files are damaged.
    """
    path = fetch_served(address, folder)
    versions = serving_folder.list_versions(folder)
    served = next(version for version, each in versions.items() if each == path)
    for version, each in versions.items():
        if version != served:
            shutil.rmtree(each)
    return served


def follow_store(address: str, folder: str, poll_secs: float = POLL_SECS) -> threading.Event:
    """Update a folder again and again in a thread, until the event that this returns is set.

    A store that does not answer is asked again; what was fetched stays.
    """
    stopped = threading.Event()

    def follow() -> None:
        while not stopped.wait(poll_secs):
            try:
                update_folder(address, folder)
            except MiranteError as e:
                _logger.warning("%s; asked again in %g s", e, poll_secs)
            except Exception as e:  # noqa: BLE001  # Such as a full disk: the thread must live.
                _logger.warning("%s: %s; asked again in %g s", type(e).__name__, e, poll_secs)

    threading.Thread(target=follow, daemon=True).start()
    return stopped
