"""The Evaluator's page: metrics, classes, confusion matrix, ROC curve, blessing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.base import files
from components.pages.charts import COLOURS, Curve, line_chart
from components.pages.page import Cell, Html, Measure, Page, escape, table
from components.pages.records import MOST_CLASSES
from components.pages.view import ConfusionMatrix, Roc
from pipeline.views import boxes

if TYPE_CHECKING:
    from components.base.outcome import Output
    from components.evaluator.results import Plots

# As a table with numbers; and as data, beyond which neither a page nor a person can do anything with it.
MOST_IN_TABLE, MOST_IN_MATRIX = 25, 100
_MOST_CONFUSIONS = 30


def evaluator(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the Evaluator: what TFMA measured on the test split."""
    from components.evaluator.gate import COMMON
    from components.evaluator.results import Plots, read_evaluation, read_plots

    folder = outputs["evaluation"].uri
    found = read_evaluation(folder)
    page.metrics.update(found.metrics)
    if "blessing" in outputs:
        blessed = outputs["blessing"].properties.get("blessed") == 1
        page.verdict(blessed, "blessed" if blessed else "not blessed")
    if found.failures:
        page.sentences(found.failures)
    elif found.blessed:
        page.text("Every threshold was met.")
    for warning in found.warnings:
        page.text(f"Warning: {warning}.")
    bounds: dict[str, tuple[str, list[float]]] = {}
    with page.part("Metrics on the test split"):
        bounds = _bounds(folder)
        if found.common is None:
            bounds = _without_prefix(bounds, COMMON)
        page.add(_metrics_table(found.metrics, found.baseline, bounds))
        if found.example_count:
            page.note(f"{found.example_count:,} images.")
        if not found.baseline and found.common is None:
            page.note("There was no baseline to compare with.")
    if found.common is not None:
        with page.part("Compared with the baseline"):
            page.text(f"The baseline knows other classes, so both models are compared on {found.common}.")
            of_common = {
                name.removeprefix(COMMON): bound for name, bound in bounds.items() if name.startswith(COMMON)
            }
            page.add(_metrics_table(found.common.metrics, found.common.baseline, of_common))
    if boxes.is_detection(folder):
        boxes.evaluation(page, folder, found.per_class, class_names)
        return
    plots = Plots({}, [])
    with page.part():
        plots = read_plots(folder)
    with page.part("Confusion matrix"):
        _show_confusion(page, plots, class_names)
    with page.part("ROC curve"):
        _show_roc(page, plots, class_names)
    with page.part("Classes"):
        _show_classes(page, found.per_class, plots, class_names)


def _metrics_table(
    metrics: Mapping[str, float],
    baseline: Mapping[str, float],
    bounds: Mapping[str, tuple[str, list[float]]],
) -> Html:
    rows: list[list[Cell]] = []
    for name, value in metrics.items():
        words, limits = bounds.get(name, ("", []))
        row: list[Cell] = [name, _beside(value, limits), words]
        if name in baseline:
            row += [Measure(baseline[name]), f"{value - baseline[name]:+.4f}"]
        elif baseline:
            row += [None, None]
        rows.append(row)
    return table(["metric", "model", "bound", *(["baseline", "change"] if baseline else [])], rows)


def _without_prefix(
    bounds: Mapping[str, tuple[str, list[float]]], prefix: str
) -> dict[str, tuple[str, list[float]]]:
    """Returns bounds by metric: where both models know the same classes, those of the common ones too."""
    found: dict[str, tuple[str, list[float]]] = {}
    # The absolute bounds first: the configuration has its metrics in any order.
    for name, (words, limits) in sorted(bounds.items(), key=lambda item: item[0].startswith(prefix)):
        known, known_limits = found.get(name.removeprefix(prefix), ("", []))
        joined = ", ".join(part for part in (known, words) if part)
        found[name.removeprefix(prefix)] = joined, [*known_limits, *limits]
    return found


def _beside(value: float, limits: Sequence[float]) -> Cell:
    """A value with as many digits as it takes to be on its side of its bounds."""
    from components.evaluator.gate import distinct

    longest = max((distinct(value, limit) for limit in limits), key=len, default="")
    return longest if len(longest) > len(f"{value:.4f}") else Measure(value)


def _bounds(folder: str) -> dict[str, tuple[str, list[float]]]:
    """What every metric was held against, from the configuration that TFMA keeps: in words, and values."""
    path = os.path.join(folder, "eval_config.json")
    if not files.exists(path):
        return {}
    found: dict[str, tuple[str, list[float]]] = {}
    for specs in json.loads(files.read_text(path))["evalConfig"]["metricsSpecs"]:
        for metric in specs["metrics"]:
            if held := metric.get("perSliceThresholds"):
                found[json.loads(metric["config"])["name"]] = _bound(held)
        # Of a metric that gives many values they stand beside it.
        for name, thresholds in specs.get("perSliceThresholds", {}).items():
            found[name] = _bound(thresholds["thresholds"])
    return found


def _bound(thresholds: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]]:
    from components.evaluator.gate import shortest

    parts, limits = [], []
    for threshold in (item["threshold"] for item in thresholds):
        value = threshold.get("valueThreshold", {})
        for key, words in (("lowerBound", "at least"), ("upperBound", "at most")):
            if key in value:
                parts.append(f"{words} {shortest(value[key])}")
                limits.append(float(value[key]))
        if "changeThreshold" in threshold:
            allowed = threshold["changeThreshold"].get("absolute", 0.0)
            parts.append(f"change {'+' if allowed > 0 else ''}{shortest(allowed)} at worst")
    return ", ".join(parts), limits


def _name(class_names: Sequence[str], index: int) -> str:
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"


def _show_classes(
    page: Page,
    per_class: Mapping[int, Mapping[str, float | None]],
    plots: Plots,
    class_names: Sequence[str],
) -> None:
    images: dict[int, int] = {}
    for (true, _), count in plots.confusion.items():
        images[true] = images.get(true, 0) + count
    indices = list(per_class)
    if len(indices) > MOST_CLASSES:
        indices = sorted(indices, key=lambda index: per_class[index].get("f1") or 0.0)[:MOST_CLASSES]
        page.note(f"The {MOST_CLASSES} of {len(per_class):,} classes with the lowest f1, lowest first.")
    rows: list[list[Cell]] = []
    for index in indices:
        values = per_class[index]
        counted = images.get(index, 0) if plots.confusion else None
        measures = [_shaded(values.get(key)) for key in ("precision", "recall", "f1", "auc")]
        rows.append([_name(class_names, index), counted, *measures])
    page.add(table(["class", "test images", "precision", "recall", "f1", "auc"], rows))


def _shaded(share: float | None) -> Cell:
    """A share, the redder the lower."""
    if share is None:
        return None
    return Html(f'<span style="{_colour(1.0 - share, "214,69,65", 0.75)};padding:0 4px">{share:.4f}</span>')


def _colour(share: float, rgb: str, most: float = 1.0) -> str:
    # The root, so that few among many can still be seen.
    return f"background:rgba({rgb},{most * math.sqrt(max(0.0, min(1.0, share))):.3f})"


def _show_confusion(page: Page, plots: Plots, class_names: Sequence[str]) -> None:
    if not plots.confusion:
        page.note("The evaluation holds no confusion matrix.")
        return
    unknown = sum(count for (_, predicted), count in plots.confusion.items() if predicted < 0)
    if unknown:
        page.note(f"{unknown:,} images are left out: none of their probabilities is a number.")
    if len(class_names) <= MOST_IN_MATRIX:
        places = range(len(class_names))
        counts = [[plots.confusion.get((true, predicted), 0) for predicted in places] for true in places]
        page.confusion = ConfusionMatrix(tuple(class_names), counts)
        if len(class_names) <= MOST_IN_TABLE:
            page.add(_confusion_table(class_names, counts))
            page.note(
                "Rows are true classes, columns what the model took them for. Blue is right, red wrong; the "
                "deeper, the larger the share of the row."
            )
    wrong = [
        (count, true, predicted)
        for (true, predicted), count in plots.confusion.items()
        if true != predicted and predicted >= 0
    ]
    wrong.sort(key=lambda item: (-item[0], item[1:]))
    if wrong:
        page.text("The most frequent confusions:")
        most = 10 if len(class_names) <= MOST_IN_TABLE else _MOST_CONFUSIONS
        page.add(
            table(
                ["true class", "taken for", "images"],
                [[_name(class_names, t), _name(class_names, p), count] for count, t, p in wrong[:most]],
            )
        )
    else:
        page.text("Every image was taken for what it is.")


def _confusion_table(class_names: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    head = "".join(f'<th title="{escape(name)}"><span>{escape(name)}</span></th>' for name in class_names)
    rows = []
    for true, row in enumerate(counts):
        total = sum(row) or 1
        cells = []
        for predicted, count in enumerate(row):
            share = count / total
            rgb = "47,109,179" if true == predicted else "214,69,65"
            look = _colour(share, rgb) if count else "background:#f6f8fa"
            white = ";color:#fff" if true == predicted and share > 0.3 else ""
            words = f"{class_names[true]} taken for {class_names[predicted]}: {share:.1%}"
            cells.append(f'<td style="{look}{white}" title="{escape(words)}">{count or ""}</td>')
        name = escape(class_names[true])
        rows.append(f'<tr><th title="{name}">{name}</th>{"".join(cells)}</tr>')
    return Html(
        f'<div class="wide"><table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _show_roc(page: Page, plots: Plots, class_names: Sequence[str]) -> None:
    if not plots.roc:
        page.note("The evaluation holds no ROC curve.")
        return
    if len(class_names) == 2:
        of = f"class {class_names[1]} against {class_names[0]}"
    else:
        of = "micro-average: every class against the rest, each probability a decision of its own"
    fpr, tpr, thresholds = (list(values) for values in zip(*plots.roc, strict=True))
    page.roc = Roc(fpr, tpr, thresholds, of)
    curves = [
        Curve("chance", [(0.0, 0.0), (1.0, 1.0)], "#9aa5b1", dashed=True),
        Curve("model", list(zip(fpr, tpr, strict=True)), COLOURS["train"]),
    ]
    chart = line_chart(
        "True positives by false positives",
        curves,
        "share of false positives",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        height=380,
    )
    page.add(Html(f'<div style="max-width:460px">{chart}</div>'))
    page.note(of[0].upper() + of[1:] + ".")
    if len(class_names) > 2:
        page.note("The metric auc is the mean of the classes' own areas, and not the area under this curve.")
