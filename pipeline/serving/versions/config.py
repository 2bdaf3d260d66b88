"""Configurations of models: checks of a ModelServerConfig, and the versions that a policy picks."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.serving.errors import ServingError, invalid

PLATFORM = "tensorflow"
_TENSORFLOW = 1
_IS_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*://")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: What clients call it.
        base_path: The folder with a folder for each version.
        platform: Always "tensorflow".
        policy: "latest", "all" or "specific".
        latest: How many versions the policy "latest" serves.
        specific: The versions of the policy "specific".
        labels: Versions by their labels.
    """

    name: str
    base_path: str
    platform: str = PLATFORM
    policy: str = "latest"
    latest: int = 1
    specific: frozenset[int] = frozenset()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def pick(self, found: Mapping[int, str]) -> dict[int, str]:
        """Return the versions to serve of those that are there, with their folders."""
        if self.policy == "all":
            return dict(found)
        if self.policy == "specific":
            return {version: path for version, path in found.items() if version in self.specific}
        newest = sorted(found, reverse=True)[: self.latest]
        return {version: found[version] for version in newest}


def read_config(proto: Any, old: Iterable[ModelConfig]) -> list[ModelConfig] | None:
    """Return the models of a ModelServerConfig; None for an empty one, which changes nothing.

    Args:
        proto: The ModelServerConfig.
        old: The models that are served now.

    Raises:
        ServingError: As TensorFlow Serving words it.
    """
    kind = proto.WhichOneof("config")
    if kind is None:
        return None
    if kind != "model_config_list":
        raise ServingError(
            "FAILED_PRECONDITION",
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList "
            "to another.",
        )
    models = proto.model_config_list.config
    seen: set[str] = set()
    for model in models:
        if model.name in seen:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
    for model in models:
        if not _IS_ABSOLUTE.match(model.base_path):
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got "
                f"base_path()={model.base_path}"
            )
    platforms = {model.name: model.platform for model in old}
    for model in models:
        platform = _platform(model)
        if platforms.get(model.name, platform) != platform:
            raise invalid(
                f"Illegal to change a model's platform. For model {model.name} platform was "
                f"{platforms[model.name]} and new platform requested is {platform}"
            )
    for model in models:
        if (platform := _platform(model)) != PLATFORM:
            raise invalid(f"Model {model.name} requests unsupported platform {platform}")
    return [_read_model(model) for model in models]


def _platform(model: Any) -> str:
    if model.model_type:
        if model.model_platform:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                "ModelServerConfig::model_platform."
            )
        if model.model_type != _TENSORFLOW:
            raise invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return PLATFORM
    if not model.model_platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform."
        )
    return str(model.model_platform)


def _read_model(model: Any) -> ModelConfig:
    policy = model.model_version_policy
    return ModelConfig(
        name=model.name,
        base_path=model.base_path,
        policy=policy.WhichOneof("policy_choice") or "latest",
        latest=policy.latest.num_versions or 1,
        specific=frozenset(policy.specific.versions),
        labels=dict(model.version_labels),
    )
