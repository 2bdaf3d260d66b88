"""Exporter: writes a blessed model in the formats that the recipe asks for, and measures each."""

# No `from __future__ import annotations`: TFX reads the annotations of a component function as types.
from pathlib import Path

from tfx.components.util import model_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.base import files
from components.base.saved_model import model_folder
from components.exporter.config import ExportConfig
from components.exporter.facts import EXPORTED
from schemas import features


@component
def Exporter(  # noqa: N802 - components are named like classes
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    exports: OutputArtifact[simple_artifacts.File],
    settings: Parameter[str],
) -> None:
    """Export the model, if both judges blessed it.

    Args:
        examples: The splits; train to calibrate, test to judge.
        model: The model.
        model_blessing: Of the Evaluator.
        infra_blessing: Of the InfraValidator.
        exports: A folder for each format; empty if the model is not blessed. The type is one of TFX's, since
            no other one can be compiled for Vertex AI.
        settings: `ExportConfig` as JSON.

    Raises:
        UsageError: A format cannot express the model.
        NotBlessedError: A format lost more than the recipe allows, so the run ends and nothing is pushed.
    """
    from components.exporter.export import ExportData, export_model

    if not (model_utils.is_model_blessed(model_blessing) and model_utils.is_infra_validated(infra_blessing)):
        return
    config = ExportConfig.model_validate_json(settings)
    train, test = (
        files.list_below(artifact_utils.get_split_uri([examples], split))
        for split in (features.TRAIN, features.TEST)
    )
    export_model(
        Path(model_folder(model.uri)),
        config.formats,
        Path(exports.uri),
        ExportData(train, test),
        max_drop=config.max_drop,
        calibration_images=config.calibration_images,
    )
    exports.set_int_custom_property(EXPORTED, 1)
