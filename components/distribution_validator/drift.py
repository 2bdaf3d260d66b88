"""The bound that the DistributionValidator compares classes' shares with."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tfx.proto import distribution_validator_pb2

from schemas import features


def drift_config(
    max_label_drift: float, split_sizes: Mapping[str, int], label: str
) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Bound the difference of a class's share between train and eval.

    The bound is never less than three standard deviations of what chance alone makes of two splits of these
    sizes. A fixed bound would refuse every fifth small data set.

    Args:
        max_label_drift: The recipe's bound, 0 to 1.
        split_sizes: The images of each split; empty where they are not known.
        label: The feature with the classes' names.
    """
    chance = 0.0
    if split_sizes:
        # A share p of n images varies by p (1 - p) / n, at most 1 / 4n. The boxes of one image are alike, so
        # that many boxes are no better than the images they are on.
        variance = sum(0.25 / split_sizes[split] for split in (features.TRAIN, features.EVAL))
        chance = 3 * math.sqrt(variance)
    config = distribution_validator_pb2.DistributionValidatorConfig()
    feature = config.default_slice_config.feature.add()
    feature.path.step.append(label)
    feature.distribution_comparator.infinity_norm.threshold = max(max_label_drift, chance)
    return config
