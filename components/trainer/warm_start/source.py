"""Trained weights by the names of their variables, in any place and format.

    a pushed model          the SavedModel's folder, or the folder of its versions: the highest
    a Keras file            `.keras`, `.weights.h5`, `.h5`
    a TensorFlow checkpoint its prefix, or its folder: the latest; those of the Object Detection API too

Names are the paths of Keras' variables (`backbone/conv2d/kernel`). What Mirante writes has them: in the
SavedModels of components/trainer/export.py and the checkpoints of components/trainer/checkpoints.py, under
the keys `weights/<path>/.ATTRIBUTES/VARIABLE_VALUE`, in which "/" is written as ".S" and "." as "..".
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator

import h5py
import keras
import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.base.errors import MiranteError, UsageError
from components.base.saved_model import ARTIFACT_FOLDER, MODEL_FILE, WEIGHTS, class_names_of, is_saved_model
from components.base.serving_folder import version_number
from components.models.weights_file import dataset_shapes
from components.trainer.checkpoints import by_path
from components.trainer.warm_start.coco_head import head_names, reorder_codes
from components.trainer.warm_start.object_detection_api import keras_names

_KEY = "training.warm_start.from"
_KINDS = "a pushed model or the folder of its versions, a .keras or .h5 file, a TensorFlow checkpoint"
_HDF5 = (".h5", ".hdf5")
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_OURS = "weights/"
_WEIGHTS_IN_KERAS = "model.weights.h5"
# More than a small network's names take.
_SPARE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Source:
    """Trained weights, read one by one.

    Attributes:
        path: Where they were found: a file, or the prefix of a checkpoint.
        shapes: By name.
        read: Gives the value of a name.
        class_names: The classes of its logits; None if unknown.
        is_of_api: Whether it has a detector's head of the Object Detection API.
        input_range: What it was trained to take for black and white; None if unknown.
    """

    path: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], Array]
    class_names: tuple[str, ...] | None = None
    is_of_api: bool = False
    input_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, path: str, values: dict[str, Array]) -> Source:
        """Make a source of values in memory."""
        return cls(path, {name: value.shape for name, value in values.items()}, values.__getitem__)


def locate(path: str) -> str:
    """Return the file, or the prefix of the checkpoint, that `path` means.

    Raises:
        UsageError: Nothing is there, or nothing that could be read.
    """
    if not tf.io.gfile.isdir(path):
        prefix = re.sub(r"\.(index|data-\d+-of-\d+)$", "", path)
        if tf.io.gfile.exists(f"{prefix}.index"):
            return prefix
        if not tf.io.gfile.exists(path):
            raise UsageError(f"{_KEY}: there is nothing at {path}; give {_KINDS}")
        if path.endswith((".keras", *_HDF5)):
            return path
        raise UsageError(f"{_KEY}: {path} is a file of no known kind; give {_KINDS}")
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(path)]
    # A folder of versions, or a model as the pipeline keeps it.
    versions = sorted((name for name in names if version_number(name) is not None), key=int)
    for folder in (path, *(os.path.join(path, name) for name in (*versions[-1:], ARTIFACT_FOLDER))):
        if is_saved_model(folder):
            return os.path.join(folder, WEIGHTS)
    with _named(path):
        latest = tf.train.latest_checkpoint(path)
    if latest is None:
        raise UsageError(
            f"{_KEY}: there are no weights in {path}: neither {MODEL_FILE}, nor folders of versions with "
            f"it, nor a TensorFlow checkpoint; it has {', '.join(sorted(names)[:5]) or 'nothing'}. "
            f"Give {_KINDS}"
        )
    return str(latest)


def digest(path: str) -> str:
    """Return a SHA-256 that tells these weights from others under the same name.

    For a checkpoint, and the one in a SavedModel, the index is enough: it has the checksum of every tensor.

    Raises:
        UsageError: See `locate`.
    """
    file = locate(path)
    found = hashlib.sha256()
    with tf.io.gfile.GFile(file if tf.io.gfile.exists(file) else f"{file}.index", "rb") as opened:
        while block := opened.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def open_source(path: str, model: keras.Model) -> Source:
    """Open the source that `path` means.

    Args:
        path: See `locate`.
        model: The network that is to take them: Keras 3's `.weights.h5` files have no names, and are read as
            those of a network like it.

    Raises:
        UsageError: There is nothing, or nothing that could be read.
        MiranteError: It is broken.
    """
    found = locate(path)
    with _named(found):
        if found.endswith((".keras", *_HDF5)):
            source = _hdf5(found, model)
        else:
            source = _checkpoint(found)
    return dataclasses.replace(source, read=lambda name: _checked(source, name))


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Give every error of reading a damaged file the file's name."""
    try:
        yield
    except MiranteError:
        raise
    # h5py, zipfile and TensorFlow raise nearly anything.
    except Exception as e:
        raise MiranteError(
            f"{_KEY}: {path} cannot be read: {str(e).strip()[:500] or type(e).__name__}. Is it whole? Copy "
            f"it again, or give {_KINDS}"
        ) from e


def _checked(source: Source, name: str) -> Array:
    """Return a value that is of its shape, and a number everywhere."""
    with _named(source.path):
        value = np.asarray(source.read(name))
        if value.shape != source.shapes[name]:
            raise ValueError(f"{name} is of shape {value.shape}, not {source.shapes[name]}")
        # bfloat16 is of no kind that NumPy knows.
        if value.dtype.kind not in "fiubV" or not np.isfinite(value.astype(np.float32)).all():
            raise ValueError(f"{name} holds values that are no numbers")
        return value


def _hdf5(path: str, model: keras.Model) -> Source:
    """Open a file of Keras'; only the variables that are asked for are read."""
    folder = tempfile.TemporaryDirectory()
    # Its object, which `read` keeps, removes it when nobody reads any more.
    local = os.path.join(folder.name, "source")
    # Keras and HDF5 read local files alone.
    tf.io.gfile.copy(path, local)
    if path.endswith(".keras"):
        # Loading the model would run what is in it, and give its variables other paths.
        with zipfile.ZipFile(local) as archive:
            _check_size(archive.getinfo(_WEIGHTS_IN_KERAS), model)
            local = archive.extract(_WEIGHTS_IN_KERAS, folder.name)
    with h5py.File(local) as file:
        shapes = dataset_shapes(file)
        is_named = "layer_names" in file.attrs or "model_weights" in file
        key_of = _named_hdf5(shapes) if is_named else _numbered_hdf5(shapes, model, folder.name)

    def read(name: str) -> Array:
        with h5py.File(os.path.join(folder.name, os.path.relpath(local, folder.name))) as file:
            value: Array = file[key_of[name]][()]
            return value

    return Source(path, {name: shapes[key] for name, key in key_of.items()}, read)


def _check_size(weights: zipfile.ZipInfo, model: keras.Model) -> None:
    """Refuse to unpack what is far larger than weights and an optimiser's state could be."""
    needed = sum(int(np.prod(variable.shape)) for variable in model.variables) * 4
    if weights.file_size > _SPARE_BYTES + 16 * needed:
        raise ValueError(
            f"{weights.filename} in it would be {weights.file_size:,} bytes, and the network takes {needed:,}"
        )


def _checkpoint(prefix: str) -> Source:
    """Open a checkpoint of a training, of a SavedModel, or of another program, under its own names."""
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    keys = {key: key for key in shapes}
    heads: dict[str, str] = {}
    theirs: dict[str, str] = {}
    if ours := [key for key in shapes if key.startswith(_OURS) and key.endswith(_VALUE)]:
        # The rest is optimisers' state, and what the Transform graph holds.
        keys = {_unescaped(key[len(_OURS) : -len(_VALUE)]): key for key in ours}
    elif theirs := keras_names(shapes):
        heads = head_names(shapes)
        theirs |= heads
        keys = {**{key: key for key in set(shapes) - set(theirs.values())}, **theirs}

    def read(name: str) -> Array:
        value: Array = reader.get_tensor(keys[name])
        return reorder_codes(name, value) if name in heads else value

    return Source(
        prefix,
        {name: tuple(shapes[key]) for name, key in keys.items()},
        read,
        class_names_of(os.path.dirname(os.path.dirname(prefix))),
        is_of_api=bool(heads),
        # So the API and TF-Slim scale pixels for MobileNetV2.
        input_range=(-1.0, 1.0) if theirs else None,
    )


def _unescaped(name: str) -> str:
    return re.sub(r"\.([.S])", lambda match: {".": ".", "S": "/"}[match[1]], name)


def _named_hdf5(keys: Iterable[str]) -> dict[str, str]:
    """Name the arrays of Keras 2's layout, which Keras 3 has too: layer, then the variable's path."""
    of_model = [key for key in keys if key.startswith("model_weights/")] or list(keys)
    inside = {key.removeprefix("model_weights/"): key for key in of_model}
    return {path.partition("/")[2].removesuffix(":0"): key for path, key in inside.items()}


def _numbered_hdf5(keys: Iterable[str], model: keras.Model, folder: str) -> dict[str, str]:
    """Name the arrays of Keras 3's own layout, which numbers layers per class and variables per layer.

    A network like `model` whose variables hold their numbers is written to see which array is which variable.
    Arrays elsewhere keep their names in the file.
    """
    twin = keras.models.clone_model(model)
    for number, variable in enumerate(twin.variables):
        variable.assign(np.full(variable.shape, number))
    written = os.path.join(folder, "numbers.weights.h5")
    twin.save_weights(written)
    names = list(by_path(model.variables))
    with h5py.File(written) as numbers:
        name_of = {key: names[int(numbers[key][()].flat[0])] for key in dataset_shapes(numbers)}
    os.remove(written)
    return {name_of.get(key, key): key for key in keys}
