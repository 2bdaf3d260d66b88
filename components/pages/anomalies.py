"""The table of the anomalies that ExampleValidator and DistributionValidator found."""

from collections.abc import Mapping
from typing import Any

from components.pages.markup import Cell, make_table
from components.pages.page import Page


def show_anomalies(page: Page, found: Mapping[str, Any]) -> None:
    """Add whether there are anomalies, and which."""
    rows: list[list[Cell]] = []
    for split, anomalies in found.items():
        for feature, info in sorted(anomalies.anomaly_info.items()):
            for reason in info.reason or [info]:
                rows.append([feature, split, reason.short_description, reason.description])
        if anomalies.HasField("dataset_anomaly_info"):
            rows.append(["(the split)", split, "", anomalies.dataset_anomaly_info.description])
    if rows:
        page.add_verdict(False, f"{len(rows):,} anomalies found" if len(rows) > 1 else "1 anomaly found")
        page.add(make_table(["feature", "split", "anomaly", "why"], rows))
        page.add_text("DataGate refuses this data.")
    else:
        page.add_verdict(True, "none found")
    page.add_note(f"Checked: {', '.join(found) or 'nothing'}.")
