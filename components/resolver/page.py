"""The page of the Resolver: the baseline, if there is one."""

from collections.abc import Mapping

from components.base.outcome import Output
from components.pages.page import Page
from components.pages.tables import show_model


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the model that the new one is compared with."""
    show_model(
        page,
        outputs,
        "The new model is compared with the served model:",
        "There is no baseline: no other model is served, or the served model has too few of the classes or "
        "another task, as the log says. Only the thresholds decide.",
    )
