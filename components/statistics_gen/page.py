"""The page of StatisticsGen: counts, classes, image sizes, and every feature of every split."""

import os
from collections.abc import Mapping
from typing import Any

from components.base import files
from components.base.outcome import Output
from components.pages.charts import COLOURS, OTHER, Curve, make_line_chart, put_side_by_side
from components.pages.markup import Cell, make_table
from components.pages.page import Page
from components.pages.protocol import task_page
from components.pages.tables import count_by_class, find_output, sort_splits
from schemas import features


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the statistics of all splits next to each other."""
    folder = find_output(outputs, "statistics").uri
    datasets = _read_statistics(folder)
    if not datasets:
        page.add_text(f"There are no statistics in {folder}.")
        return
    examples = {split: int(dataset.num_examples) for split, dataset in datasets.items()}
    stats = _by_feature(datasets)
    page.add_cards([(f"{split} examples", count) for split, count in examples.items()])
    with page.part(task_page(page).COUNTS_HEADING):
        counts = {split: _read_counts(by_name.get(page.task.text)) for split, by_name in stats.items()}
        others = {name for counted in counts.values() for name in counted} - set(page.class_names)
        page.add(count_by_class(page, counts, [*page.class_names, *sorted(others)]))
    task_page(page).show_statistics(page, examples, stats)
    with page.part("Image sizes"):
        _show_sizes(page, stats)
    with page.part("Features"):
        _show_features(page, examples, stats)


def show_sizes(page: Page, outputs: Mapping[str, Output]) -> None:
    """Add the sizes of the images of every split."""
    _show_sizes(page, _by_feature(_read_statistics(find_output(outputs, "statistics").uri)))


def _by_feature(datasets: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the statistics of each split by feature."""
    return {
        split: {"/".join(feature.path.step) or feature.name: feature for feature in dataset.features}
        for split, dataset in datasets.items()
    }


def _read_statistics(folder: str) -> dict[str, Any]:
    """Return the `DatasetFeatureStatistics` of an ExampleStatistics artifact by split."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    found = {}
    for path in files.list_below(folder):
        split = os.path.basename(os.path.dirname(path)).removeprefix("Split-")
        if path.endswith("FeatureStats.pb"):
            lists = statistics_pb2.DatasetFeatureStatisticsList.FromString(files.read_bytes(path))
            if lists.datasets:
                found[split] = lists.datasets[0]
    return {split: found[split] for split in sort_splits(found)}


def _read_counts(feature: Any) -> dict[str, int]:
    """Return how often each value of a text feature occurs; none without the feature."""
    if feature is None:
        return {}
    stats = feature.string_stats
    buckets = {bucket.label: round(bucket.sample_count) for bucket in stats.rank_histogram.buckets}
    return buckets or {value.value: round(value.frequency) for value in stats.top_values}


def _show_sizes(page: Page, stats: Mapping[str, Mapping[str, Any]]) -> None:
    rows: list[list[Cell]] = []
    for split, by_name in stats.items():
        for name, words in ((features.WIDTH, "width, px"), (features.HEIGHT, "height, px")):
            if name in by_name:
                number = by_name[name].num_stats
                rows.append([split, words, number.min, number.median, number.mean, number.max])
        if features.ENCODED in by_name:
            size = by_name[features.ENCODED].bytes_stats
            rows.append(
                [split, "file, bytes", size.min_num_bytes, None, size.avg_num_bytes, size.max_num_bytes]
            )
    if not rows:
        page.add_note("The records have no sizes.")
        return
    page.add(make_table(["split", "", "min", "median", "mean", "max"], rows))
    charts = []
    for name, words in ((features.WIDTH, "Width"), (features.HEIGHT, "Height")):
        curves = [
            Curve(split, _accumulate(by_name[name].num_stats), COLOURS.get(split, OTHER))
            for split, by_name in stats.items()
            if name in by_name and by_name[name].num_stats.min < by_name[name].num_stats.max
        ]
        if curves:
            charts.append(
                make_line_chart(f"{words}: cumulative share of images", curves, "px", y_range=(0.0, 1.0))
            )
    if charts:
        page.add(put_side_by_side(charts))


def _accumulate(number: Any) -> list[tuple[float, float]]:
    """Return a distribution from its quantiles, as pairs (value, share of examples not above it)."""
    (quantiles,) = (h for h in number.histograms if h.type == h.QUANTILES)
    total = sum(bucket.sample_count for bucket in quantiles.buckets)
    points, below = [], 0.0
    for bucket in quantiles.buckets:
        points.append((bucket.low_value, below / total))
        below += bucket.sample_count
        points.append((bucket.high_value, below / total))
    return points


def _show_features(page: Page, examples: Mapping[str, int], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Add two tables: numbers, including the sizes of files, and texts, including class names."""
    numbers: list[list[Cell]] = []
    texts: list[list[Cell]] = []
    sized: set[str] = set()
    for name in sorted({name for by_name in stats.values() for name in by_name}):
        shown = name
        for split, by_name in stats.items():
            kind = by_name[name].WhichOneof("stats") if name in by_name else None
            if kind is None:
                texts.append([shown, split, 0, examples[split], None, None])
            else:
                values = getattr(by_name[name], kind)
                count = int(values.common_stats.num_non_missing)
                missing = max(int(values.common_stats.num_missing), examples[split] - count)
                rows = texts if kind == "string_stats" else numbers
                if kind == "bytes_stats":
                    sized.add(name)
                rows.append([shown, split, count, missing, *_describe_values(values, kind)])
            # The name is shown once for all splits.
            shown = ""
    counted = ["feature", "split", "count", "missing"]
    if numbers:
        page.add(make_table([*counted, "mean", "std", "min", "max"], numbers))
    if sized:
        page.add_note(f"The values of {', '.join(sorted(sized))} are sizes in bytes: each image has its own.")
    if texts:
        page.add(make_table([*counted, "distinct", "most frequent"], texts))


def _describe_values(values: Any, kind: str) -> list[Cell]:
    if kind == "num_stats":
        return [values.mean, values.std_dev, values.min, values.max]
    if kind == "bytes_stats":
        return [values.avg_num_bytes, None, values.min_num_bytes, values.max_num_bytes]
    if kind == "string_stats":
        top = values.top_values[0] if values.top_values else None
        most = f"{_shorten(top.value)} ({top.frequency:,.0f})" if top and top.frequency > 1 else None
        return [int(values.unique), most]
    return [None] * 4


def _shorten(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
