"""Anomalies that ExampleValidator and DistributionValidator found."""

import os
from typing import Any

from components.base import files


def read_anomalies(folder: str) -> dict[str, Any]:
    """Return the `Anomalies` of an ExampleAnomalies artifact by split, or by pair of splits."""
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    found = {}
    for path in files.list_below(folder):
        split = os.path.basename(os.path.dirname(path))
        if split.startswith("Split"):
            words = split.removeprefix("SplitPair-").removeprefix("Split-").replace("_", " against ")
            found[words] = anomalies_pb2.Anomalies.FromString(files.read_bytes(path))
    return found
