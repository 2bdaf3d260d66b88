"""The facts that a model card is made of, whatever they were read from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from components.base.intervals import Interval


@dataclasses.dataclass(frozen=True)
class Given:
    """Facts about a model before its training; as JSON they go with the pipeline to the Pusher.

    Attributes:
        about: The texts of the recipe, as `components.model_card.config.AboutConfig` has them.
        name: The recipe's name.
        task: The recipe's task.
        class_names: In the order of the labels.
        settings: The recipe as resolved, by dotted key; those that say most about a model.
        counts: Images of each class by split; empty if they were not counted.
        images: Images by split.
        data_sha256: Checksum of all data; empty if it is not known.
        test_sha256: Checksum of the test split; likewise.
        source: The source that read the data.
        class_aliases: The classes' names in further languages, by class and language.
    """

    about: Mapping[str, Any]
    name: str
    task: str
    class_names: Sequence[str]
    settings: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, int]]
    images: Mapping[str, int]
    data_sha256: str
    test_sha256: str
    source: str
    class_aliases: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Facts:
    """A pushed model and the run that made it.

    Attributes:
        given: What was known before.
        version: The pushed version.
        run_id: The run; empty if it is not known.
        date: The day on which the model was blessed, YYYY-MM-DD.
        versions: Versions of Python and of packages.
        code: The commit of a checkout; empty for an installed package.
        size_bytes: All files of the model.
        metrics: Overall metrics on the test split.
        intervals: Their 95 % confidence intervals.
        bounds: What the Evaluator demanded of each metric, in words.
        per_class: Metrics of each class by its name.
        slices: Overall metrics of each slice by its name; empty if the recipe asks for none.
        test_images: Images of the test split that were judged.
        baseline: The version that the model was compared with; empty for a model that is not served any more,
            None if there was none.
        baseline_metrics: Its metrics.
        warnings: What the Evaluator warned of.
        exports: What is said of each export (`components.exporter.facts`).
    """

    given: Given
    version: str
    run_id: str
    date: str
    versions: Mapping[str, str]
    code: str
    size_bytes: int
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    bounds: Mapping[str, str]
    per_class: Mapping[str, Mapping[str, float | None]]
    slices: Mapping[str, Mapping[str, float]]
    test_images: int
    baseline: str | None
    baseline_metrics: Mapping[str, float]
    warnings: Sequence[str]
    exports: Sequence[Mapping[str, Any]] = ()
