"""Where images come from. A source is one small module and one row in SOURCES.

The module has one function,

    find(context: SourceContext) -> Iterator[Item | Reject | LeftOut]

which names every input image once, without decoding any. An Item says in which file its bytes are (a whole
encoded file, or an encoded image or raw uint8 pixels at an offset), what is known of it
(components.ingest.truth) and its split, if the data bring one. What cannot be used is a Reject with the
reason. What is not meant to be an image is a LeftOut. A source that knows how many inputs there are, by a
header or by counting lines, says so by `context.announce`: ingest ends with an error if another number comes
out. Data with a list of classes give it to `context.index`. Names of boxes' classes go through
`context.label_map()`. An input that makes no sense as a whole raises UsageError (not this kind of data) or
DataRefusedError (damaged). Hashing, splitting, decoding and writing are not a source's business.

A second function,

    fits(context: SourceContext) -> str | None

says by what the input looks like data of this source, as a short sentence ("list.csv has the columns file,
label"), or None if it does not. It looks at the names of files and at the beginning of a few, and changes
nothing; components.ingest.fits asks all sources.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path

from components.base.errors import UsageError
from components.base.words import suggest
from components.ingest.readings import CENTRES, CORNERS, LENGTHS, SWAPPED, UPPER_LEFT
from schemas.features import CLASSIFICATION, DETECTION, MULTILABEL


@dataclasses.dataclass(frozen=True)
class Source:
    """A source, as it is known before it is used; `components.ingest.sources.context` uses it.

    Attributes:
        module: Dotted name; it is imported when the source is used.
        formats: What it reads, by the kind of the records (`Task.records`): a few words for the help.
        suffixes: Endings of files that INPUT may be.
        needs_input: Whether it reads an INPUT; otherwise it brings its own data.
        takes_names: Whether INPUT may also be the name of a data set. The module then has is_name(given), and
            locate(name), which returns the folder that is read for the name and may download it.
        misread: What its boxes may be written as instead, by components.ingest.readings.READINGS.
        next_to: Name of a folder: an INPUT in such a folder is about the files next to the folder.
        is_general: Whether data of other sources may look like its own, so that it comes last in a guess.
        options: Fields of IngestConfig that this source reads and most others do not.
    """

    module: str
    formats: Mapping[str, str]
    suffixes: tuple[str, ...] = ()
    needs_input: bool = True
    takes_names: bool = False
    misread: tuple[str, ...] = ()
    next_to: str | None = None
    is_general: bool = False
    options: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The kinds of records that it gives."""
        return tuple(self.formats)

    def root_of(self, file: Path) -> Path:
        """Return the folder whose files are looked at if INPUT is a file that the source reads itself."""
        return file.parent.parent if file.parent.name.lower() == self.next_to else file.parent

    def reads_itself(self, path: Path) -> bool:
        """Return whether a path is of a file that the source reads itself, by its name."""
        return path.name.lower().endswith(self.suffixes)

    def is_name(self, given: str) -> bool:
        """Return whether INPUT is the name of a data set and not a path."""
        return self.takes_names and bool(importlib.import_module(self.module).is_name(given))

    def locate(self, name: str) -> Path:
        """Return the folder that is read for the name of a data set; it may be downloaded."""
        folder: Path = importlib.import_module(self.module).locate(name)
        return folder


# Formats of boxes, where images may have several classes.
_BOXES = "boxes as classes"

SOURCES: Mapping[str, Source] = {
    "cifar": Source(
        "components.ingest.sources.cifar",
        {CLASSIFICATION: "CIFAR-10 and CIFAR-100, the python version"},
    ),
    "coco": Source(
        "components.ingest.sources.coco",
        {DETECTION: "COCO's JSON and folders of images", MULTILABEL: _BOXES},
        suffixes=(".json",),
        misread=(CORNERS, SWAPPED),
        next_to="annotations",
    ),
    "csv": Source(
        "components.ingest.sources.csv_file",
        {
            CLASSIFICATION: "filename,label",
            MULTILABEL: "filename,labels as a|b, a column of 0 and 1 for each class, or a row for each label",
            DETECTION: "filename,width,height,class,xmin,ymin,xmax,ymax",
        },
        suffixes=(".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"),
        misread=(CORNERS, LENGTHS, SWAPPED),
        options=("image_column", "label_column", "split_column", "no_header", "images"),
    ),
    "cvat": Source(
        "components.ingest.sources.cvat",
        {DETECTION: "CVAT's XML for images", MULTILABEL: _BOXES},
        suffixes=(".xml",),
        misread=(LENGTHS, SWAPPED),
    ),
    "digits": Source(
        "components.ingest.sources.digits",
        {
            CLASSIFICATION: "scikit-learn's; INPUT is then -",
            MULTILABEL: "up to three on an image",
        },
        needs_input=False,
    ),
    "folder": Source(
        "components.ingest.sources.folder",
        {CLASSIFICATION: "a folder for each class", MULTILABEL: "folders named by all classes, as a|b"},
        is_general=True,
    ),
    "idx": Source(
        "components.ingest.sources.idx",
        {CLASSIFICATION: "the files of MNIST and its family"},
        options=("transpose",),
    ),
    "label_studio": Source(
        "components.ingest.sources.label_studio",
        {
            CLASSIFICATION: "Label Studio's JSON, with choices",
            MULTILABEL: "several choices, or regions as classes",
            DETECTION: "Label Studio's JSON, with regions",
        },
        suffixes=(".json",),
        misread=(CORNERS,),
    ),
    "labelme": Source(
        "components.ingest.sources.labelme",
        {DETECTION: "a JSON of LabelMe for each image", MULTILABEL: _BOXES},
        misread=(SWAPPED,),
    ),
    "tfds": Source(
        "components.ingest.sources.tfds",
        {CLASSIFICATION: "tensorflow_datasets; INPUT may be a name such as oxford_iiit_pet:4.0.0"},
        takes_names=True,
        options=("transpose",),
    ),
    "tfrecord": Source(
        "components.ingest.sources.tfrecords",
        {
            CLASSIFICATION: "the contract's features",
            MULTILABEL: "lists of classes, or boxes as classes",
            DETECTION: "the Object Detection API's features",
        },
        suffixes=tuple(
            f".{name}{gz}" for name in ("tfrecord", "tfrecords", "tfrec", "record") for gz in ("", ".gz")
        ),
        misread=(LENGTHS, SWAPPED),
    ),
    "voc": Source(
        "components.ingest.sources.voc",
        {DETECTION: "an XML of Pascal VOC for each image", MULTILABEL: _BOXES},
        misread=(LENGTHS, SWAPPED),
    ),
    "yolo": Source(
        "components.ingest.sources.yolo",
        {DETECTION: "data.yaml and labels/*.txt", MULTILABEL: _BOXES},
        suffixes=(".yaml", ".yml"),
        misread=(CENTRES, UPPER_LEFT),
    ),
}


def sources_for(records: str) -> list[str]:
    """Return the names of the sources that give this kind of records."""
    return [name for name, source in SOURCES.items() if records in source.formats]


def source_named(name: str) -> Source:
    """Return the source of that name.

    Raises:
        UsageError: There is none; with the nearest known name.
    """
    if name not in SOURCES:
        raise UsageError(
            f"source: expected one of {', '.join(SOURCES)}, got {name!r}{suggest(name, SOURCES)}"
        )
    return SOURCES[name]
