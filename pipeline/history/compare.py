"""Runs side by side: metrics, settings, and the test images that one model gets right and the other wrong.

Whether two models differ by more than chance is asked on the same test images, in two ways:

- McNemar's exact test [1] for the share of images that a model gets right, which of a classifier is the
  accuracy, and of a detector the share of images without an error: of the images that one model alone gets
  right, each is as likely to be the first model's as the second's, if the models are equally good.
- The paired bootstrap [2] for metrics that an evaluation kept on drawn splits: both models were measured on
  the same ones, so that the differences have a 95 % interval. One without 0 in it is more than chance.

[1] Q. McNemar: Note on the sampling error of the difference between correlated proportions or percentages.
    Psychometrika 12, 1947.
[2] B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap. Chapman & Hall, 1993.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.base.intervals import Interval, bootstrap_interval
from components.base.table import read_table
from components.evaluator.evaluation import read_draws
from pipeline.history.runs import PastRun

# A difference this unlikely among equally good models is not put down to chance.
SIGNIFICANCE = 0.05
# What two runs of one recipe always differ in.
_NO_SETTINGS = ("name", "root")
# The value of a setting that the recipe of a run does not have, such as one of a later version.
ABSENT = "(absent)"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Another run, compared with the first one on the same test images.

    Attributes:
        run_id: Of the other run.
        only_first_right, only_other_right: Test images that one of the two models gets right.
        both_wrong: Number of test images that both get wrong.
        p_value: Probability of such a difference, or a larger one, if the models are equally good; None if
            the images cannot be compared.
        why_not: Why they cannot; empty if they can.
        share: What the p-value is about, in words.
        differences: 95 % intervals of the differences of metrics, the other model's less the first one's.
    """

    run_id: str
    only_first_right: list[str] = dataclasses.field(default_factory=list)
    only_other_right: list[str] = dataclasses.field(default_factory=list)
    both_wrong: int = 0
    p_value: float | None = None
    why_not: str = ""
    share: str = "accuracy"
    differences: dict[str, Interval] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: The runs; the others are compared with the first one.
        metrics: Values by metric, one for each run; None where a run has none.
        settings: Values by recipe key, one for each run, of keys that differ; ABSENT where a run has no such
            key, which is no difference from null.
        pairs: One for each of the other runs.
    """

    runs: list[PastRun]
    metrics: dict[str, list[float | None]]
    settings: dict[str, list[Any]]
    pairs: list[Pair]

    def to_json(self) -> dict[str, Any]:
        """Return everything, as `mirante compare --json` prints it."""
        return {
            "runs": [
                {"run_id": run.run_id, "root": str(run.root), "status": run.status, "data": run.data}
                for run in self.runs
            ],
            "metrics": self.metrics,
            "settings": self.settings,
            "pairs": [dataclasses.asdict(pair) for pair in self.pairs],
        }


def compare_runs(runs: Sequence[PastRun]) -> Comparison:
    """Return two or more runs side by side."""
    first, *others = runs
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    keys = sorted({key for run in runs for key in run.settings} - set(_NO_SETTINGS))
    differ = [key for key in keys if any(run.settings.get(key) != first.settings.get(key) for run in others)]
    return Comparison(
        list(runs),
        {name: [run.metrics.get(name) for run in runs] for name in names},
        {key: [run.settings.get(key, ABSENT) for run in runs] for key in differ},
        [_compare(first, other) for other in others],
    )


def _compare(first: PastRun, other: PastRun) -> Pair:
    if why_not := _why_not_compared(first, other):
        return Pair(other.run_id, why_not=why_not)
    wrong = [_read_mistakes(run) for run in (first, other)]
    if None in wrong:
        return Pair(other.run_id, why_not="the list of mistakes of one of them is gone, or not complete")
    of_first, of_other = (Counter(names) for names in wrong)
    only_first_right = sorted((of_other - of_first).elements())
    only_other_right = sorted((of_first - of_other).elements())
    return Pair(
        other.run_id,
        only_first_right,
        only_other_right,
        (of_first & of_other).total(),
        _test_mcnemar(len(only_first_right), len(only_other_right)),
        share="accuracy" if "accuracy" in first.metrics else "the share of images without an error",
        differences=_find_differences(first, other),
    )


def _why_not_compared(first: PastRun, other: PastRun) -> str:
    """Return why no test image can be compared; empty if they can."""
    for run in (first, other):
        if not run.metrics:
            return f"{run.run_id} has no metrics"
    content = [run.data.get("test_sha256") for run in (first, other)]
    if None in content:
        return "one of them does not say what its test images are"
    if content[0] != content[1]:
        return "they were tested on different images"
    if first.main_metric.keys() != other.main_metric.keys():
        return "they are of different tasks"
    return ""


def _find_differences(first: PastRun, other: PastRun) -> dict[str, Interval]:
    """Return the 95 % intervals of the differences of metrics that both evaluations have on drawn splits."""
    of_first, of_other = (_read_draws(run) for run in (first, other))
    found = {}
    for name in of_first:
        # Where one was drawn more often, its first draws are the other one's.
        pairs = zip(of_first[name], of_other.get(name, []), strict=False)
        if name in first.metrics and name in other.metrics:
            found[name] = bootstrap_interval(np.array([after - before for before, after in pairs]))
    return {name: interval for name, interval in found.items() if interval is not None}


def _read_draws(run: PastRun) -> dict[str, list[float]]:
    evaluation = run.outputs.get("Evaluator", {}).get("evaluation")
    return read_draws(evaluation.uri) if evaluation else {}


def _read_mistakes(run: PastRun) -> list[str] | None:
    """Return the test images that a model gets wrong; None if they are not all known."""
    told = run.result.get("mistakes") or {}
    try:
        text = run.find(str(told.get("file"))).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    names = [row["image"] for row in read_table(text)]
    return names if len(names) == told.get("images") else None


def _test_mcnemar(one: int, other: int) -> float:
    """Return the two-sided p-value of McNemar's exact test for the numbers of images that differ."""
    from scipy.stats import binomtest

    return float(binomtest(one, one + other).pvalue) if one + other else 1.0
