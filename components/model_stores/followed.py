"""A folder of versions that follows a model store, for a server that reads folders."""

import logging
import shutil
import threading

from components.base import serving_folder
from components.base.errors import MiranteError
from components.model_stores.store import fetch_served

POLL_SECS = 10.0
_logger = logging.getLogger("mirante.serve")


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
