"""ImportSchemaGen for a schema without a file: the pipeline has its text."""

# No `from __future__ import annotations`: TFX reads the annotations of a component function as types.
import os

from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils


@component
def CuratedSchema(  # noqa: N802 - components are named like classes
    schema: OutputArtifact[standard_artifacts.Schema], text: Parameter[str]
) -> None:
    """Write `text`, the content of a schema's .pbtxt file, to where other nodes look for a schema."""
    io_utils.write_string_file(os.path.join(schema.uri, DEFAULT_FILE_NAME), text)
