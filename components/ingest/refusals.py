"""When an ingest publishes nothing: too little of the data can be used, or none of it makes sense."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from components.errors import DataRefusedError, UsageError
from components.ingest.boxes import BoxCounts
from components.ingest.index import Index
from components.ingest.manifest import REJECTS, rejects_bytes, write_atomically
from components.ingest.options import IngestOptions
from components.ingest.plan import Plan
from components.ingest.sources import SOURCES
from schemas import features

_REASONS_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Refusals:
    """What an ingest may be refused for; each method raises, or does nothing.

    source: its name. input: INPUT, None where the source brings its own. output: OUTPUT.
    """

    source: str
    input: Path | None
    output: Path
    options: IngestOptions

    def too_many(self, index: Index) -> None:
        """Raises DataRefusedError, with rejects.csv written, if too many are rejected or none is left."""
        rejected = index.count_rejects(of_boxes=False)
        (accepted,) = index.db.execute("SELECT count(*) FROM items WHERE rejected = 0").fetchone()
        total = rejected + accepted
        if accepted and rejected <= self.options.max_reject_share * total:
            return
        if not total:
            write_atomically(self.output / REJECTS, rejects_bytes(()))
            raise DataRefusedError(
                f"{self.input}: no picture found for the source {self.source}. Is it the right folder? "
                f"The sources are {', '.join(SOURCES)}."
            )
        if accepted:
            way_out = self._allow_more()
        else:
            way_out = f"Or is it data of another source than {self.source}? There are {', '.join(SOURCES)}."
        what = f"{rejected} of {total} inputs were rejected ({rejected / total:.1%}, "
        raise self._refused(index, what, index.rejects()[:_REASONS_SHOWN], way_out)

    def too_many_boxes(self, index: Index, boxes: BoxCounts) -> None:
        """Like too_many, for the boxes of the pictures that can be used."""
        left_out = len(boxes.left_out)
        total = sum(boxes.boxes.values()) + left_out
        if left_out > self.options.max_reject_share * total:
            what = f"{left_out} of {total} boxes cannot be used ({left_out / total:.1%}, "
            raise self._refused(index, what, boxes.left_out[:_REASONS_SHOWN], self._allow_more())

    def no_boxes(self, plan: Plan) -> None:
        """Raises DataRefusedError for detection data without a single box."""
        if not plan.class_names:
            raise DataRefusedError(
                f"{self.input}: none of its pictures has a box, so there is nothing to learn. Is it the "
                "right folder?"
            )

    def label_map_without_boxes(self, index: Index) -> None:
        """Raises UsageError for a label map that was given for pictures with one class each."""
        (found,) = index.db.execute("SELECT count(*) FROM items").fetchone()
        if self.options.label_map is not None and found and index.task() != features.DETECTION:
            raise UsageError(
                f"label_map {self.options.label_map}: it numbers the classes of boxes, and {self.input} has "
                "one class a picture: leave it out."
            )

    def _refused(
        self, index: Index, what: str, reasons: Sequence[tuple[str, str]], way_out: str
    ) -> DataRefusedError:
        file = self.output / REJECTS
        write_atomically(file, rejects_bytes(index.rejects()))
        shown = "".join(f"\n  {path}: {reason}" for path, reason in reasons)
        return DataRefusedError(
            f"{what}allowed {self.options.max_reject_share:.1%}), no shards were published.{shown}\n"
            f"All of them, with reasons, are in {file}. Correct or remove them and run the same command "
            f"again. {way_out}"
        )

    def _allow_more(self) -> str:
        return (
            "Or allow more: data.max_reject_share in a recipe, --max-reject-share of mirante ingest, "
            "sets the share."
        )
