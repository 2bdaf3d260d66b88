"""DistributionValidator: TFX's, which also accepts its configuration as text."""

from __future__ import annotations

from typing import Any

from tfx.components.distribution_validator import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

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
