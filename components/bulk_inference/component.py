"""BulkInference: asks a blessed model about a split or about images of the user, with Beam.

The answers are files in the artifact's folder (`components.prediction.batch`). They are written to a folder
that outlives a killed process, and are moved when all are there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from tfx.components.util import model_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import Channel, artifact_utils, component_spec, standard_artifacts

from components.base.errors import MiranteError
from components.base.owned import MARK, mark
from components.base.saved_model import model_folder
from components.bulk_inference.config import BulkInferenceConfig
from components.bulk_inference.content import digest_images
from components.bulk_inference.facts import AnswerFacts, note_facts
from components.prediction.batch import Batch, BatchResult, make_batch, run_batch


class BulkInferenceExecutor(base_beam_executor.BaseBeamExecutor):
    """Writes the answers of a model that both judges blessed."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Ask `model`, or mark the result as not asked if it is not blessed.

        Raises:
            MiranteError: The images are not those that the run began with, whose answers would be kept.
        """
        result = artifact_utils.get_single_instance(output_dict["inference_result"])
        blessing, infra_blessing, model = (
            artifact_utils.get_single_instance(input_dict[name])
            for name in ("model_blessing", "infra_blessing", "model")
        )
        is_blessed = model_utils.is_model_blessed(blessing) and model_utils.is_infra_validated(infra_blessing)
        if not is_blessed:
            note_facts(result, None)
            return
        config = BulkInferenceConfig.model_validate_json(exec_properties["settings"])
        source = config.path or artifact_utils.get_split_uri(input_dict["examples"], config.input)
        batch = make_batch(
            model_folder(model.uri),
            source,
            result.uri,
            format=config.format,
            min_score=config.min_score,
            top=config.top,
            shard_images=config.shard_images,
        )
        work, input_sha256 = exec_properties["work"], exec_properties["input_sha256"]
        decides = [batch.describe(), input_sha256, exec_properties.get("code_sha256")]
        _check_unchanged(config, work, input_sha256)
        done = self._answer(batch, Path(work), decides)
        _check_unchanged(config, work, input_sha256)
        note_facts(result, AnswerFacts(done.shards, done.images, done.errors, config.format))

    def _answer(self, batch: Batch, work: Path, decides: list[Any]) -> BatchResult:
        """Answer in a folder below `work`, which a later call with equal `decides` continues, and move it."""
        key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
        folder = work / key
        mark(folder, key)
        done = run_batch(dataclasses.replace(batch, out=str(folder)), self._make_beam_pipeline)
        for path in sorted(folder.iterdir()):
            # A killed process leaves hidden files.
            if path.name != MARK and not path.name.startswith("."):
                shutil.move(path, os.path.join(batch.out, path.name))
        shutil.rmtree(folder)
        return done


def _check_unchanged(config: BulkInferenceConfig, work: str, input_sha256: str) -> None:
    if digest_images(config, work) != input_sha256:
        raise MiranteError(
            f"bulk_inference.input: {config.input} has changed since the run began; run it again"
        )


class BulkInferenceSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the node."""

    PARAMETERS: ClassVar = {
        "settings": component_spec.ExecutionParameter(type=str),
        "input_sha256": component_spec.ExecutionParameter(type=str),
        "work": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS: ClassVar = {
        "inference_result": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult)
    }


class BulkInference(base_beam_component.BaseBeamComponent):  # type: ignore[misc]
    """The node, on the pipeline's Beam runner."""

    SPEC_CLASS = BulkInferenceSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(BulkInferenceExecutor)

    def __init__(self, settings: BulkInferenceConfig, *, input_sha256: str, work: str, **channels: Channel):
        """Take the part of the recipe, and what decides whether its input is another one.

        Args:
            settings: The part of the recipe.
            input_sha256: Changes with the files of the input; empty for a split.
            work: The folder of unfinished answers.
            channels: The examples, the model and its blessings.
        """
        super().__init__(
            BulkInferenceSpec(
                settings=settings.model_dump_json(),
                input_sha256=input_sha256,
                work=work,
                inference_result=Channel(type=standard_artifacts.InferenceResult),
                **channels,
            )
        )
