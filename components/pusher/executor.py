"""Pusher: copies a blessed model to the versioned folder that TF Serving watches, by an atomic rename."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.base import files, serving_folder
from components.base.errors import MiranteError
from components.base.paths import is_in_bucket
from components.base.redact import redact
from components.base.saved_model import MODEL_FILE, is_saved_model, model_folder, same_fingerprint
from components.base.serving_folder import TAKEN_BACK, FileSum
from components.model_card.facts import Given
from components.model_card.files import read_facts, write_card
from components.model_stores.store import publish

# Keys of `custom_config`: the addresses of the recipe's `push.also`, and what the model card says of the run.
ALSO, CARD = "also", "card"
# Inputs besides TFX's: what the Evaluator measured, and the exports.
EVALUATION, EXPORTS = "evaluation", "exports"
# Property of a blessing, by TFX's Evaluator: the artifact of the baseline.
_BASELINE = "baseline_model"
_EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
_logger = logging.getLogger("mirante.push")


class TakenBackError(Exception):
    """The model was pushed before, and that version was removed since.

    Attributes:
        version: The version.
    """

    def __init__(self, version: int):
        super().__init__(f"version {version} was taken back")
        self.version = version


class AtomicPushExecutor(executor.Executor):
    """TFX's Pusher, except that a version's folder appears complete or not at all.

    The version is the second in which the model was blessed, not the second in which it is copied. If a push
    is killed after the rename, the next one finds its own version and leaves it, so one blessing gives one
    version. If an older model is pushed again, it becomes the highest version, which TF Serving then takes.
    """

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Push `model` if `model_blessing` and `infra_blessing` allow it, otherwise mark it as not pushed.

        A model that was taken back is marked as not pushed too, with the property `TAKEN_BACK`.
        """
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        blessing = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_BLESSING_KEY])
        # Vertex AI does not say when the model was blessed.
        blessed_at = blessing.mlmd_artifact.create_time_since_epoch // 1000 or int(time.time())
        try:
            path = push(self.GetModelPath(input_dict), destination.filesystem.base_directory, blessed_at)
        except TakenBackError as e:
            self._MarkNotPushed(pushed)
            pushed.set_string_custom_property(TAKEN_BACK, str(e.version))
            return
        custom = json.loads(exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY) or "null") or {}
        if CARD in custom and input_dict.get(EVALUATION):
            self._write_card(path, custom[CARD], input_dict, blessed_at)
        publish_everywhere(custom.get(ALSO, ()), path)
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=os.path.basename(path))

    def _write_card(
        self, path: str, given: Mapping[str, Any], input_dict: dict[str, Any], blessed_at: int
    ) -> None:
        """Write the model card next to the pushed model; if that fails, the push is as good as it was."""
        try:
            (evaluation,) = input_dict[EVALUATION]
            exports = next(iter(input_dict.get(EXPORTS) or ()), None)
            (blessing,) = input_dict[standard_component_specs.MODEL_BLESSING_KEY]
            facts = read_facts(
                Given(**given),
                version=os.path.basename(path),
                run_id=(self._context.pipeline_run_id if self._context else None) or "",
                blessed_at=blessed_at,
                model=self.GetModelPath(input_dict),
                evaluation=evaluation.uri,
                exports=exports.uri if exports else None,
                baseline=_name_baseline(path, blessing.get_string_custom_property(_BASELINE)),
            )
            # A version that was taken back meanwhile would come back as a folder with nothing but its card.
            with serving_folder.hold_lock(os.path.dirname(path)):
                if is_saved_model(path):
                    write_card(path, facts)
        except Exception as e:  # noqa: BLE001 - a card is no reason to fail a push
            _logger.warning("no model card: %s: %s", type(e).__name__, e)


def _name_baseline(path: str, baseline: str) -> str | None:
    """Return the version of the baseline; empty if it is not served any more, None without a baseline.

    Args:
        path: The version that was pushed.
        baseline: The artifact of the baseline; empty if there was none.
    """
    if not baseline:
        return None
    versions = serving_folder.list_versions(os.path.dirname(path))
    known = [number for number, each in versions.items() if same_fingerprint(model_folder(baseline), each)]
    return str(known[0]) if known else ""


def publish_everywhere(addresses: Sequence[str], path: str) -> None:
    """Have model stores serve a version of the push destination, and note them there for a rollback.

    A version that was taken back meanwhile, or followed by another one, is left out.

    Raises:
        MiranteError: A store cannot be asked. The next run of the node continues there.
    """
    if not addresses:
        return
    folder, version = os.path.split(path)
    with serving_folder.hold_lock(folder):
        serving_folder.note_stores(folder, addresses)
        if serving_folder.highest_version(folder) != int(version):
            _logger.warning("version %s is not served any more, so model stores do not get it", version)
            return
        measured = serving_folder.measure_files(path)
        for address in addresses:
            if publish(address, path, int(version), measured):
                _logger.info("version %s is served by %s too", version, redact(address))


def push(model_path: str, base_directory: str, version: int) -> str:
    """Make the SavedModel the highest version in `base_directory`, and return that version's path.

    Nothing is copied if the model already is that version, undamaged. The version is `version`, or the number
    after the highest version that is or was there. The copy is read back and compared, file by file.

    Raises:
        TakenBackError: The model was pushed there before, and that version was removed.
        MiranteError: The copy differs from the model.
    """
    wanted = serving_folder.measure_files(model_path)
    with serving_folder.hold_lock(base_directory):
        there = serving_folder.list_versions(base_directory)
        for highest, path in list(there.items())[:1]:
            problem = _describe_difference(model_path, path, wanted)
            if problem is None:
                if serving_folder.read_record(base_directory, highest) is None:
                    serving_folder.write_record(base_directory, highest, wanted)
                return path
            if same_fingerprint(model_path, path):
                _logger.warning("%s is damaged: %s: the model is pushed as a new version", path, problem)
        recorded = serving_folder.read_records(base_directory)
        taken_back = serving_folder.find_taken_back(base_directory, wanted)
        if taken_back is not None:
            raise TakenBackError(taken_back)
        # A server may still have a removed version in its memory.
        version = max(version, *(number + 1 for number in (*there, *recorded)), 0)
        for number, record in recorded.items():
            if record.digest == serving_folder.model_digest(wanted) and number in there:
                _logger.info("version %d holds the same model as version %d", version, number)
                break
        path = _copy(model_path, base_directory, version, wanted)
        serving_folder.write_record(base_directory, int(os.path.basename(path)), wanted)
        return path


def _describe_difference(model_path: str, path: str, wanted: Mapping[str, FileSum]) -> str | None:
    """Describe what differs between the model and a version; None if the version is the model, undamaged."""
    if not is_saved_model(path):
        return f"{MODEL_FILE} is missing"  # a push into a bucket that was killed
    if is_in_bucket(path):
        # A task only has the files that say which model it is.
        return None if same_fingerprint(model_path, path) else "it is another model"
    return serving_folder.find_difference(wanted, serving_folder.measure_files(path))


def _copy(model_path: str, base_directory: str, version: int, wanted: Mapping[str, FileSum]) -> str:
    """Copy the model to a version, or to the next free one, and read it back."""
    path = os.path.join(base_directory, str(version))
    if is_in_bucket(base_directory):
        # Buckets have no atomic rename of folders. Servers look for the model's file, so it comes last.
        files.copy_tree(model_path, path, last=MODEL_FILE)
        _read_back(path, wanted)
        return path
    # TF Serving only looks at folders whose name is a number.
    own = hashlib.sha256(f"{socket.gethostname()}:{model_path}".encode()).hexdigest()[:12]
    temporary = Path(base_directory, f".{version}.{own}-{uuid.uuid4().hex[:12]}.incomplete")
    for left in Path(base_directory).iterdir():
        # A killed push of this model on this machine left it: this process holds the lock of all pushes.
        if re.fullmatch(rf"\.[0-9]+\.{own}-[0-9a-f]+\.incomplete", left.name):
            shutil.rmtree(left)
    try:
        io_utils.copy_dir(model_path, str(temporary))
        _read_back(str(temporary), wanted)
        while True:
            try:
                temporary.rename(path)
                return path
            except OSError as e:
                if e.errno not in _EXISTS:
                    raise
                # Another program, which does not hold the lock, made it.
                version += 1
                path = os.path.join(base_directory, str(version))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _read_back(path: str, wanted: Mapping[str, FileSum]) -> None:
    problem = serving_folder.find_difference(wanted, serving_folder.measure_files(path))
    if problem is not None:
        raise MiranteError(
            f"{path}: {problem}, read back after it was copied; is the disk or the network sound? Run again"
        )
