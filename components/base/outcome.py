"""The outputs of nodes and the result of a run: data that steps and the pipeline share."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True)
class Output:
    """One output artifact of a node: its place and its custom properties."""

    uri: str
    properties: dict[str, Any]


@dataclasses.dataclass
class RunResult:
    """The result that `mirante run --json` prints and `<root>/runs/<run_id>/result.json` keeps."""

    pipeline: str
    run_id: str
    root: str
    wall_seconds: float = 0.0
    data: dict[str, Any] | None = None
    components: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    test_images: int | None = None
    blessed: bool | None = None
    infra_blessed: bool | None = None
    pushed_model: str | None = None
    taken_back: int | None = None
    baseline: dict[str, Any] | None = None
    per_class: dict[str, dict[str, float | None]] = dataclasses.field(default_factory=dict)
    mistakes: dict[str, Any] | None = None
    sample_image: str | None = None
    span: int | None = None
    log: str | None = None
    report: str | None = None
    answers: dict[str, Any] | None = None
    exports: list[dict[str, Any]] | None = None
    model_card: str | None = None
    error: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Serving:
    """The models that a run adds to.

    Attributes:
        push_destination: The folder that versions are pushed to.
        class_names: All classes, in the order of their labels.
    """

    push_destination: str
    class_names: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The conclusions from a node's outputs that a run acts on.

    Attributes:
        refusal: Why the model is not pushed; empty where it may be.
        note: A line for the console; empty for none.
        best: Hyperparameters for later runs, by recipe key; None where the node searched for none.
    """

    refusal: str = ""
    note: str = ""
    best: dict[str, Any] | None = None


class OutcomeModule(Protocol):
    """The module `outcome` in the room of a step whose outputs say something about the model.

    It may also have `explain_outdated(outputs) -> str | None`: why a cached result at equal inputs does not
    hold any more, so that the node runs again; None where it holds.
    """

    def read_outcome(self, outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
        """Put what a node's outputs say about the model into the result, whether they are new or cached."""
