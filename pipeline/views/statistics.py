"""Pages of what looks at the data: StatisticsGen, ExampleValidator, DistributionValidator, DataGate."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.base import files
from components.pages.charts import COLOURS, OTHER, Curve, line_chart, side_by_side
from components.pages.page import Cell, Page, table
from pipeline.views import boxes
from pipeline.views.data import counts_by_class, only, place_of
from schemas import features

if TYPE_CHECKING:
    from components.base.outcome import Output


def read_statistics(folder: str) -> dict[str, Any]:
    """The `DatasetFeatureStatistics` of an ExampleStatistics artifact by split, in their order."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    found = {}
    for path in files.below(folder):
        split = os.path.basename(os.path.dirname(path)).removeprefix("Split-")
        if path.endswith("FeatureStats.pb"):
            lists = statistics_pb2.DatasetFeatureStatisticsList.FromString(files.read_bytes(path))
            if lists.datasets:
                found[split] = lists.datasets[0]
    return {split: found[split] for split in sorted(found, key=place_of)}


def _by_name(dataset: Any) -> dict[str, Any]:
    return {"/".join(f.path.step) or f.name: f for f in dataset.features}


def statistics_gen(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of StatisticsGen: counts, classes, image sizes, and every feature of every split."""
    datasets = read_statistics(only(outputs, "statistics").uri)
    if not datasets:
        page.text(f"There are no statistics in {only(outputs, 'statistics').uri}.")
        return
    stats = {split: _by_name(dataset) for split, dataset in datasets.items()}
    page.cards([(f"{split} examples", int(dataset.num_examples)) for split, dataset in datasets.items()])
    has_boxes = any(features.BOX_XMIN in of for of in stats.values())
    text = features.BOX_TEXT if has_boxes else features.LABEL_TEXT
    with page.part("Boxes by split and class" if has_boxes else "Classes by split"):
        counts = {split: _histogram(of.get(text)) for split, of in stats.items()}
        seen = {name for counted in counts.values() for name in counted}
        names = [*class_names, *sorted(seen - set(class_names))]
        page.add(counts_by_class(counts, names))
    if has_boxes:
        with page.part("Boxes by split"):
            boxes.statistics(page, datasets, stats)
    with page.part("Image sizes"):
        _show_sizes(page, stats)
    with page.part("Features"):
        _show_features(page, datasets, stats)


def _histogram(feature: Any) -> dict[str, int]:
    if feature is None:
        return {}
    stats = feature.string_stats
    buckets = {bucket.label: round(bucket.sample_count) for bucket in stats.rank_histogram.buckets}
    return buckets or {value.value: round(value.frequency) for value in stats.top_values}


def _show_sizes(page: Page, stats: Mapping[str, Mapping[str, Any]]) -> None:
    rows: list[list[Cell]] = []
    for split, of in stats.items():
        for name, words in ((features.WIDTH, "width, px"), (features.HEIGHT, "height, px")):
            if name in of:
                number = of[name].num_stats
                rows.append([split, words, number.min, number.median, number.mean, number.max])
        if features.ENCODED in of:
            size = of[features.ENCODED].bytes_stats
            rows.append(
                [split, "file, bytes", size.min_num_bytes, None, size.avg_num_bytes, size.max_num_bytes]
            )
    if not rows:
        page.note("The records tell no sizes.")
        return
    page.add(table(["split", "", "min", "median", "mean", "max"], rows))
    charts = []
    for name, words in ((features.WIDTH, "Width"), (features.HEIGHT, "Height")):
        curves = [
            Curve(split, _shares(of[name].num_stats), COLOURS.get(split, OTHER))
            for split, of in stats.items()
            if name in of and of[name].num_stats.min < of[name].num_stats.max
        ]
        if curves:
            charts.append(line_chart(f"{words}: share of images up to", curves, "px", y_range=(0.0, 1.0)))
    if charts:
        page.add(side_by_side(charts))


def _shares(number: Any) -> list[tuple[float, float]]:
    """The distribution by its quantiles: (value, share of examples not above it)."""
    (quantiles,) = (h for h in number.histograms if h.type == h.QUANTILES)
    total = sum(bucket.sample_count for bucket in quantiles.buckets)
    points, below = [], 0.0
    for bucket in quantiles.buckets:
        points.append((bucket.low_value, below / total))
        below += bucket.sample_count
        points.append((bucket.high_value, below / total))
    return points


def _show_features(page: Page, datasets: Mapping[str, Any], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Two tables: of numbers, among which are the sizes of files, and of texts, among which are labels."""
    numbers: list[list[Cell]] = []
    texts: list[list[Cell]] = []
    for name in sorted({name for of in stats.values() for name in of}):
        shown = name
        for split, of in stats.items():
            examples = int(datasets[split].num_examples)
            kind = of[name].WhichOneof("stats") if name in of else None
            if kind is None:
                texts.append([shown, split, 0, examples, None, None])
            else:
                values = getattr(of[name], kind)
                count = int(values.common_stats.num_non_missing)
                missing = max(int(values.common_stats.num_missing), examples - count)
                rows = texts if kind == "string_stats" else numbers
                rows.append([shown, split, count, missing, *_values_of(values, kind)])
            # Once for all its splits.
            shown = ""
    counted = ["feature", "split", "count", "missing"]
    if numbers:
        page.add(table([*counted, "mean", "std", "min", "max"], numbers))
        page.note(f"Of {features.ENCODED} it is the files' sizes in bytes.")
    if texts:
        page.add(table([*counted, "distinct", "most frequent"], texts))


def _values_of(values: Any, kind: str) -> list[Cell]:
    if kind == "num_stats":
        return [values.mean, values.std_dev, values.min, values.max]
    if kind == "bytes_stats":
        return [values.avg_num_bytes, None, values.min_num_bytes, values.max_num_bytes]
    if kind == "string_stats":
        top = values.top_values[0] if values.top_values else None
        most = f"{_short(top.value)} ({top.frequency:,.0f})" if top and top.frequency > 1 else None
        return [int(values.unique), most]
    return [None] * 4


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _read_anomalies(folder: str) -> dict[str, Any]:
    """The `Anomalies` by split, or pair of splits, of an ExampleAnomalies artifact."""
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    found = {}
    for path in files.below(folder):
        split = os.path.basename(os.path.dirname(path))
        if split.startswith("Split"):
            words = split.removeprefix("SplitPair-").removeprefix("Split-").replace("_", " against ")
            found[words] = anomalies_pb2.Anomalies.FromString(files.read_bytes(path))
    return found


def _show_anomalies(page: Page, found: Mapping[str, Any]) -> None:
    rows: list[list[Cell]] = []
    for split, anomalies in found.items():
        for feature, info in sorted(anomalies.anomaly_info.items()):
            for reason in info.reason or [info]:
                rows.append([feature, split, reason.short_description, reason.description])
        if anomalies.HasField("dataset_anomaly_info"):
            rows.append(["(the split)", split, "", anomalies.dataset_anomaly_info.description])
    if rows:
        page.verdict(False, f"{len(rows):,} anomalies found" if len(rows) > 1 else "1 anomaly found")
        page.add(table(["feature", "split", "anomaly", "why"], rows))
        page.text("DataGate refuses this data.")
    else:
        page.verdict(True, "none found")
    page.note(f"Looked at: {', '.join(found) or 'nothing'}.")


def example_validator(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of ExampleValidator: what does not agree with the schema."""
    page.text("Every split against the schema.")
    _show_anomalies(page, _read_anomalies(only(outputs, "anomalies").uri))


def distribution_validator(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of DistributionValidator: how far splits are apart, and what is too far."""
    page.text("The classes' shares in one split against those in another.")
    found = _read_anomalies(only(outputs, "anomalies").uri)
    _show_anomalies(page, found)
    with page.part("Distances"):
        rows: list[list[Cell]] = []
        for split, anomalies in found.items():
            for info in anomalies.drift_skew_info:
                for measured in [*info.drift_measurements, *info.skew_measurements]:
                    name = "/".join(info.path.step)
                    rows.append([name, split, measured.value, measured.threshold])
        if rows:
            page.add(table(["feature", "splits", "distance", "at most"], rows))
            page.note(
                "The distance is the largest difference of a class's share. The bound is "
                "data.max_label_drift, or what chance makes of splits of these sizes, if that is more."
            )
        else:
            page.note("No distances were recorded.")


def data_gate(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of DataGate: what it checked; where it refuses data its task fails, and there are no outputs."""
    if not outputs:
        page.verdict(False, "refused")
        page.text("The data was refused; the task's log names what is wrong with it.")
        return
    report = json.loads(files.read_text(os.path.join(only(outputs, "blessing").uri, "report.json")))
    counts = report["images"]
    page.verdict(True, "passed")
    page.sentences(
        [
            "ExampleValidator found no anomaly in any split.",
            "DistributionValidator found the classes alike in train and eval.",
            "Every image was decoded, as training and serving decode it."
            if counts
            else "Images were not decoded: data.check_images is off.",
        ]
    )
    if counts:
        with page.part("Images decoded"):
            whole = sum(counts.values())
            rows = [[split, counts[split], 0] for split in sorted(counts, key=place_of)]
            page.add(table(["split", "images", "refused"], [*rows, ["all", whole, 0]]))
    if "boxes" in report:
        boxes.gate(page, only(outputs, "blessing").uri, report["boxes"])
