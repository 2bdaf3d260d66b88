"""The questions of the pages to the rooms: the module `page` of each step and of each task, as Protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from components.base.task import part

if TYPE_CHECKING:
    from components.base.outcome import Output
    from components.pages.markup import Html
    from components.pages.page import Page

# The features of a record by name.
Record = Mapping[str, list[Any]]


@dataclasses.dataclass(frozen=True)
class Tested:
    """A model on the test split.

    Attributes:
        name: Its name on the page.
        evaluation: The folder of its evaluation.
        examples: The TFRecord files of the test split; none if they are gone.
    """

    name: str
    evaluation: str
    examples: list[str]


class StepPage(Protocol):
    """The module `page` in the room of a step."""

    def fill_page(self, page: Page, outputs: Mapping[str, Output]) -> None:
        """Fill the page of a node that has run, from its output artifacts by channel name."""


class TaskPage(Protocol):
    """The module `page` in the room of a task: the parts of its nodes' pages that other tasks do not have."""

    @property
    def EXAMPLES_NOTE(self) -> str:  # noqa: N802 - a constant of the module
        """A note on the counts of examples by class; empty for none."""

    @property
    def COUNTS_HEADING(self) -> str:  # noqa: N802
        """The heading over the counts of StatisticsGen."""

    @property
    def CURVES(self) -> Sequence[tuple[str, str]]:  # noqa: N802
        """The curves besides the loss, by name, with their headings."""

    @property
    def MISTAKES(self) -> tuple[str, str]:  # noqa: N802
        """The heading over the image of the Trainer's mistakes, and a sentence on what it shows."""

    def read_classes(self, record: Record) -> list[str]:
        """Return the names of the classes that a record counts for, at least one."""

    def make_thumbnail(self, page: Page, record: Record, alt: str = "") -> Html:
        """Return a small image of a record; raises what Pillow does where it cannot be decoded."""

    def show_statistics(
        self, page: Page, examples: Mapping[str, int], stats: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Add what StatisticsGen counted besides classes and image sizes.

        Args:
            page: The page.
            examples: The number of examples by split.
            stats: TFDV's `FeatureNameStatistics` by split and feature.
        """

    def show_gate(self, page: Page, folder: str, report: Mapping[str, Any]) -> None:
        """Add what DataGate reports besides the images that it decoded.

        Args:
            page: The page.
            folder: The folder of DataGate's report.
            report: The report itself.
        """

    def show_evaluation(
        self, page: Page, folder: str, per_class: Mapping[int, Mapping[str, float | None]]
    ) -> None:
        """Add what an evaluation holds besides the overall metrics.

        Args:
            page: The page.
            folder: The folder of the evaluation.
            per_class: Metrics by class index, 0 for the first class.
        """

    def show_wrong(self, page: Page, wrong: Tested, right: Tested, images: Sequence[str]) -> None:
        """Add test images that one model gets wrong and another one right.

        Args:
            page: The page.
            wrong: The model that gets them wrong.
            right: The other one, tested on the same images.
            images: Their names.
        """


def task_page(page: Page) -> TaskPage:
    """Return the module `page` of the task that a page is about."""
    return cast(TaskPage, part(page.task.name, "page"))
