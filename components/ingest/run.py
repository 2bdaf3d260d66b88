"""Ingest from beginning to end: find the inputs, hash them, plan, write the shards, publish.

walk -> source.find -> hash (workers) -> plan -> write shards (workers) -> publish, manifest last
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.content import stamp_number
from components.base.disk_full import disk_full_error
from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.os_errors import explain_os_error
from components.base.printable import printable
from components.ingest import staging as staging_folder
from components.ingest.archive import is_archive, unpack
from components.ingest.config import IngestConfig
from components.ingest.files import FileEntry, StampFunction, displayed, walk
from components.ingest.index import Index
from components.ingest.manifest import (
    FORMAT_VERSION,
    LEFT_OUT,
    REJECTS,
    InputRow,
    Manifest,
    Shard,
    Split,
    read_inputs,
    read_manifest,
    rejects_bytes,
    write_inputs,
    write_lists,
    write_manifest,
)
from components.ingest.passes import Progress, hash_all, look_at_all, write_all
from components.ingest.plan import Plan, make_plan, reader_code
from components.ingest.refusals import Refusals
from components.ingest.remarks import about_low_range, note_unused_split_names, remarks
from components.ingest.result import IngestResult, SplitSummary
from components.ingest.sources import Source, source_named
from components.ingest.sources.context import SourceContext
from components.ingest.sources.lookup import conclude_lookups
from components.ingest.truth.counts import BoxCounts
from components.ingest.work import SourceChangedError
from components.ingest.workers import WorkerPool, usable_cores
from schemas import features

_OTHER_CODE = "the data were ingested by other code than this Mirante's: all of them were read again"


def ingest(
    source: str,
    input_path: Path | None,
    output: Path,
    config: IngestConfig | None = None,
    progress: Progress | None = None,
    *,
    exclude: Sequence[Path] = (),
    force: bool = False,
    trust_times: bool = False,
) -> IngestResult:
    """Turn raw data into TFRecord shards, `<split>-00000-of-000NN`, with a manifest.

    After it was killed, the same call resumes. After the inputs have changed, it writes the shards that
    change; where nothing has changed, it does nothing. The same inputs and options give the same bytes,
    whatever `workers` is.

    Args:
        source: A name of `source_names()`.
        input_path: A folder, a .zip or .tar(.gz), for csv also the file itself, for tfds also a data set's
            name; None for a source that brings its own data.
        output: The folder for the shards.
        config: How to ingest; its `source` and `path` are those of a recipe, and are not read here.
        progress: Called as progress(phase, done, total) with the phases "find", "hash" and "write".
        exclude: Folders that are not part of the input where they are inside of it; `output` never is.
        force: Whether to start afresh: ignore what a former ingest left, and accept an `output` that holds
            other files.
        trust_times: Whether a file is the same when its size and time are, as with copies that keep the
            times of objects in a bucket; else inode and time of the entry must be the same, too.

    Returns:
        What was published.

    Raises:
        UsageError: The input, the output or a file that an option names makes no sense.
        DataRefusedError: The data are damaged, or more than `max_reject_share` of the inputs are rejected:
            then nothing is published but rejects.csv.
        MiranteError: Another ingest into `output` is running, or a worker process dies.
    """
    output = output.absolute()
    run = _Run(
        source,
        input_path,
        output,
        config or IngestConfig(),
        progress or (lambda phase, done, total: None),
        exclude,
        force=force,
        trust_times=trust_times,
    )
    try:
        return run.result()
    except (OSError, sqlite3.Error) as error:
        if explained := _explain(error, output):
            raise explained from error
        raise


def _explain(error: Exception, output: Path) -> MiranteError | None:
    """What the system, or the index in its file, refused; None for what no user can do anything about."""
    if isinstance(error, OSError):
        # Without a folder: what is wrong with a path that was given, as OUTPUT is.
        return explain_os_error(error, [output]) or explain_os_error(error, [])
    if full := disk_full_error(error, [output]):
        return full
    return MiranteError(
        f"{output / staging_folder.STAGING / 'index.sqlite'}: {error}: expected a file system with locks "
        "and room "
        "for it, without a limit of file sizes (ulimit -f); give another OUTPUT, or look into the system's "
        "log "
        "(dmesg)"
    )


class _Run:
    """One ingest: what its steps share."""

    def __init__(
        self,
        source: str,
        input_path: Path | None,
        output: Path,
        config: IngestConfig,
        progress: Progress,
        exclude: Sequence[Path],
        *,
        force: bool,
        trust_times: bool,
    ) -> None:
        self.source_name = source
        self.source: Source = source_named(source)
        # Before the input, which may be downloaded.
        self.label_map = config.label_map_file()
        staging_folder.check_output(output, force=force)
        self.input = check_input(source, input_path)
        self.shown_input = "" if self.input is None else displayed(os.fsencode(self.input))
        staging_folder.check_apart(self._root(), output)
        self.output = output
        self.without = (output, *exclude)
        self.stamp_of: StampFunction = (lambda status: status.st_mtime_ns) if trust_times else stamp_number
        self.staging = output / staging_folder.STAGING
        self.config, self.force = config, force
        self.progress = progress
        self.workers = config.workers or usable_cores()
        self._refusals = Refusals(source, self.input, output, config)
        # How many images the input lists, known when they have been found.
        self._listed = 0

    def result(self) -> IngestResult:
        was_killed = self.staging.exists()
        former = None if self.force else read_manifest(self.output)
        if former is not None and not was_killed and self._is_unchanged(former):
            return self._answer(former, unchanged=True)
        existed = self.output.exists()
        try:
            with staging_folder.locked(self.staging):
                try:
                    manifest = self._make(former, was_killed=was_killed)
                except (UsageError, DataRefusedError):
                    # There is nothing that could be gone on with.
                    staging_folder.remove(self.staging)
                    raise
                staging_folder.remove(self.staging)
        finally:
            if not existed and self.output.is_dir() and not os.listdir(self.output):
                self.output.rmdir()
        answer = self._answer(manifest, unchanged=False)
        if former is not None and former.code != manifest.code:
            answer.warnings.append(_OTHER_CODE)
        return answer

    def _make(self, former: Manifest | None, *, was_killed: bool) -> Manifest:
        if self.force:
            for name in ("index.sqlite", "unpacked", "shards"):
                staging_folder.discard(self.staging / name)
        staging_folder.tidy(self.staging)
        index = Index(self.staging / "index.sqlite")
        try:
            with WorkerPool(self.workers) as pool:
                # After a kill inputs.csv.gz may be newer than the manifest; what it told is in the index.
                self._find(index, None if was_killed else former)
                self._refusals.too_many(index)
                hash_all(index, pool, self.progress)
                self._refusals.too_many(index)
                look_at_all(index, pool, self.progress, self.config.max_pixels)
                index.keep_order(former.class_names if former is not None else [])
                plan = make_plan(index, self.config)
                self._refusals.no_boxes(plan)
                published = {shard.name: shard for shard in former.shards()} if former else {}
                finished = staging_folder.find_finished(
                    self.staging, self.output, plan.shards, published, verify=was_killed
                )
                try:
                    shards = write_all(
                        index, plan, finished, self.staging, self.config, pool, self.workers, self.progress
                    )
                except SourceChangedError:
                    index.distrust_hashes()
                    raise
            _note_rejected(index, plan, shards)
            self._refusals.too_many(index)
            boxes = BoxCounts.total(shard.boxes for shard in shards.values())
            self._refusals.misread_boxes(boxes)
            self._refusals.too_many_boxes(index, boxes)
            return self._publish(index, plan, shards, boxes)
        finally:
            index.close()

    def _find(self, index: Index, former: Manifest | None) -> None:
        """Fills the index with the input pictures."""
        self.progress("find", 0, 0)
        scratch = self.staging / "scratch"
        scratch.mkdir(exist_ok=True)
        root, repeated = scratch, list[str]()
        index.set_origin(self.shown_input)
        if self.input is not None:
            read = self._root()
            if read is not None:
                root = read
            else:
                root, repeated, litter = unpack(self.input, self.staging / "unpacked")
                for path, reason in litter:
                    index.leave_out(path, reason)
            index.add_files(walk(root, self.without, index.leave_out, self.stamp_of))
            known = former is not None and former.input == self.shown_input
            index.remember_hashes(
                (path, size, mtime, bytes.fromhex(sha256))
                for path, size, mtime, sha256 in (read_inputs(self.output) if known else ())
                if sha256
            )
        context = SourceContext(
            root=root,
            shown=str(self.input),
            input_file=self.input if self._is_own_file() else None,
            index=index,
            split_names=self.config.split_names,
            scratch=scratch,
            given_label_map=self.label_map,
            box_units=self.config.box_units,
        )
        try:
            found = index.add(self.source.find(context))
        except (UsageError, DataRefusedError) as error:
            error.args = (printable(str(error)),)  # it names files
            raise
        conclude_lookups(index)
        note_unused_split_names(context)
        self._listed = sum(context.announced) if context.announced else found
        for path in repeated:
            index.reject(path, "the archive holds this name several times: the last one was read")
        self._listed += len(repeated)
        index.check_counts(self._listed)
        self.progress("find", found, found)
        self._refusals.misread(index)
        self._refusals.useless_options(index)

    def _root(self) -> Path | None:
        """The folder that is read, None for an archive and for a source that brings its own data."""
        if self.input is None or self.input.is_dir():
            return self.input
        return self.source.root_of(self.input) if self._is_own_file() else None

    def _is_own_file(self) -> bool:
        return self.input is not None and self.input.is_file() and self.input.name.lower().endswith(
            self.source.suffixes
        )  # fmt: skip

    def _publish(self, index: Index, plan: Plan, shards: dict[str, Shard], boxes: BoxCounts) -> Manifest:
        index.check_counts(self._listed)
        rejects, left_out = rejects_bytes(index.rejects()), index.left_out()
        splits = _splits(index, plan, shards)
        manifest = Manifest(
            version=FORMAT_VERSION,
            code=reader_code(),
            source=self.source_name,
            options=self.config.content_settings(),
            class_names=plan.class_names,
            splits=splits,
            rejected=index.count_rejects(),
            rejects_sha256=hashlib.sha256(rejects).hexdigest(),
            cross_split_duplicates=plan.cross_split_duplicates,
            warnings=[*remarks(index, plan, splits, boxes), *about_low_range(shards.values())],
            input=self.shown_input,
            task=plan.truth.task,
            max_boxes=boxes.most,
            left_out=len(left_out),
        )
        for shard in manifest.shards():
            assert shard.records == sum(s.records for s in plan.shards if s.name == shard.name) - len(
                shard.rejected
            )
        staging_folder.publish_shards(
            self.staging, self.output, [shard for shard in plan.shards if shard.split in splits]
        )
        write_lists(self.output, rejects, left_out)
        write_inputs(self.output, self._input_rows(index))
        write_manifest(self.output, manifest)
        staging_folder.sync_folder(self.output)
        return manifest

    def _input_rows(self, index: Index) -> Iterator[InputRow]:
        if self.input is None or not self._has_many_inputs():
            yield from self._single_input()
            return
        for path, size, mtime, digest in index.db.execute(
            "SELECT f.path, f.size, f.mtime, h.hash FROM files f LEFT JOIN hashes h "
            "ON h.path = f.path AND h.size = f.size AND h.mtime = f.mtime ORDER BY f.rowid"
        ):
            yield path, size, mtime, digest.hex() if digest else ""

    def _has_many_inputs(self) -> bool:
        return self.input is not None and (self.input.is_dir() or self._is_own_file())

    def _single_input(self) -> Iterator[InputRow]:
        if self.input is not None:
            status = self.input.stat()
            yield self.input.name, status.st_size, self.stamp_of(status), ""

    def _is_unchanged(self, former: Manifest) -> bool:
        """Whether the published shards were made from these inputs and options; looks at no content."""
        if (former.version, former.code, former.source) != (FORMAT_VERSION, reader_code(), self.source_name):
            return False
        if former.input != self.shown_input:
            return False
        if former.options != self.config.content_settings():
            return False
        rejects = self.output / REJECTS
        if not rejects.is_file() or hashlib.sha256(rejects.read_bytes()).hexdigest() != former.rejects_sha256:
            return False
        if not staging_folder.all_published(self.output, former.shards()):
            return False
        entries: Iterator[FileEntry] = iter(())
        if self.input is not None and self._has_many_inputs():
            root = self.input if self.input.is_dir() else self.source.root_of(self.input)
            entries = walk(root, self.without, stamp_of=self.stamp_of)
        else:
            entries = (FileEntry(path, b"", size, mtime) for path, size, mtime, _ in self._single_input())
        for entry, row in itertools.zip_longest(entries, read_inputs(self.output)):
            if entry is None or row is None or (entry.path, entry.size_bytes, entry.stamp) != row[:3]:
                return False
        return True

    def _answer(self, manifest: Manifest, *, unchanged: bool) -> IngestResult:
        return IngestResult(
            output=self.output,
            splits={
                name: SplitSummary(split.images, len(split.shards), split.classes)
                for name, split in manifest.splits.items()
            },
            class_names=manifest.class_names,
            rejected=manifest.rejected,
            rejects_file=self.output / REJECTS,
            warnings=list(manifest.warnings),
            unchanged=unchanged,
            left_out=manifest.left_out,
            left_out_file=self.output / LEFT_OUT,
        )


def check_input(name: str, path: Path | None) -> Path | None:
    """The INPUT as an absolute path, None for a source that brings its own data.

    Raises UsageError where there is no such source, or nothing that it reads; looks at no content but an
    archive's first bytes.
    """
    source = source_named(name)
    if not source.needs_input:
        if path is not None:
            raise UsageError(
                f"The source {name} brings its own data and reads no INPUT, got {path}: give - as INPUT, or "
                "leave data.path out of the recipe."
            )
        return None
    if path is None:
        raise UsageError(
            f"The source {name} needs an INPUT: a folder, a .zip or a .tar(.gz)"
            f"{', or the name of a data set' if source.takes_names else ''}; "
            "`mirante run` takes it by --data, a Kubeflow run by data_root."
        )
    if source.is_name(str(path)):
        return source.locate(str(path))
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) and not path.exists():
        raise UsageError(
            f"INPUT {str(path).replace(':/', '://', 1)}: expected a path on this machine, got an address; "
            "download what is there, and give its path"
        )
    path = path.absolute()
    if not path.exists():
        raise UsageError(
            f"INPUT {path} does not exist{', and is no name of a data set' if source.takes_names else ''}: "
            "check the path."
        )
    if path.is_dir() or path.name.lower().endswith(source.suffixes) or (path.is_file() and is_archive(path)):
        return path
    kinds = "".join(f", a {suffix} file" for suffix in source.suffixes)
    raise UsageError(
        f"INPUT {path}: the source {name} reads a folder{kinds}, a .zip or a .tar(.gz); this is none."
    )


def _splits(index: Index, plan: Plan, shards: dict[str, Shard]) -> dict[str, Split]:
    """Return what each split holds."""
    images = dict(index.db.execute("SELECT split, count(*) FROM items WHERE rejected = 0 GROUP BY split"))
    splits = {}
    for split in features.SPLITS:
        if split not in images:
            continue
        of_split = tuple(shards[shard.name] for shard in plan.shards if shard.split == split)
        counts = BoxCounts.total(shard.boxes for shard in of_split)
        shown = plan.truth.images_by_class(index.db, split, counts)
        by_class = {name: shown.get(name, 0) for name in plan.class_names}
        boxes = plan.truth.boxes_by_class(counts, plan.class_names)
        splits[split] = Split(images[split], by_class, of_split, boxes)
    return splits


def _note_rejected(index: Index, plan: Plan, shards: dict[str, Shard]) -> None:
    """Marks the pictures that did not decode in the index."""
    for planned in plan.shards:
        for path, reason, source_sha256 in shards[planned.name].rejected:
            index.reject(path, reason)
            # Two pictures may have one path: data sets bring their own.
            index.db.execute(
                "UPDATE items SET rejected = 1 WHERE split = ? AND shard = ? AND path = ? AND hash = ?",
                (planned.split, planned.number, path, bytes.fromhex(source_sha256)),
            )
        counted = shards[planned.name].boxes
        for path, reason in counted.left_out if counted is not None else ():
            index.reject(path, reason, is_box=True)
    index.db.commit()
