"""How long each node took in earlier runs of a root, for the time that is left. Imports nothing heavy."""

import json
from pathlib import Path

# Runs that are looked through, the newest first; of many cached runs none says how long a node takes.
_MOST_RUNS = 20


def read_usual_secs(root: Path) -> dict[str, float]:
    """Return the seconds that each node took when it was last executed; nothing for a node that never was."""
    found: dict[str, float] = {}
    for path in sorted((root / "runs").glob("*/result.json"), reverse=True)[:_MOST_RUNS]:
        try:
            components = json.loads(path.read_text(encoding="utf-8"))["components"]
            took = {
                node: float(outcome["seconds"])
                for node, outcome in components.items()
                if outcome["status"] == "completed"
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        found = {**took, **found}
    return found
