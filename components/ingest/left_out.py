"""Files that are no images by their names: what leaves them behind, and why they are not read.

Two tables. What systems and programs leave behind (LITTER) no source looks at, in a folder or an archive.
Notes, lists and the like (NO_IMAGES) are what other sources read, so the source `folder`, which takes every
file for an image, leaves them out by itself.
"""

from collections.abc import Mapping

# Names of files and folders that no source looks at, and what they are. A name in lower case fits any
# case, one with capitals fits as it is: `recycler` may be a class. A star is at the beginning or the end,
# and fits any letters. All other names that begin with a dot are hidden. No row may be a word that a
# class is called.
LITTER: Mapping[str, str] = {
    # Systems.
    "._*": "what macOS keeps of a file next to it",
    ".ds_store": "left by macOS",
    ".appledouble": "left by macOS",
    ".spotlight-v100": "left by macOS",
    ".trashes": "the trash of macOS",
    ".fseventsd": "left by macOS",
    ".temporaryitems": "left by macOS",
    ".documentrevisions-v100": "left by macOS",
    ".apdisk": "left by macOS",
    ".volumeicon.icns": "left by macOS",
    "__macosx": "left by macOS",
    "temporary items": "left by macOS",
    "network trash folder": "the trash of macOS",
    "thevolumesettingsfolder": "left by macOS",
    "icon\r": "left by macOS",
    "*.aae": "edits of an iPhone",
    "thumbs.db": "left by Windows",
    "thumbs.db:*": "left by Windows",
    "ehthumbs.db": "left by Windows",
    "ehthumbs_vista.db": "left by Windows",
    "desktop.ini": "left by Windows",
    "$recycle.bin": "the recycle bin of Windows",
    "RECYCLER": "the recycle bin of Windows",
    "system volume information": "left by Windows",
    "found.000": "left by a check of a disk",
    "*:zone.identifier": "Windows' mark of a download",
    "*.identifier": "Windows' mark of a download",
    "lost+found": "left by the file system",
    "lost.dir": "left by Android",
    ".nomedia": "left by Android",
    ".thumbnails": "thumbnails of Android or Linux",
    ".trash-*": "the trash of Linux",
    ".directory": "left by KDE",
    ".nfs*": "left by NFS",
    ".fuse_hidden*": "left by FUSE",
    # Network drives.
    "@eadir": "thumbnails of a Synology NAS",
    "#recycle": "the recycle bin of a Synology NAS",
    "#snapshot": "snapshots of a Synology NAS",
    "@tmp": "left by a Synology NAS",
    "@sharebin": "the recycle bin of a Synology NAS",
    "synofile_thumb_*": "thumbnails of a Synology NAS",
    "synophoto_thumb_*": "thumbnails of a Synology NAS",
    "*@synoeastream": "left by a Synology NAS",
    "*@synoresource": "left by a Synology NAS",
    "@recycle": "the recycle bin of a QNAP NAS",
    "@recently-snapshot": "snapshots of a QNAP NAS",
    ".@__thumb": "thumbnails of a QNAP NAS",
    ".@__qini": "left by a QNAP NAS",
    "~snapshot": "snapshots of a NetApp",
    ".snapshot": "snapshots of a NAS",
    ".zfs": "snapshots of ZFS",
    # Programs for photos.
    "picasa.ini": "left by Picasa",
    ".picasa.ini": "left by Picasa",
    ".picasaoriginals": "originals that Picasa keeps of edited images",
    "[originals]": "originals that ACDSee keeps of edited images",
    ".acdsee": "left by ACDSee",
    "zbthumbnail.info": "left by Canon's programs",
    "*.thm": "a camera's thumbnail of a video",
    "*.xmp": "edits of Lightroom, darktable or digiKam",
    "*.lrcat": "a catalogue of Lightroom",
    "*.lrcat-data": "a catalogue of Lightroom",
    "*.lrcat-wal": "a catalogue of Lightroom",
    "*.lrcat-shm": "a catalogue of Lightroom",
    "*.lrdata": "previews of Lightroom",
    "captureone": "edits and thumbnails of Capture One",
    "*.cocatalog": "a catalogue of Capture One",
    "*.cosessiondb": "a session of Capture One",
    "*.cos": "edits of Capture One",
    "*.cot": "a thumbnail of Capture One",
    "*.cop": "a preview of Capture One",
    "*.pp3": "edits of RawTherapee",
    "*.dop": "edits of DxO",
    "*.on1": "edits of ON1",
    "nksc_param": "edits of Nikon's programs",
    "*.nksc": "edits of Nikon's programs",
    ".dtrash": "the trash of digiKam",
    "digikam4.db": "a catalogue of digiKam",
    "thumbnails-digikam.db": "thumbnails of digiKam",
    "recognition.db": "left by digiKam",
    "similarity.db": "left by digiKam",
    ".bridgesort": "left by Adobe Bridge",
    ".bridgecache": "left by Adobe Bridge",
    # Versions, and copies in a cloud.
    ".git": "left by git",
    ".gitattributes": "left by git",
    ".gitignore": "left by git",
    ".gitkeep": "left by git",
    ".gitmodules": "left by git",
    ".svn": "left by Subversion",
    ".hg": "left by Mercurial",
    ".dvc": "left by DVC",
    ".dvcignore": "left by DVC",
    "*.dvc": "a pointer of DVC; dvc pull gets what it points to",
    "*.icloud": "in iCloud only; download it first",
    ".dropbox": "left by Dropbox",
    ".dropbox.cache": "left by Dropbox",
    ".dropbox.attr": "left by Dropbox",
    ".tmp.drivedownload": "an unfinished copy of Google Drive",
    ".tmp.driveupload": "an unfinished copy of Google Drive",
    ".849c9593-d756-4e56-8d6e-42412f2a707b": "left by OneDrive",
    ".sync": "left by Resilio Sync",
    "*.!sync": "an unfinished copy of Resilio Sync",
    ".stfolder": "left by Syncthing",
    ".stversions": "former versions that Syncthing keeps",
    "~syncthing~*": "an unfinished copy of Syncthing",
    ".owncloudsync.log": "left by ownCloud",
    ".nextcloudsync.log": "left by Nextcloud",
    # Editors and notebooks.
    ".ipynb_checkpoints": "left by Jupyter",
    "__pycache__": "left by Python",
    ".~lock.*": "a lock of LibreOffice",
    "~$*": "a lock of Microsoft Office",
}

_KINDS: Mapping[str, str] = {
    "text": ".txt .text .rst .rtf .tex .log .nfo .cfg .conf .ini .toml .names .doc .docx .odt .ppt .pptx",
    "Markdown": ".md .markdown",
    "JSON": ".json .jsonl .ndjson .geojson",
    "YAML": ".yaml .yml",
    "HTML": ".html .htm .mhtml .css .js .url .webloc",
    "PDF": ".pdf .ps",
    "a table": ".csv .tsv .xls .xlsx .ods .parquet .feather",
    "XML": ".xml .xsd",
    "an archive": ".zip .tar .tgz .gz .bz2 .xz .zst .7z .rar .iso .dmg",
    "a database": ".db .db3 .sqlite .sqlite3 .mdb .lmdb",
    "arrays": ".npy .npz .mat .h5 .hdf5 .pkl .pickle .pt .pth .onnx .pbtxt .tfrecord .tfrecords",
    "a program": ".py .ipynb .sh .bat .exe .dll .m .r .jar",
    "a link of Windows": ".lnk",
    "a lock": ".lock",
    "a checksum": ".md5 .sha1 .sha256 .sig .asc",
    "video": ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .3gp",
    "sound": ".mp3 .wav .m4a .ogg .flac .aac",
    "a cache": ".cache",
    "unfinished": ".part .partial .crdownload .download .tmp .bak",
}
NO_IMAGES: Mapping[str, str] = {
    ending: kind for kind, endings in _KINDS.items() for ending in endings.split()
}
_NOTES = (
    "readme", "license", "licence", "copying", "changelog", "notice", "authors", "citation", "makefile",
    "dicomdir",
)  # fmt: skip
# A name is looked for in this way because there may be millions: nearly all of them fit none of these.
_BEGINNINGS = {name[:-1]: why for name, why in LITTER.items() if name.endswith("*")}
_ENDINGS = {name[1:]: why for name, why in LITTER.items() if name.startswith("*.")}
_OTHER_ENDINGS = {name[1:]: why for name, why in LITTER.items() if name[0] == "*" and name[1] != "."}
_ALL_BEGINNINGS, _ALL_OTHER_ENDINGS = tuple(_BEGINNINGS), tuple(_OTHER_ENDINGS)


def litter_reason(name: str) -> str:
    """Return why no source looks at a file or folder of this name; "" where sources do."""
    lower = name.lower()
    if (why := LITTER.get(lower) or LITTER.get(name)) is not None:
        return why
    if (why := _ENDINGS.get(f".{lower.rpartition('.')[2]}")) is not None and "." in lower:
        return why
    if lower.startswith(_ALL_BEGINNINGS):
        return next(why for beginning, why in _BEGINNINGS.items() if lower.startswith(beginning))
    if lower.endswith(_ALL_OTHER_ENDINGS):
        return next(why for ending, why in _OTHER_ENDINGS.items() if lower.endswith(ending))
    return "hidden: its name begins with a dot" if name.startswith(".") else ""


def no_image_reason(name: str) -> str:
    """Return why a file of this name is no image; "" where it may be one."""
    lower = name.lower()
    if lower in _NOTES:
        return "no image by its name: text"
    kind = NO_IMAGES.get(f".{lower.rpartition('.')[2]}") if "." in lower else None
    return "" if kind is None else f"no image by its name: {kind}"
