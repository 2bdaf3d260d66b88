"""`mirante clean`: free the disk of what a root can do without."""

import json
import os
from pathlib import Path

import click

from components.base.errors import MiranteError, UsageError
from components.base.paths import is_in_bucket
from components.base.words import format_count
from pipeline.commands.shared import example, working
from pipeline.run.output import quote_own


@click.command(epilog=example("mirante clean runs/digits --delete"))
@click.argument("root")
@click.option("--delete", is_flag=True, help="Remove what is listed. Without it, nothing is removed.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def clean(root: str, delete: bool, as_json: bool) -> int:
    """List, or remove, what a run's root can do without.

    This is results of earlier runs, and checkpoints of finished trainings. The newest run and the last one
    that pushed a model stay complete, so the same `mirante run` executes nothing afterwards. All versions of
    models, ingested data, logs and what Mirante did not make stay. A node whose result was removed executes
    again when a run needs it.
    """
    from pipeline.storage.clean import find_removable, remove
    from pipeline.storage.metadata_copy import keep_copy, repair_store
    from pipeline.storage.metadata_store import METADATA_FILE, sqlite_store
    from pipeline.storage.root_lease import find_holder
    from pipeline.storage.root_lock import lock_root

    folder = Path(os.path.abspath(root))
    if is_in_bucket(root):
        raise UsageError(f"{root}: expected a root on a disk, got a bucket; clean it by its own rules")
    if not (folder / METADATA_FILE).is_file():
        raise UsageError(f"{root}: expected the root of a run, got a folder without {METADATA_FILE}")
    with lock_root(folder):
        repair_store(folder)
        from ml_metadata.metadata_store import MetadataStore

        store = MetadataStore(sqlite_store(folder))
        if holder := find_holder(store):
            raise MiranteError(f"{root} is in use by run {holder}: wait until that run has ended")
        with working("measuring folders"):
            found = find_removable(folder, store)
        if delete:
            with working("removing folders"):
                remove(store, found)
                keep_copy(folder)
    total = sum(item.size_bytes for item in found)
    if as_json:
        listed = [{"path": str(item.path), "what": item.what, "bytes": item.size_bytes} for item in found]
        click.echo(json.dumps({"deleted": delete, "bytes": total, "folders": listed}))
        return 0
    for item in found:
        click.echo(f"{_format_size(item.size_bytes)}  {os.path.relpath(item.path)}  ({item.what})")
    end = "removed" if delete else "can be removed"
    click.echo(f"{_format_size(total)}  in {format_count(found, 'folder')} {end}")
    if found and not delete:
        click.echo(f"\nRemove:  {quote_own('clean', root, '--delete')}")
    return 0


def _format_size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:10,.1f} MB"
