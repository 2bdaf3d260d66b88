"""Ingest from beginning to end: find the inputs, examine them, plan, write the shards, publish.

walk -> find_inputs -> examine (workers) -> compare (workers) -> plan -> write (workers) -> publish
"""

import dataclasses
import hashlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from components.base.content import stamp_number
from components.base.disk_full import disk_full_error
from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.os_errors import explain_os_error
from components.base.printable import printable
from components.ingest import staging as staging_folder
from components.ingest.archive import unpack
from components.ingest.auto_depth import settle_depth
from components.ingest.config import IngestConfig
from components.ingest.files import walk
from components.ingest.fits import hint_at_other, look_for_other
from components.ingest.groups import set_groups
from components.ingest.index import Index
from components.ingest.input import Input, check_input
from components.ingest.joined_rows import join_rows, settle_no_class
from components.ingest.manifest import FORMAT_VERSION, REJECTS, Manifest, read_inputs, read_manifest
from components.ingest.passes import Progress, compare_all, examine_all, take_over, write_all
from components.ingest.plan import Plan, make_plan, reader_code
from components.ingest.publish import note_rejected, publish
from components.ingest.refusals import Refusals
from components.ingest.remarks import about_former, note_unused_split_names
from components.ingest.result import IngestResult
from components.ingest.sources import source_named
from components.ingest.sources.context import SourceContext, find_inputs
from components.ingest.sources.lookup import conclude_lookups
from components.ingest.truth.counts import BoxCounts
from components.ingest.work import SourceChangedError
from components.ingest.workers import WorkerPool, usable_cores


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
    pool: WorkerPool | None = None,
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
        progress: Called as progress(phase, done, total); phases: "find", "hash", "compare", "write".
        exclude: Folders that are not part of the input where they are inside of it; `output` never is.
        force: Whether to start afresh: ignore what a former ingest left, and accept an `output` that holds
            other files.
        trust_times: Whether a file is the same when its size and time are, as with copies that keep the
            times of objects in a bucket; else inode and time of the entry must be the same, too.
        pool: The workers; processes of this machine when not given.

    Returns:
        What was published.

    Raises:
        UsageError: The input, the output or a file that an option names makes no sense.
        DataRefusedError: The data are damaged, or more than `max_reject_share` of the inputs are rejected:
            then nothing is published but rejects.csv.
        MiranteError: Another ingest into `output` is running, or a worker process dies.
    """
    output = output.absolute()
    run = Run(
        source,
        input_path,
        output,
        config or IngestConfig(),
        progress or (lambda phase, done, total: None),
        exclude,
        force=force,
        trust_times=trust_times,
        pool=pool,
    )
    try:
        return run.result()
    except (OSError, sqlite3.Error) as error:
        if explained := _explain(error, output):
            raise explained from error
        raise


def _explain(error: Exception, output: Path) -> MiranteError | None:
    """Return what the system, or the index in its file, refused; None if no user can do anything about it."""
    if isinstance(error, OSError):
        # Without a folder: what is wrong with a path that was given, as OUTPUT is.
        return explain_os_error(error, [output]) or explain_os_error(error, [])
    if full := disk_full_error(error, [output]):
        return full
    return MiranteError(
        f"{output / staging_folder.STAGING / 'index.sqlite'}: {error}: expected a file system with locks "
        "and room for it, without a limit of file sizes (ulimit -f); give another OUTPUT, or look into the "
        "system's log (dmesg)"
    )


class Run:
    """One ingest, with what its steps share.

    Args:
        refused: Where refusals of the data go; by default they are raised. See `ingest` for the others.
    """

    def __init__(
        self,
        source: str,
        input_path: Path | None,
        output: Path,
        config: IngestConfig,
        progress: Progress,
        exclude: Sequence[Path] = (),
        *,
        force: bool = False,
        trust_times: bool = False,
        refused: list[MiranteError] | None = None,
        pool: WorkerPool | None = None,
    ) -> None:
        self.source = source
        reader = source_named(source)
        # Before the input, which may be downloaded.
        config.label_map_file()
        images = config.images_folder()
        staging_folder.check_output(output, force=force)
        self.input = Input(
            reader,
            check_input(source, input_path),
            (output, *exclude),
            (lambda status: status.st_mtime_ns) if trust_times else stamp_number,
            images,
        )
        staging_folder.check_apart(self.input.root, output)
        self.output = output
        self.staging = output / staging_folder.STAGING
        self.config, self.force = config, force
        self.progress = progress
        self.workers = config.workers or usable_cores()
        self._pool = pool
        self._refusals = Refusals(source, self.input.path, output, config, refused)
        self._refusals.options_of_other_sources()
        # How many images the input lists, known when they have been found.
        self._listed = 0

    def result(self) -> IngestResult:
        """Return what was published, or is still published of the same input and options."""
        was_killed = self.staging.exists()
        former = None if self.force else read_manifest(self.output)
        if former is not None and not was_killed and self._is_unchanged(former):
            return IngestResult.from_manifest(self.output, former, unchanged=True)
        existed = self.output.exists()
        try:
            with staging_folder.locked(self.staging):
                try:
                    manifest = self._make(former, was_killed=was_killed)
                except (UsageError, DataRefusedError):
                    # There is nothing to resume.
                    staging_folder.remove(self.staging)
                    raise
                staging_folder.remove(self.staging)
        finally:
            if not existed and self.output.is_dir() and not os.listdir(self.output):
                self.output.rmdir()
        answer = IngestResult.from_manifest(self.output, manifest, unchanged=False)
        if former is not None:
            answer.warnings.extend(about_former(former, manifest))
        return answer

    def _make(self, former: Manifest | None, *, was_killed: bool) -> Manifest:
        if self.force:
            for name in ("index.sqlite", "unpacked", "shards"):
                staging_folder.discard(self.staging / name)
        staging_folder.tidy(self.staging)
        index = Index(self.staging / "index.sqlite")
        try:
            with self.open_pool() as pool:
                plan = self.plan(index, pool, reader_code(), former, was_killed=was_killed)
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
            note_rejected(index, plan, shards)
            self._refusals.too_many(index)
            boxes = BoxCounts.total(shard.boxes for shard in shards.values())
            self._refusals.misread_boxes(boxes)
            self._refusals.too_many_boxes(index, boxes)
            index.check_counts(self._listed)
            return publish(self.source, self.input, self.output, self.config, index, plan, shards)
        finally:
            index.close()

    def open_pool(self) -> WorkerPool:
        """Return the workers, to be entered."""
        return self._pool or WorkerPool(self.workers)

    def plan(
        self, index: Index, pool: WorkerPool, code: str, former: Manifest | None, *, was_killed: bool
    ) -> Plan:
        """Fill the index with the inputs, and plan their shards; `code` is that of `make_plan`."""
        # After a kill inputs.csv.gz may be newer than the manifest; what it told is in the index.
        self._find(index, None if was_killed else former, code)
        self._refusals.too_many(index)
        examine_all(index, pool, self.progress, self.config)
        config = settle_depth(index, pool, self.progress, self.config)
        self._refusals.too_many(index)
        compare_all(index, pool, self.progress, config)
        index.keep_order(former.class_names if former is not None else [])
        plan = make_plan(index, config, code)
        self._refusals.small_classes(plan)
        self._refusals.nothing_to_learn(index)
        return plan

    def _find(self, index: Index, former: Manifest | None, code: str) -> None:
        """Fill the index with the input images."""
        self.progress("find", 0, 0)
        scratch = self.staging / "scratch"
        scratch.mkdir(exist_ok=True)
        root, repeated = scratch, list[str]()
        take_over(index, self.input.shown, self.config, self.output, former, code)
        if self.input.path is not None:
            if (read := self.input.root) is not None:
                root = read
            else:
                root, repeated, litter = unpack(self.input.path, self.staging / "unpacked")
                for path, reason in litter:
                    index.leave_out(path, reason)
            index.files.add(walk(root, self.input.without, index.leave_out, self.input.stamp_of))
        context = SourceContext(
            root=root,
            shown=str(self.input.path),
            input_file=self.input.own_file,
            index=index,
            scratch=scratch,
            config=self.config,
        )
        try:
            found = index.add(find_inputs(self.input.source, context))
            if self.config.multilabel:
                found -= join_rows(context)
                settle_no_class(context)
        except (UsageError, DataRefusedError) as error:
            hint = hint_at_other(self.source, self.input, root)
            error.args = ("; ".join(filter(None, (printable(str(error)), hint))),)  # it names files
            raise
        conclude_lookups(index)
        set_groups(index, self.config.group_by, self.input.shown)
        note_unused_split_names(context)
        self._listed = sum(context.announced) if context.announced else found
        for path in repeated:
            index.reject(path, "the archive holds this name several times: the last one was read")
        self._listed += len(repeated)
        index.check_counts(self._listed)
        self.progress("find", found, found)
        hint = look_for_other(self.source, self.input, root, index)
        self._refusals = dataclasses.replace(self._refusals, hint=hint)
        self._refusals.no_two_classes(index)
        self._refusals.misread(index)
        self._refusals.useless_options(index)

    def _is_unchanged(self, former: Manifest) -> bool:
        """Return whether the shards were made from these inputs and options; no content is looked at."""
        if (former.version, former.code, former.source) != (FORMAT_VERSION, reader_code(), self.source):
            return False
        if former.input != self.input.shown:
            return False
        if former.options != self.config.content_settings():
            return False
        rejects = self.output / REJECTS
        if not rejects.is_file() or hashlib.sha256(rejects.read_bytes()).hexdigest() != former.rejects_sha256:
            return False
        if not staging_folder.all_published(self.output, former.shards()):
            return False
        return self.input.is_listed(read_inputs(self.output))
