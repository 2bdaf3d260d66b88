"""The files of a model that Mirante trains and pushes. Imports no TensorFlow for a folder on a disk.

    saved_model.pb                the graph: servers look for this file
    fingerprint.pb                drawn by TensorFlow for each SavedModel that it writes
    variables/variables.*         the weights, a TensorFlow checkpoint
    assets.extra/labels.txt       the class names, one per line, in the order of their labels
    assets.extra/task.txt         the recipe's task
    assets.extra/bit_depth.txt    data.bit_depth of the images it was trained on, if not 16
    assets.extra/tf_serving_warmup_requests    what servers ask the model before they serve it
    assets.extra/model_card.md, .json          facts for people, next to a pushed model; no part of the model

Of `assets.extra` TF Serving reads the requests only. In an artifact of TFX's type Model the SavedModel is in
`Format-Serving`.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from components.base import files
from components.base.paths import is_remote

MODEL_FILE = "saved_model.pb"
FINGERPRINT_FILE = "fingerprint.pb"
ASSETS = "assets.extra"
LABELS_FILE = f"{ASSETS}/labels.txt"
TASK_FILE = f"{ASSETS}/task.txt"
BIT_DEPTH_FILE = f"{ASSETS}/bit_depth.txt"
WARM_UP_FILE = f"{ASSETS}/tf_serving_warmup_requests"
# They may be written again, so they are not compared.
CARD_FILES = (f"{ASSETS}/model_card.md", f"{ASSETS}/model_card.json")
WEIGHTS = "variables/variables"
# The files that say which model it is and what it answers; the last one also says that it is whole.
IDENTITY = (FINGERPRINT_FILE, LABELS_FILE, TASK_FILE, MODEL_FILE)
ARTIFACT_FOLDER = "Format-Serving"
# The task of models without `TASK_FILE`, which are older than the file.
_FIRST_TASK = "classification"


def model_folder(uri: str) -> str:
    """Return the SavedModel's folder in an artifact of TFX's type Model."""
    return os.path.join(uri, ARTIFACT_FOLDER)


def is_saved_model(folder: str) -> bool:
    """Return whether a folder is a SavedModel, of Mirante or not."""
    return files.exists(os.path.join(folder, MODEL_FILE))


@contextlib.contextmanager
def on_disk(folder: str) -> Iterator[str]:
    """Yield the folder of a SavedModel, or of one in a bucket a copy, since TensorFlow reads few buckets."""
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mirante-model-") as temporary:
        # The version stays its name.
        copy = os.path.join(temporary, os.path.basename(folder.rstrip("/")))
        files.copy_tree(folder, copy, last=MODEL_FILE)
        yield copy


def describe_answers(
    class_names: Sequence[str], task: str, bit_depth: str | None = None
) -> Mapping[str, str]:
    """Return the contents of the files in `ASSETS`, by their paths in the model's folder."""
    labels = {LABELS_FILE: "".join(f"{name}\n" for name in class_names), TASK_FILE: f"{task}\n"}
    return labels if bit_depth is None else {**labels, BIT_DEPTH_FILE: f"{bit_depth}\n"}


def class_names_of(folder: str) -> tuple[str, ...] | None:
    """Return the classes that a SavedModel of Mirante knows; None for another one."""
    path = os.path.join(folder, LABELS_FILE)
    return tuple(files.read_text(path).splitlines()) if files.exists(path) else None


def task_of(folder: str) -> str:
    """Return the task of a SavedModel of Mirante."""
    path = os.path.join(folder, TASK_FILE)
    return files.read_text(path).strip() if files.exists(path) else _FIRST_TASK


def bit_depth_of(folder: str) -> str | None:
    """Return `data.bit_depth` of the images that a SavedModel was trained on; None if it is the default."""
    path = os.path.join(folder, BIT_DEPTH_FILE)
    return files.read_text(path).strip() if files.exists(path) else None


def class_aliases_of(folder: str) -> dict[str, dict[str, str]]:
    """Return the classes' names in further languages, by class and language, as the model card has them.

    The card of another program, or a damaged one, has none.
    """
    path = os.path.join(folder, CARD_FILES[1])
    if not files.exists(path):
        return {}
    try:
        found = json.loads(files.read_text(path))["model_details"].get("class_aliases", {})
        return {name: {code: str(alias) for code, alias in of.items()} for name, of in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def read_fingerprint(folder: str) -> bytes | None:
    """Return the fingerprint of a SavedModel; None if it has none."""
    path = os.path.join(folder, FINGERPRINT_FILE)
    return files.read_bytes(path) if files.exists(path) else None


def same_fingerprint(folder: str, other: str) -> bool:
    """Return whether one SavedModel is a copy of the other; reads two small files."""
    ours = read_fingerprint(folder)
    return ours is not None and ours == read_fingerprint(other)
