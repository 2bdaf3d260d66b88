"""A data set of tensorflow_datasets: by its name, or from the folder in which it lies prepared.

    oxford_iiit_pet                  the version that tensorflow_datasets takes by itself
    emnist/letters                   a configuration
    oxford_iiit_pet:4.0.0            a version
    data/oxford_iiit_pet/4.0.0       a prepared folder; the code that prepared it is not needed

A name is looked up in TFDS_DATA_DIR (~/tensorflow_datasets where that is not set); what is not prepared there
is downloaded and prepared. The encoded images are kept as they are. Images of a split whose name means
none (`extra`, `unsupervised`) are left out, which is one reject a split; --split-names takes them in.

https://www.tensorflow.org/datasets/api_docs/python/tfds
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.extras import install_command
from components.base.words import suggest
from components.ingest.files import decode_name, label_of
from components.ingest.item import Item, Reject
from components.ingest.sources.context import SourceContext
from components.ingest.sources.upright import must_transpose, transpose_png
from components.ingest.truth import Label
from schemas import features as contract

# Files that tensorflow_datasets writes next to the records; the second since its version 4.
_INFO_FILE = "dataset_info.json"
_FEATURES_FILE = "features.json"
_NAME = re.compile(r"[A-Za-z]\w*(/[\w.+-]+)?(:[\d*]+\.[\d*]+\.[\d*]+)?")
# What its data sets call the image's own file name; the first that is there counts.
_FILE_NAME_FEATURES = ("image/filename", "image/file_name", "file_name", "filename", "image_name")
_READS = "The source tfds reads data sets with one image and one class in every example"


class _Features(NamedTuple):
    """Names of the features that are read; `file_name` is None if there is none."""

    image: str
    label: str
    file_name: str | None


def is_prepared(folder: Path) -> bool:
    """Return whether tensorflow_datasets has prepared a data set in this very folder."""
    return (folder / _INFO_FILE).is_file() and (folder / _FEATURES_FILE).is_file()


def is_name(given: str) -> bool:
    """Return whether INPUT looks like a data set's name and is not a folder with data to read."""
    folder = Path(given)
    if _NAME.fullmatch(given) is None or (folder / contract.MANIFEST).is_file():
        return False
    return not any(next(folder.glob(f"{above}{_INFO_FILE}"), None) for above in ("", "*/", "*/*/"))


def locate(name: str) -> Path:
    """Return the folder in which the data set lies prepared; downloads and prepares it where it does not yet.

    Raises:
        UsageError: tensorflow_datasets does not know the name.
        MiranteError: Preparing fails.
    """
    tfds = _library()
    try:
        with _quiet_absl():
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
    except Exception as error:
        if isinstance(error, tfds.core.DatasetNotFoundError):
            hint = suggest(re.split("[/:]", name)[0], tfds.list_builders()) or "."
            raise UsageError(
                f"INPUT {name}: tensorflow_datasets {tfds.__version__} does not know it, and nothing "
                f"of this name and version is prepared in {_data_dir(tfds)}{hint} INPUT is a name, "
                f"or a folder that holds {_INFO_FILE}"
            ) from error
        raise UsageError(f"INPUT {name}: tensorflow_datasets refuses it: {_said(error)}") from error
    folder = Path(os.fspath(builder.data_dir)).absolute()
    if not (folder / _INFO_FILE).is_file():
        try:
            # It tells its progress on standard output, which is the command's answer.
            with contextlib.redirect_stdout(sys.stderr):
                builder.download_and_prepare()
        except Exception as error:
            raise MiranteError(
                f"{name} is not prepared in {folder}, and downloading or preparing it failed: "
                f"{_said(error)}\nWithout a network, run `tfds build {name}` where there is one, copy the "
                "folder that it prepares, and give that folder as INPUT, or its data directory as "
                "TFDS_DATA_DIR"
            ) from error
    return folder


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per example; its path is its own file name, or `<data set>/<split>#<number>`.

    Raises:
        UsageError: The data set is not one of images with a class each.
        DataRefusedError: It is damaged.
    """
    tfds = _library()
    builder = _builder(tfds, context)
    features = _features(tfds, builder)
    class_names = [label_of(name) for name in builder.info.features[features.label].names]
    context.index.set_class_names(class_names)
    splits = {name: context.split_named(name) for name in sorted(builder.info.splits)}
    if not any(splits.values()):
        raise UsageError(
            f"{context.shown}: none of its splits has a known name: {', '.join(splits)}. Say what they are, "
            f"e.g. --split-names {next(iter(splits), 'all')}=train, or data.split_names in a recipe"
        )
    transpose = must_transpose(context, (builder.info.name,))
    file = context.scratch / "images"
    offset = 0
    with file.open("wb") as out:
        for name, split in splits.items():
            if split is None:
                yield _left_out(builder, name)
                continue
            for number, example in enumerate(_examples(tfds, builder, name, features)):
                numbered = f"{builder.info.name}/{name}#{number}"
                path = (decode_name(example[features.file_name]) if features.file_name else "") or numbered
                label, encoded = int(example[features.label]), example[features.image]
                if not 0 <= label < len(class_names):
                    yield Reject(path, f"unlabelled: its class is {label} ({numbered})")
                    continue
                if transpose:
                    encoded = transpose_png(encoded)
                out.write(encoded)
                yield Item(
                    path=path,
                    file=os.fsencode(file),
                    offset=offset,
                    size_bytes=len(encoded),
                    truth=Label(class_names[label]),
                    split=split,
                )
                offset += len(encoded)


def fits(context: SourceContext) -> str | None:
    """Return the file that tensorflow_datasets has written next to its records; None where there is none."""
    for entry in context.index.files:
        folder, _, name = entry.path.rpartition("/")
        if name == _INFO_FILE and is_prepared(context.root / folder):
            return f"{entry.path} is a file of tensorflow_datasets"
    return None


def _left_out(builder: Any, split: str) -> Reject:
    return Reject(
        f"{builder.info.name}/{split}",
        f"all {builder.info.splits[split].num_examples:,} images of this split: it is not one of "
        f"{', '.join(contract.SPLITS)} by its name; --split-names {split}=train (in a recipe "
        "data.split_names) takes them in",
    )


def _examples(tfds: Any, builder: Any, split: str, features: _Features) -> Iterator[dict[str, Any]]:
    """Yield what is read of each example, encoded; in the order of the files, none of it held in memory."""
    import tensorflow as tf

    wanted = {name: True for name in features if name is not None}
    decoders = tfds.decode.PartialDecoding(wanted, decoders={features.image: tfds.decode.SkipDecoding()})
    reading = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, skip_prefetch=True)
    try:
        with _quiet_absl():
            examples = builder.as_dataset(
                split=split, shuffle_files=False, decoders=decoders, read_config=reading
            )
        yield from tfds.as_numpy(examples)
    except tf.errors.OpError as error:
        raise DataRefusedError(
            f"{builder.data_dir}: the split {split} cannot be read to its end, a file is damaged or missing: "
            f"{error.message}\nRemove the folder and prepare the data set again"
        ) from error


def _builder(tfds: Any, context: SourceContext) -> Any:
    """Return the builder of the one prepared data set below the root."""
    folders = [
        entry.path[: -len(_INFO_FILE)]
        for entry in context.index.files
        if entry.path.rpartition("/")[2] == _INFO_FILE
    ]
    if len(folders) != 1:
        shown = f"{len(folders)} of them ({', '.join(folders[:5])})" if folders else "none"
        raise UsageError(
            f"{context.shown}: expected a folder in which tensorflow_datasets has prepared one data set, "
            f"with {_INFO_FILE} and {_FEATURES_FILE} in it, found {shown}. Give such a folder, e.g. "
            "~/tensorflow_datasets/oxford_iiit_pet/4.0.0, or a data set's name, e.g. oxford_iiit_pet"
        )
    folder = context.root / folders[0]
    if not is_prepared(folder):
        raise UsageError(
            f"{folder}: there is no {_FEATURES_FILE} in it, so tensorflow_datasets below 4 prepared it. "
            "Remove it and prepare the data set again"
        )
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:
        raise UsageError(f"{folder}: tensorflow_datasets cannot read it: {_said(error)}") from error


def _features(tfds: Any, builder: Any) -> _Features:
    """Return the image and the class: what the supervised keys name, else the only ones that there are."""
    if not isinstance(builder.info.features, tfds.features.FeaturesDict):
        raise UsageError(
            f"{builder.data_dir}: expected a dict of features, found {builder.info.features!r}. {_READS}"
        )
    # Sorted: tensorflow_datasets gives what it reads from JSON in no fixed order.
    known = dict(sorted(builder.info.features.items()))
    keys = builder.info.supervised_keys
    image, label = keys[:2] if isinstance(keys, tuple) else (None, None)
    images = [name for name, feature in known.items() if _is_image(tfds, feature)]
    labels = [
        name
        for name, feature in known.items()
        if isinstance(feature, tfds.features.ClassLabel) and feature.num_classes
    ]
    file_names = [name for name in _FILE_NAME_FEATURES if isinstance(known.get(name), tfds.features.Text)]
    return _Features(
        _only(builder, known, "image (an Image of uint8 or uint16)", images, image),
        _only(builder, known, "class (a ClassLabel)", labels, label),
        file_names[0] if file_names else None,
    )


def _is_image(tfds: Any, feature: Any) -> bool:
    """Return whether the feature is a photo, neither a mask of labels nor other values in a PNG."""
    return (
        isinstance(feature, tfds.features.Image)
        and not isinstance(feature, tfds.features.LabeledImage)
        and feature.np_dtype in ("uint8", "uint16")
    )


def _only(builder: Any, known: dict[str, Any], what: str, names: Sequence[str], supervised: Any) -> str:
    if supervised in names:
        return str(supervised)
    if len(names) == 1:
        return names[0]
    found = f"several ({', '.join(names)}), and its supervised keys name none of them" if names else "none"
    listed = ", ".join(f"{name}: {type(feature).__name__}" for name, feature in known.items())
    raise UsageError(
        f"{builder.info.full_name}: expected one feature that is the {what}, found {found}. It has {listed}. "
        f"{_READS}; write class folders from this one and read them with the source folder"
    )


def _library() -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UsageError(
            f"The source tfds needs tensorflow_datasets ({error}): {install_command('tfds')}"
        ) from error
    return tensorflow_datasets


def _data_dir(tfds: Any) -> str:
    return os.environ.get("TFDS_DATA_DIR") or str(tfds.core.constants.DATA_DIR)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Holds back warnings of tensorflow_datasets that are about its own code."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
