"""The page of the Tuner: the best values, and every trial."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.base import files
from components.base.outcome import Output
from components.base.table import read_table
from components.pages.markup import Cell, Measure, make_table
from components.pages.page import Page

_Trial = Mapping[str, str]


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the best values and the trials, the best trial highlighted."""
    with page.part():
        (file,) = files.list_below(outputs["best_hyperparameters"].uri)
        best = _read_best(file)
        page.add_text("The Trainer trains with the best values:")
        page.add(make_table(["field", "value"], [[name, str(value)] for name, value in best.items()]))
    with page.part("Trials"):
        (file,) = (p for p in files.list_below(outputs["tuner_results"].uri) if p.endswith("trials.csv"))
        trials = read_table(files.read_text(file))
        _show_trials(page, trials, best)


def _read_best(path: str) -> dict[str, Any]:
    from components.trainer.fields import read_values

    return read_values(json.loads(files.read_text(path)))


def _show_trials(page: Page, trials: Sequence[_Trial], best: Mapping[str, Any]) -> None:
    columns = list(trials[0]) if trials else []
    measures = [name for name in (*page.task.objectives, "seconds") if name in columns]
    fields = [name for name in columns if name not in ("trial", "status", "reason", *measures)]
    winner = _find_winner(
        trials, {name: str(best[name]) for name in fields if name in best}, page.task.objectives[0]
    )
    rows: list[list[Cell]] = [
        [
            int(trial["trial"]),
            *(Measure(trial[name]) if trial[name] else None for name in measures),
            *(_shorten(trial[name]) for name in fields),
        ]
        for trial in trials
    ]
    page.add(make_table(["trial", *measures, *fields], rows, best=winner))
    page.add_note("The green row is the best trial." if winner is not None else "The best trial is unknown.")
    failed = [
        f"trial {trial['trial']}: {trial['reason']}" for trial in trials if trial["status"] != "completed"
    ]
    if failed:
        page.add_text("Trials that failed:")
        page.add_list(failed)
    page.metrics["trials"] = len(trials)
    if winner is not None:
        for name in measures[:-1]:
            page.metrics[f"best_trial_{name}"] = float(trials[winner][name])


def _shorten(text: str) -> str:
    """Return a number with four digits, and other text unchanged."""
    try:
        return text if text.isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def _find_winner(trials: Sequence[_Trial], best: Mapping[str, str], objective: str) -> int | None:
    """Return the row of the completed trial with the best values; of several, the one that did best."""
    same = [
        place
        for place, trial in enumerate(trials)
        if trial["status"] == "completed" and all(trial[name] == value for name, value in best.items())
    ]
    return max(same, key=lambda place: float(trials[place][objective]), default=None)
