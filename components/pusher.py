"""Pusher: a blessed model to the versioned folder that TF Serving watches, by atomic rename."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from tfx.components.pusher import executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.buckets import is_in_bucket

MODEL_FILE = "saved_model.pb"


class AtomicPushExecutor(executor.Executor):
    """TFX's Pusher, whose version folder appears complete or not at all.

    The version is the second in which the model was blessed, not the one in which it is copied: a push that
    was killed after the rename and is run again finds its own version and leaves it, so one blessing gives
    one version. An older model that is pushed again becomes the highest version, which TF Serving then takes.
    """

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Pushes `model` if `model_blessing` and `infra_blessing` say so, else marks it as not pushed."""
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        blessing = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_BLESSING_KEY])
        # Vertex AI does not tell when.
        blessed_at = blessing.mlmd_artifact.create_time_since_epoch // 1000 or int(time.time())
        path = push(self.GetModelPath(input_dict), destination.filesystem.base_directory, version=blessed_at)
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=os.path.basename(path))


def push(model_path: str, base_directory: str, version: int) -> str:
    """Makes the SavedModel the highest version in `base_directory` and returns that version's path.

    Nothing is copied when it is that already. The version is `version`, or the number after the highest one
    there is.
    """
    highest = highest_version(base_directory)
    if highest is not None:
        path = os.path.join(base_directory, str(highest))
        if _same_model(model_path, path):
            return path
        version = max(version, highest + 1)
    path = os.path.join(base_directory, str(version))
    # TF Serving looks at folders whose name is a number, and at no others.
    temporary = os.path.join(base_directory, f".{version}.incomplete")
    for left in fileio.glob(os.path.join(base_directory, ".*.incomplete")):
        fileio.rmtree(left)  # by a push that was killed
    if is_in_bucket(base_directory):
        # A folder cannot be renamed there, or not at once. Servers look for the model's file: it comes last.
        io_utils.copy_dir(model_path, path, deny_regex_patterns=[re.escape(MODEL_FILE)])
        io_utils.copy_file(os.path.join(model_path, MODEL_FILE), os.path.join(path, MODEL_FILE))
        return path
    io_utils.copy_dir(model_path, temporary)
    fileio.rename(temporary, path)
    return path


def highest_version(base_directory: str) -> int | None:
    """The version that TF Serving serves, None where there is none."""
    if not fileio.exists(base_directory):
        return None
    names = (name.rstrip("/") for name in fileio.listdir(base_directory))
    return max((int(name) for name in names if name.isdigit()), default=None)


def _same_model(model_path: str, path: str) -> bool:
    ours, theirs = (os.path.join(folder, "fingerprint.pb") for folder in (model_path, path))
    # A push into a bucket that was killed.
    if not fileio.exists(os.path.join(path, MODEL_FILE)):
        return False
    # A folder that somebody else put there may have none.
    if not (fileio.exists(ours) and fileio.exists(theirs)):
        return False
    with fileio.open(ours, "rb") as our_file, fileio.open(theirs, "rb") as their_file:
        return bool(our_file.read() == their_file.read())
