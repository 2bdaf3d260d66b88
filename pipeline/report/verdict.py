"""How a run ended, in a sentence, and its most important numbers."""

from collections.abc import Mapping
from typing import Any

from components.base.intervals import Interval
from components.base.words import format_count
from components.evaluator.evaluation import read_stored
from components.evaluator.stored import load_evaluation
from components.pages.markup import Cell, Html, Measure, Seconds, escape, render_part
from components.pages.page import Page
from components.pages.tables import format_interval
from pipeline.history.runs import PastRun

# The metrics of a task in large print.
_MOST_CARDS = 3
# Reasons in the sentence; all are listed below it if there are more.
_MOST_REASONS = 2
_GOOD, _BAD, _UNKNOWN = "good", "bad", "unknown"


def show_verdict(page: Page, run: PastRun) -> None:
    """Add how a run ended and why, and its first metrics with their intervals."""
    kind, words = _choose_badge(run)
    page.add(render_part("badge", kind, words))
    page.add(Html('<p class="lead">{}</p>').format(escape(describe_verdict(run))))
    if (error := run.result.get("error")) and not _says_all(run):
        page.add_list([line.strip().removeprefix("- ") for line in str(error).splitlines()])
    for warning in run.result.get("warnings") or []:
        page.add_text(f"Warning: {warning}")
    intervals = find_intervals(run)
    names = list(run.metrics)[:_MOST_CARDS]
    page.add_cards(
        [(name, Measure(run.metrics[name])) for name in names] + _list_facts(run),
        [Html("95 %: {}").format(format_interval(intervals.get(name)) or "–") for name in names],
    )


def describe_verdict(run: PastRun) -> str:
    """Return whether the model of a run was pushed and why, and what it was compared with."""
    result = run.result
    if not result:
        return "The run is under way, or was killed."
    if result.get("blessed") is None:
        return _describe_early_end(run)
    baseline = _describe_baseline(result.get("baseline"))
    if result["blessed"] is False:
        return f"The model was not blessed, so it was not pushed: {_describe_failures(run)}. {baseline}"
    if result.get("infra_blessed") is False:
        return f"The model met every bound, but did not answer as a server asks. {baseline}"
    if run.status == "pushed":
        return f"The model was blessed and pushed: it met every bound and answered as it must. {baseline}"
    if run.pushed_model:  # by this run, or by an earlier one with the same result
        fate = "taken back since" if run.status == "taken back" else "removed since"
        return f"The model was blessed and pushed, and was {fate}. {baseline}"
    if run.status == "taken back":
        return f"The model met every bound, but was taken back before, so it was not pushed again. {baseline}"
    return f"The model met every bound, but was not pushed. {baseline}"


def _describe_early_end(run: PastRun) -> str:
    how = "was interrupted" if run.status == "interrupted" else "ended"
    failed = _find_failed_node(run)
    return f"The run {how}{f' at {failed},' if failed else ''} before a model was judged."


def _find_failed_node(run: PastRun) -> str | None:
    nodes: dict[str, dict[str, Any]] = run.result.get("components") or {}
    return next((name for name, node in nodes.items() if node["status"] == "failed"), None)


def _describe_failures(run: PastRun) -> str:
    failures = _find_failures(run)
    shown = failures[:_MOST_REASONS] or ["it missed a bound"]
    if len(failures) > _MOST_REASONS:
        shown.append(f"and {format_count(len(failures) - _MOST_REASONS, 'more reason')}")
    return "; ".join(shown)


def _find_failures(run: PastRun) -> list[str]:
    evaluation = run.outputs.get("Evaluator", {}).get("evaluation")
    stored = read_stored(evaluation.uri) if evaluation else None
    return stored.failures if stored else []


def _says_all(run: PastRun) -> bool:
    """Return whether the sentence has all that the run's error says."""
    result = run.result
    if _find_failed_node(run) or str(result.get("error")).startswith("interrupted"):
        return False
    refused = result.get("blessed") is False and result.get("infra_blessed") is not False
    return refused and 0 < len(_find_failures(run)) <= _MOST_REASONS


def find_intervals(run: PastRun) -> Mapping[str, Interval]:
    """Return the 95 % confidence intervals of a run's metrics by name; empty without any."""
    evaluation = run.outputs.get("Evaluator", {}).get("evaluation")
    return load_evaluation(evaluation.uri).intervals if evaluation else {}


def _choose_badge(run: PastRun) -> tuple[str, str]:
    if run.status == "pushed":
        return _GOOD, run.status
    return (_BAD if run.status in ("failed", "not blessed") else _UNKNOWN), run.status


def _describe_baseline(baseline: Mapping[str, Any] | None) -> str:
    if not baseline or baseline.get("model") is None:
        return "There was no baseline to compare with."
    version = baseline.get("version")
    of = f"version {version}" if version is not None else f"the model {baseline['model']}"
    return f"The baseline was {of}."


def _list_facts(run: PastRun) -> list[tuple[str, Cell]]:
    found: list[tuple[str, Cell]] = []
    if run.result.get("test_images") is not None:
        found.append(("test images", run.result["test_images"]))
    if run.result.get("wall_seconds"):
        found.append(("seconds", Seconds(run.result["wall_seconds"])))
    return found
