"""Anomalies that ExampleValidator and DistributionValidator found, as sentences."""

from __future__ import annotations

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.io import fileio

from components.base.records import list_files


def read_anomalies(folder: str) -> list[str]:
    """Return every anomaly of an ExampleAnomalies artifact as a sentence: feature, split, reason.

    Args:
        folder: The artifact's.
    """
    sentences = []
    for split_folder in sorted(fileio.listdir(folder)):
        if not split_folder.startswith("Split"):
            continue
        split = split_folder.removeprefix("SplitPair-").removeprefix("Split-").replace("_", " against ")
        for path in list_files(os.path.join(folder, split_folder)):
            anomalies = anomalies_pb2.Anomalies()
            with fileio.open(path, "rb") as file:
                anomalies.ParseFromString(file.read())
            for feature, info in sorted(anomalies.anomaly_info.items()):
                # ExampleValidator describes a feature as a whole, DistributionValidator each reason.
                for reason in info.reason or [info]:
                    sentences.append(
                        f"{feature} in split {split}: {reason.short_description}: {reason.description}"
                    )
            if anomalies.HasField("dataset_anomaly_info"):
                sentences.append(f"split {split}: {anomalies.dataset_anomaly_info.description}")
    return sentences
