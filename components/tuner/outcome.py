"""What the Tuner found: the best values of the fields that it searched."""

import json
from collections.abc import Mapping
from pathlib import Path

from components.base.outcome import Outcome, Output, RunResult, Serving
from components.trainer.fields import read_values


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Return the best values by recipe key."""
    (found,) = Path(outputs["best_hyperparameters"].uri).iterdir()
    return Outcome(best=read_values(json.loads(found.read_text(encoding="utf-8"))))
