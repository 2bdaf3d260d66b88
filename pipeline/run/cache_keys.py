"""Keys of TFX's cache that depend neither on where the pipeline root is nor on Beam's engine.

TFX computes a key from the input artifacts and the execution properties, which have absolute paths, and from
Beam's arguments. Here paths below the root are relative to it, so the results of a root that was moved are
found again. Beam's arguments are left out: results are equal on every engine (docs/decisions/013).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from tfx.orchestration.portable import cache_utils, launcher
from tfx.proto.orchestration import executable_spec_pb2

from pipeline.storage.moved_root import replace_root

_ROOT = "<pipeline root>"


class RelativeKeys:
    """TFX's module `cache_utils`, with keys for any place of the root and any engine.

    Args:
        root: The pipeline root.
    """

    def __init__(self, root: str):
        self._root = root

    def get_cache_context(
        self, *, input_artifacts: Any, parameters: Any, executor_spec: Any = None, **given: Any
    ) -> Any:
        """Return the context of a key in ML Metadata, as TFX's function does."""
        artifacts = {
            key: [self._without_root(item) for item in items] for key, items in input_artifacts.items()
        }
        values = {
            key: replace_root(value, self._root, _ROOT) if isinstance(value, str) else value
            for key, value in parameters.items()
        }
        return cache_utils.get_cache_context(
            input_artifacts=artifacts,
            parameters=values,
            executor_spec=_without_engine(executor_spec),
            **given,
        )

    def _without_root(self, artifact: Any) -> Any:
        changed = copy.deepcopy(artifact)
        changed.uri = replace_root(changed.uri, self._root, _ROOT)
        for value in changed.mlmd_artifact.custom_properties.values():
            if value.HasField("string_value"):
                value.string_value = replace_root(value.string_value, self._root, _ROOT)
        return changed

    def __getattr__(self, name: str) -> Any:
        return getattr(cache_utils, name)


def _without_engine(executor_spec: Any) -> Any:
    if not isinstance(executor_spec, executable_spec_pb2.BeamExecutableSpec):
        return executor_spec
    changed = copy.deepcopy(executor_spec)
    changed.ClearField("beam_pipeline_args")
    changed.ClearField("beam_pipeline_args_placeholders")
    return changed


@contextlib.contextmanager
def relative_keys(root: str) -> Iterator[None]:
    """Have TFX's launcher use `RelativeKeys` of a root."""
    launcher.cache_utils = RelativeKeys(root)
    try:
        yield
    finally:
        launcher.cache_utils = cache_utils
