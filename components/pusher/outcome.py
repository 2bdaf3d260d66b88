"""Outcome of the Pusher: the version that it pushed, or that the model was taken back."""

import os
from collections.abc import Mapping

from components.base import serving_folder
from components.base.outcome import Outcome, Output, RunResult, Serving
from components.base.words import quote
from components.pusher import rollback


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the pushed model's folder, or the version that was taken back, into the result."""
    properties = outputs["pushed_model"].properties
    result.pushed_model = properties.get("pushed_destination") if properties.get("pushed") == 1 else None
    if serving_folder.TAKEN_BACK not in properties:
        return Outcome()
    result.taken_back = version = int(properties[serving_folder.TAKEN_BACK])
    folder = serving.push_destination
    if version in serving_folder.list_versions(os.path.join(folder, rollback.FOLDER)):
        what, remedy = (
            "taken back",
            f"serve it again: {quote('mirante', 'rollback', folder, '--to', str(version))}",
        )
    else:
        record = serving_folder.record_path(folder, version)
        what, remedy = "removed", f"to push it again, remove {record} and run the same command"
    return Outcome(
        refusal=f"nothing was pushed: this model was version {version} in {folder}, and that version was "
        f"{what}, so that the model stays back; {remedy}"
    )


def explain_outdated(outputs: Mapping[str, Output]) -> str | None:
    """Return why the model has to be pushed again; None if the pushed version is served.

    A model that was pushed may have been damaged, superseded or removed since.
    """
    properties = outputs["pushed_model"].properties
    if serving_folder.TAKEN_BACK in properties:
        return "the model was taken back before; whether it still is, is looked up"
    if properties.get("pushed") != 1:
        return None
    folder, name = os.path.split(properties["pushed_destination"])
    version, highest = int(name), serving_folder.highest_version(folder)
    if highest == version:
        problem = serving_folder.find_damage(folder, version)
        if problem is not None:
            return f"{folder}/{name} is not what was pushed any more"
        recorded = serving_folder.read_record(folder, version) is not None
        return None if recorded else f"{folder}/{name} has no record yet of what was pushed"
    if version in serving_folder.list_versions(folder):
        return f"version {highest} of another model is served: this model is pushed again, above it"
    if serving_folder.read_record(folder, version) is None:
        return f"{folder}/{name} is gone, and so is the record of it: the model is pushed anew"
    return f"{folder}/{name} is gone: whether it was taken back, is looked up"
