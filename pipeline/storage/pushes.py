"""Notes in ML Metadata about pushed models: when one was taken back."""

import datetime
import os
from collections.abc import Collection
from pathlib import Path

from pipeline.storage.metadata_store import METADATA_FILE, sqlite_store

# Custom property of a PushedModel whose version was taken back: the time, in UTC.
TAKEN_BACK_AT = "taken_back_at"
_TYPE = "PushedModel"


def note_pushes(root: Path, folder: str, taken_back: Collection[int], restored: Collection[int]) -> None:
    """Note which versions in a push destination were taken back, and which are served again.

    Args:
        root: A pipeline root; nothing happens if it has no metadata store.
        folder: The push destination.
        taken_back: Versions.
        restored: Versions.
    """
    if not (root / METADATA_FILE).is_file():
        return
    from ml_metadata import errors
    from ml_metadata.metadata_store import MetadataStore

    store = MetadataStore(sqlite_store(root))
    try:
        pushes = store.get_artifacts_by_type(_TYPE)
    except errors.NotFoundError:
        return
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    changed = []
    for push in pushes:
        place, name = os.path.split(push.custom_properties["pushed_destination"].string_value)
        is_moved = not os.path.exists(place)  # a moved root whose paths the next run brings up to date
        if not name.isdecimal() or not (is_moved or os.path.realpath(place) == os.path.realpath(folder)):
            continue
        if int(name) in taken_back:
            push.custom_properties[TAKEN_BACK_AT].string_value = now
            changed.append(push)
        elif int(name) in restored and TAKEN_BACK_AT in push.custom_properties:
            del push.custom_properties[TAKEN_BACK_AT]
            changed.append(push)
    if changed:
        store.put_artifacts(changed)
