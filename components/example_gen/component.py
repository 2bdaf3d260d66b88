"""ImportExampleGen: TFX's, for shards whose span and content are known before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.components.example_gen.import_example_gen import component
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2

from components.example_gen.executor import ShardExecutor
from schemas import features

CONTENT = "content_sha256"


def input_config(patterns: Mapping[str, str]) -> example_gen_pb2.Input:
    """Return TFX's configuration of splits, from a pattern of file names for each split."""
    splits = [example_gen_pb2.Input.Split(name=split, pattern=patterns[split]) for split in features.SPLITS]
    return example_gen_pb2.Input(splits=splits)


class KnownContentDriver(driver.FileBasedDriver):
    """TFX's driver, with the files' content instead of their sizes and times.

    TFX's own driver treats files of equal size and time as equal. It also looks for spans with patterns, into
    which it puts the names of folders without escaping them.
    """

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Return the properties with the fingerprint, and with a span and a version if there are none."""
        span = exec_properties.get(utils.SPAN_PROPERTY_NAME, 0)
        version = exec_properties.get(utils.VERSION_PROPERTY_NAME)
        return {
            **exec_properties,
            utils.SPAN_PROPERTY_NAME: span,
            utils.VERSION_PROPERTY_NAME: version,
            utils.FINGERPRINT_PROPERTY_NAME: exec_properties[CONTENT],
        }


class ImportExampleGen(component.ImportExampleGen):
    """TFX's component. Its patterns have no placeholders; the span is one of its execution properties."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(ShardExecutor)
    DRIVER_CLASS = KnownContentDriver

    def __init__(
        self, *, content_sha256: str, span: int | None = None, version: int | None = None, **given: Any
    ):
        """Take TFX's arguments, and those of the driver.

        Args:
            content_sha256: The digest of all files of all splits.
            span: The number of the span; 0 when not given.
            version: The version of the span.
            given: TFX's arguments.
        """
        super().__init__(**given)
        known = {
            CONTENT: content_sha256,
            utils.SPAN_PROPERTY_NAME: span,
            utils.VERSION_PROPERTY_NAME: version,
        }
        self.exec_properties.update({key: value for key, value in known.items() if value is not None})
