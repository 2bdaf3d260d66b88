"""Runs side by side: metrics, settings, and the test images that one model gets right and the other wrong.

Whether two models differ in accuracy by more than chance is asked with McNemar's exact test on the same test
images [1]: of the images that one model alone gets right, each is as likely to be the first model's as the
second's, if the models are equally good.

[1] Q. McNemar: Note on the sampling error of the difference between correlated proportions or percentages.
    Psychometrika 12, 1947.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from components.base.table import read_table
from pipeline.history.runs import PastRun

# A difference this unlikely among equally good models is not put down to chance.
SIGNIFICANCE = 0.05
# What two runs of one recipe always differ in.
_NO_SETTINGS = ("name", "root")


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
    """

    run_id: str
    only_first_right: list[str] = dataclasses.field(default_factory=list)
    only_other_right: list[str] = dataclasses.field(default_factory=list)
    both_wrong: int = 0
    p_value: float | None = None
    why_not: str = ""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: The runs; the others are compared with the first one.
        metrics: Values by metric, one for each run; None where a run has none.
        settings: Values by recipe key, one for each run, of keys that differ.
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
    settings = {key: [run.settings.get(key) for run in runs] for key in keys}
    return Comparison(
        list(runs),
        {name: [run.metrics.get(name) for run in runs] for name in names},
        {key: values for key, values in settings.items() if any(value != values[0] for value in values)},
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
    if "accuracy" not in first.metrics or "accuracy" not in other.metrics:
        return "only the accuracy of classes is tested"
    return ""


def _read_mistakes(run: PastRun) -> list[str] | None:
    """Return the test images that a classifier gets wrong; None if they are not all known."""
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
