"""Files that are no images by their names: what leaves them behind, and why they are not read.

Two tables. What systems and programs leave behind (LITTER) no source looks at. Notes, lists and the like
(NO_IMAGES) are what other sources read, so the source `folder`, which takes every file for an image, leaves
them out by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

# Names of files and folders, in lower case, and who leaves them behind. What begins with "." is hidden.
LITTER: Mapping[str, str] = {
    "__macosx": "left by macOS",
    "temporary items": "left by macOS",
    "network trash folder": "left by macOS",
    "thumbs.db": "left by Windows",
    "ehthumbs.db": "left by Windows",
    "ehthumbs_vista.db": "left by Windows",
    "desktop.ini": "left by Windows",
    "$recycle.bin": "the recycle bin of Windows",
    "recycler": "the recycle bin of Windows",
    "system volume information": "left by Windows",
    "@eadir": "thumbnails of a Synology NAS",
    "#recycle": "the recycle bin of a Synology NAS",
    "#snapshot": "snapshots of a Synology NAS",
    "@tmp": "left by a Synology NAS",
    "@recycle": "the recycle bin of a QNAP NAS",
    "@recently-snapshot": "snapshots of a QNAP NAS",
    "picasa.ini": "left by Picasa",
    "lost+found": "left by the file system",
}

_KINDS: Mapping[str, str] = {
    "text": ".txt .text .rst .rtf .tex .log .nfo .cfg .conf .ini .toml .names .doc .docx .odt .ppt .pptx",
    "Markdown": ".md .markdown",
    "JSON": ".json .jsonl .ndjson .geojson",
    "YAML": ".yaml .yml",
    "HTML": ".html .htm .mhtml .css .js .url .webloc",
    "PDF": ".pdf .ps",
    "a table": ".csv .tsv .xls .xlsx .ods .parquet .feather",
    "XML": ".xml .xsd .xmp",
    "an archive": ".zip .tar .tgz .gz .bz2 .xz .zst .7z .rar .iso .dmg",
    "a database": ".db .db3 .sqlite .sqlite3 .mdb .lmdb",
    "arrays": ".npy .npz .mat .h5 .hdf5 .pkl .pickle .pt .pth .onnx .pbtxt .tfrecord .tfrecords",
    "a program": ".py .ipynb .sh .bat .exe .dll .m .r .jar",
    "edits of an iPhone": ".aae",
    "Windows' mark of a download": ".identifier .lnk",
    "a checksum": ".md5 .sha1 .sha256 .sig .asc",
    "video": ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .3gp",
    "sound": ".mp3 .wav .m4a .ogg .flac .aac",
    "a cache": ".cache",
    "unfinished": ".part .crdownload .tmp .bak",
}
NO_IMAGES: Mapping[str, str] = {
    ending: kind for kind, endings in _KINDS.items() for ending in endings.split()
}
_NOTES = ("readme", "license", "licence", "copying", "changelog", "notice", "authors", "citation", "makefile")


def litter_reason(name: str) -> str:
    """Return why no source looks at a file or folder of this name; "" where sources do."""
    if name.startswith("."):
        return "hidden: its name begins with a dot"
    return LITTER.get(name.lower(), "")


def no_image_reason(name: str) -> str:
    """Return why a file of this name is no image; "" where it may be one."""
    lower = name.lower()
    if lower in _NOTES:
        return "no image by its name: text"
    kind = NO_IMAGES.get(f".{lower.rpartition('.')[2]}") if "." in lower else None
    return "" if kind is None else f"no image by its name: {kind}"
