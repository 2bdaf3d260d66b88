"""The page of DistributionValidator: how far splits are apart, and which are too far apart."""

from collections.abc import Mapping

from components.base.anomalies import read_anomalies
from components.base.outcome import Output
from components.pages.anomalies import show_anomalies
from components.pages.markup import Cell, make_table
from components.pages.page import Page
from components.pages.tables import find_output


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the anomalies of each pair of splits, and all distances."""
    page.add_text("The share of each class in one split is compared with its share in another.")
    found = read_anomalies(find_output(outputs, "anomalies").uri)
    show_anomalies(page, found)
    with page.part("Distances"):
        rows: list[list[Cell]] = []
        for split, anomalies in found.items():
            for info in anomalies.drift_skew_info:
                for measured in [*info.drift_measurements, *info.skew_measurements]:
                    name = "/".join(info.path.step)
                    rows.append([name, split, measured.value, measured.threshold])
        if rows:
            page.add(make_table(["feature", "splits", "distance", "at most"], rows))
            page.add_note(
                "The distance is the largest difference between a class's shares. The bound is "
                "data.max_label_drift, or the distance that chance gives splits of these sizes, if it is "
                "larger."
            )
        else:
            page.add_note("No distances were recorded.")
