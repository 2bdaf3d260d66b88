"""`mirante rollback`: serve an older model again."""

import json
from pathlib import Path

import click

from components.base.redact import redact
from pipeline.commands.shared import example, working
from pipeline.run.output import quote_own, say


@click.command(epilog=example("mirante rollback runs/digits"))
@click.argument("root")
@click.option(
    "--to",
    "version",
    type=click.IntRange(0),
    metavar="VERSION",
    help="The version.  [default: the one before]",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def rollback(root: str, version: int | None, as_json: bool) -> int:
    """Serve an older model again.

    ROOT is a run's root, or the folder of versions that it pushes to. All higher versions are moved to the
    folder pushes/taken-back below, where TF Serving does not look; nothing is deleted. They stay back: a run
    that gives the same model again does not push it. With --to, a version that was taken back is served
    again. The stores of push.also go back too. ROOT may also be the address of such a store, which then goes
    back alone.
    """
    from components.model_stores.address import is_store

    if is_store(root):
        return _roll_back_store(root, version, as_json)
    from components.prediction.asked import find_push_destination
    from components.pusher.rollback import roll_back, roll_back_stores
    from pipeline.storage.pushes import note_pushes

    folder = find_push_destination(root)
    with working("going back"):
        done = roll_back(folder, version)
        stores = roll_back_stores(folder, done, ["mirante", "rollback", root])
    with working("noting it in ML Metadata"):
        for of_root in {Path(root), Path(folder).parent}:
            try:
                note_pushes(of_root, folder, done.taken_back, [done.version] if done.is_restored else [])
            except Exception as e:  # noqa: BLE001 - the model is served, whatever ML Metadata says
                say(f"mirante: warning: {of_root}: not noted in ML Metadata: {e}")
    if as_json:
        result = {"version": done.version, "path": done.path, "taken_back": dict(done.taken_back)}
        click.echo(json.dumps(result))
        return 0
    click.echo(f"version {done.version} is served from {folder}")
    for store in stores:
        click.echo(redact(f"  and from {store}"))
    for number, path in done.taken_back.items():
        click.echo(f"  version {number} is taken back: {path}")
    if done.taken_back:
        highest = max(done.taken_back)
        click.echo(f"\nServe it again:  {quote_own('rollback', root, '--to', str(highest))}")
    return 0


def _roll_back_store(address: str, version: int | None, as_json: bool) -> int:
    from components.model_stores.store import roll_back

    with working("going back"):
        version, taken_back = roll_back(address, version)
    if as_json:
        result = {"version": version, "path": redact(address), "taken_back": taken_back}
        click.echo(json.dumps(result))
        return 0
    click.echo(redact(f"version {version} is served from {address}"))
    for number in taken_back:
        click.echo(f"  version {number} is taken back")
    return 0
