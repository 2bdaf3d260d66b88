"""The page of the Resolver of the model that a training starts from, if there is one."""

from collections.abc import Mapping

from components.base.outcome import Output
from components.pages.page import Page
from components.pages.tables import show_model


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the model that the training starts from."""
    show_model(
        page,
        outputs,
        "The training starts from the served model:",
        "No model is served yet: the training starts as model.weights says.",
    )
