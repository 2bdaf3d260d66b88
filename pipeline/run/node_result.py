"""The result of running a node. Imports nothing heavy."""

import dataclasses

from components.base.outcome import Output

COMPLETED = "completed"
CACHED = "cached"
FAILED = "failed"
SKIPPED = "skipped"


@dataclasses.dataclass(frozen=True)
class NodeResult:
    """The result of running a node.

    Attributes:
        status: completed, cached, failed or skipped.
        seconds: Wall time of driver, executor and publisher together.
        outputs: The output artifacts by channel name, also when they come from the cache.
        error: What a failed node raised.
        damage: Which file of a cached output is not what was written; None where all are.
        files: The files of the outputs when the node ended, as `pipeline.run.unchanged.measure_files` gives
            them; None where they were not measured.
    """

    status: str
    seconds: float
    outputs: dict[str, Output] = dataclasses.field(default_factory=dict)
    error: BaseException | None = None
    damage: str | None = None
    files: dict[str, list[int]] | None = None
