"""The page of ExampleValidator: examples that do not agree with the schema."""

from collections.abc import Mapping

from components.base.anomalies import read_anomalies
from components.base.outcome import Output
from components.pages.anomalies import show_anomalies
from components.pages.page import Page
from components.pages.tables import find_output


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the anomalies of each split."""
    page.add_text("Every split is compared with the schema.")
    show_anomalies(page, read_anomalies(find_output(outputs, "anomalies").uri))
