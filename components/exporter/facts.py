"""Reads what was measured of exports, from the folder that has them. Imports no TensorFlow."""

import json
import os
from typing import Any

from components.base import files
from components.exporter.formats import FORMATS

# Next to each export: its inputs and outputs, and what was measured.
FACTS = "export.json"
# Property of the artifact: the model was exported, whatever has become of the folder since.
EXPORTED = "exported"


def read_exports(folder: str) -> list[dict[str, Any]]:
    """Return what is said of each export in a folder, in the order of `FORMATS`; empty if there is none."""
    there = set(files.list_below(folder))
    paths = [os.path.join(folder, name, FACTS) for name in FORMATS]
    return [json.loads(files.read_text(path)) for path in paths if path in there]
