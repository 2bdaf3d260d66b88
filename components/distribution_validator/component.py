"""DistributionValidator: TFX's, which also accepts its configuration as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfx.components.distribution_validator import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from schemas import features

_CONFIG = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY


class DistributionValidatorExecutor(executor.Executor):
    """TFX's executor, which only takes a message, though TFX's Kubeflow V2 runner passes its JSON."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> Any:
        """Compare the splits that the configuration names, and return the result of TFX's executor."""
        config = exec_properties[_CONFIG]
        if isinstance(config, str):
            message = distribution_validator_pb2.DistributionValidatorConfig()
            proto_utils.json_to_proto(config, message)
            exec_properties = {**exec_properties, _CONFIG: message}
        return super().Do(input_dict, output_dict, exec_properties)


class DistributionValidator(component.DistributionValidator):
    """TFX's component, with `DistributionValidatorExecutor`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(DistributionValidatorExecutor)


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
