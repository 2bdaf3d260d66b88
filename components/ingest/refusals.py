"""When an ingest publishes nothing: too little of the data can be used, or none of it makes sense."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.printable import printable
from components.base.words import format_count, format_part, format_some
from components.ingest.config import REFUSE, IngestConfig
from components.ingest.index import Index
from components.ingest.manifest import REJECTS, rejects_bytes, write_lists
from components.ingest.plan import Plan
from components.ingest.readings import READINGS
from components.ingest.sources import SOURCES, sources_for
from components.ingest.truth.counts import BoxCounts
from schemas.features import MULTILABEL

_REASONS_SHOWN = 5
# Of the boxes that reach beyond their images this share is refused by itself, and less if all boxes would fit
# as something else: of boxes that are misread about every second one stays on its image by chance.
_MOST, _MANY = 0.5, 0.2
# This share of the boxes must fit as something else: some boxes are wrong in all data.
_NEARLY_ALL = 0.98


class TooManyRejectsError(DataRefusedError):
    """Too few of the inputs can be used.

    Attributes:
        rejected: How many cannot.
        rejects_file: The list of them.
    """

    def __init__(self, message: str, rejected: int, rejects_file: Path):
        super().__init__(message)
        self.rejected = rejected
        self.rejects_file = rejects_file


_Arguments = ParamSpec("_Arguments")


def _refusal(check: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """Have a method of Refusals note its errors where the object says so, instead of raising them."""

    @functools.wraps(check)
    def refuse(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        try:
            check(*arguments, **named)
        except (UsageError, DataRefusedError) as error:
            owner = arguments[0]
            assert isinstance(owner, Refusals)
            if owner.noted is None:
                raise
            owner.noted.append(error)

    return refuse


@dataclasses.dataclass(frozen=True)
class Refusals:
    """Reasons to refuse an ingest; each method raises UsageError or DataRefusedError, or does nothing.

    Attributes:
        source: Its name.
        input: INPUT; None if the source brings its own data.
        output: OUTPUT.
        config: The options.
        noted: A list for the errors, which are then not raised.
        hint: Which other source reads the input, as the end of a message; "" if none does.
    """

    source: str
    input: Path | None
    output: Path
    config: IngestConfig
    noted: list[MiranteError] | None = None
    hint: str = ""

    @_refusal
    def too_many(self, index: Index) -> None:
        """Refuse data of which too many are rejected or none is left, and write rejects.csv."""
        rejected = index.count_rejects(of_boxes=False)
        (accepted,) = index.db.execute("SELECT count(*) FROM items WHERE rejected = 0").fetchone()
        total = rejected + accepted
        if accepted and rejected <= self.config.max_reject_share * total:
            return
        names = ", ".join(SOURCES)
        if not total:
            write_lists(self.output, rejects_bytes(index.rejects()), index.left_out())
            left_out = index.left_out()
            kind = "file" if self.input is not None and self.input.is_file() else "folder"
            reasons = "".join(
                f"\n  {printable(path)}: {printable(reason)}" for path, reason in left_out[:_REASONS_SHOWN]
            )
            left_out_count = format_count(left_out, "file or folder was", "files and folders were")
            raise TooManyRejectsError(
                f"{printable(str(self.input))}: no image found for the source {self.source}"
                + (f"; {self.hint}" if self.hint else f". Is it the right {kind}? The sources are {names}.")
                + (f"\n{left_out_count} left out:{reasons}" if left_out else ""),
                0,
                self.output / REJECTS,
            )
        if accepted:
            way_out = self._allow_more()
        else:
            way_out = f"Or is it data of another source than {self.source}? There are {names}"
            if self.hint:
                way_out = f"Or {self.hint}"
            if "images" in SOURCES[self.source].options and self.config.images is None and _lack_files(index):
                way_out = (
                    f"If the images are in another folder, give it: --images DIR (data.images). {way_out}"
                )
        inputs = format_part(rejected, total, "input was", "inputs were")
        what = f"{inputs} rejected ({rejected / total:.1%}, "
        raise self._refused(index, what, index.rejects()[:_REASONS_SHOWN], way_out)

    @_refusal
    def small_classes(self, plan: Plan) -> None:
        """Refuse classes with fewer images than there are splits, if that is asked for."""
        if self.config.small_classes == REFUSE and plan.small_classes:
            counts = (f"{printable(name)} ({count})" for name, count in plan.small_classes.items())
            raise DataRefusedError(
                f"{self.input}: expected as many images of each class as there are splits, got "
                f"{format_count(len(plan.small_classes), 'class', 'classes')} with fewer (images that belong "
                f"together count once): {format_some(counts, _REASONS_SHOWN)}; add images, or keep them in "
                "train with small_classes: train (--small-classes train)"
            )

    @_refusal
    def too_many_boxes(self, index: Index, boxes: BoxCounts) -> None:
        """Refuse data of which too many boxes cannot be used."""
        left_out = len(boxes.left_out)
        total = sum(boxes.boxes.values()) + left_out
        if left_out > self.config.max_reject_share * total:
            found = format_part(left_out, total, "box cannot", "boxes cannot")
            what = f"{found} be used ({left_out / total:.1%}, "
            cause = self._likely_cause(boxes)
            way_out = f"All boxes seem to be {cause}. " if cause else ""
            raise self._refused(index, what, boxes.left_out[:_REASONS_SHOWN], way_out + self._allow_more())

    @_refusal
    def no_two_classes(self, index: Index) -> None:
        """Refuse data of another source that this one would read as a single class."""
        if self.hint and len(index.class_names()) == 1:
            raise UsageError(f"{self.input}: expected two classes or more, got one; {self.hint}")

    @_refusal
    def misread(self, index: Index) -> None:
        """Refuse data whose boxes seem to be in another unit than they are read in."""
        texts = (text for (text,) in index.db.execute("SELECT truth FROM items"))
        if problem := index.truth.find_misreading(texts):
            raise UsageError(f"{self.input}: {problem}")

    @_refusal
    def misread_boxes(self, boxes: BoxCounts) -> None:
        """Refuse data of which many boxes reach beyond their images, with the likely cause."""
        total = boxes.listed - boxes.copies
        share = boxes.beyond / total if total else 0.0
        cause = self._likely_cause(boxes)
        if share > max(_MANY if cause else _MOST, self.config.max_reject_share):
            cause = cause or (
                "of other images than these, or of these in another size; compare some with their images"
            )
            said = format_part(boxes.beyond, total, "box reaches", "boxes reach")
            theirs = "its image" if boxes.beyond == 1 else "their images"
            raise DataRefusedError(
                f"{self.input}: {said} far beyond {theirs}: they seem to be {cause}. No shards were "
                f"published. {self._allow_more()}"
            )

    def _likely_cause(self, boxes: BoxCounts) -> str:
        """Return as what nearly all boxes would be on their images; "" if there is no such thing."""
        total = boxes.listed - boxes.copies
        for name in SOURCES[self.source].misread:
            if boxes.beyond + len(boxes.left_out) and boxes.fits.get(name, 0) >= _NEARLY_ALL * total:
                return READINGS[name].cause
        return ""

    @_refusal
    def nothing_to_learn(self, index: Index) -> None:
        """Refuse boxes of which none counts, or data without a single one."""
        if problem := index.truth.find_emptiness(index.db):
            raise DataRefusedError(f"{self.input}: {problem}")

    def options_of_other_sources(self) -> None:
        """Refuse an option that only other sources read."""
        own = SOURCES[self.source].options
        for name in dict.fromkeys(name for source in SOURCES.values() for name in source.options):
            if name not in own and getattr(self.config, name) not in (None, False):
                readers = ", ".join(one for one, row in SOURCES.items() if name in row.options)
                raise UsageError(
                    f"{name}: expected a source that reads it ({readers}), got {self.source}; leave it out"
                )

        if self.config.multilabel and MULTILABEL not in SOURCES[self.source].formats:
            raise UsageError(
                f"multilabel: expected a source that gives several classes for each image "
                f"({', '.join(sources_for(MULTILABEL))}), got {self.source}; leave it out"
            )

    @_refusal
    def useless_options(self, index: Index) -> None:
        """Refuse an option that says nothing about such data."""
        if index.db.execute("SELECT 1 FROM items LIMIT 1").fetchone() is None:
            return
        for name, what in index.truth.useless_options.items():
            if (value := getattr(self.config, name)) is not None:
                raise UsageError(
                    f"{name} {value}: {what}, and {self.input} has one class an image: leave it out"
                )

    def _refused(
        self, index: Index, what: str, reasons: Sequence[tuple[str, str]], way_out: str
    ) -> DataRefusedError:
        file = self.output / REJECTS
        if self.noted is not None:  # nothing is written, so there is no list to point at
            said = f"{what}allowed {self.config.max_reject_share:.1%}): correct or remove them. {way_out}"
            return TooManyRejectsError(said, index.count_rejects(), file)
        write_lists(self.output, rejects_bytes(index.rejects()), index.left_out())
        shown = "".join(f"\n  {printable(path)}: {printable(reason)}" for path, reason in reasons)
        return TooManyRejectsError(
            f"{what}allowed {self.config.max_reject_share:.1%}), no shards were published.{shown}\n"
            f"All of them, with reasons, are in {printable(str(file))}. Correct or remove them and run the "
            f"same command again. {way_out}",
            index.count_rejects(),
            file,
        )

    def _allow_more(self) -> str:
        return (
            "Or allow more: data.max_reject_share in a recipe, --max-reject-share of mirante ingest, "
            "sets the share"
        )


def _lack_files(index: Index) -> bool:
    """Return whether the first images are rejected because there are no such files."""
    reasons = [reason for _, reason in index.rejects()[:_REASONS_SHOWN]]
    return any("no such file" in reason or "no file in that" in reason for reason in reasons)
