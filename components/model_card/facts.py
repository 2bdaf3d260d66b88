"""The facts that a model card is made of, whatever they were read from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from components.base.intervals import Interval


@dataclasses.dataclass(frozen=True)
class Facts:
    """A pushed model and the run that made it.

    Attributes:
        name: The recipe's name.
        version: The pushed version.
        task: What the model gives, in words.
        run_id: The run.
        date: The day of the run, YYYY-MM-DD; empty if it is not known.
        class_names: In the order of the labels.
        settings: The recipe as resolved, by dotted key.
        versions: Versions of Python and of packages.
        code: The commit; empty if it is not known.
        size_bytes: All files of the model.
        metrics: Overall metrics on the test split.
        intervals: Their 95 % confidence intervals.
        bounds: What the Evaluator demanded of each metric, in words.
        per_class: Metrics of each class by its name.
        test_images: Images of the test split that were judged.
        counts: Images of each class by split; empty if they were not counted.
        images: Images by split.
        data_sha256: Checksum of all data; empty if it is not known.
        test_sha256: Checksum of the test split; likewise.
        source: The source that read the data.
        baseline: The version that the model was compared with; empty for a model that is not served any more,
            None if there was none.
        baseline_metrics: Its metrics.
        warnings: What the Evaluator warned of.
    """

    name: str
    version: str
    task: str
    run_id: str
    date: str
    class_names: Sequence[str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    code: str
    size_bytes: int
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    bounds: Mapping[str, str]
    per_class: Mapping[str, Mapping[str, float | None]]
    test_images: int
    counts: Mapping[str, Mapping[str, int]]
    images: Mapping[str, int]
    data_sha256: str
    test_sha256: str
    source: str
    baseline: str | None
    baseline_metrics: Mapping[str, float]
    warnings: Sequence[str]
