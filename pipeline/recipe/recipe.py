"""A recipe: its fields, in the order in which the data go through them. Imports no TensorFlow."""

import os
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from components.base.settings import IsPath, Settings
from components.base.task import TASKS, task_named
from components.base.words import suggest
from components.bulk_inference.config import BulkInferenceConfig
from components.evaluator.config import EvaluationConfig
from components.exporter.config import ExportConfig
from components.infra_validator.config import InfraValidationConfig
from components.ingest.config import IngestConfig
from components.model_card.config import AboutConfig
from components.models.applications import prefix_of
from components.models.config import ModelConfig
from components.models.networks import NETWORKS
from components.pusher.config import PushConfig
from components.trainer.config import TrainingConfig
from components.transform.config import TransformConfig
from components.tuner.config import TunerConfig
from pipeline.engines.config import BeamConfig
from pipeline.targets.kubeflow.config import KubeflowConfig
from pipeline.targets.vertex.config import VertexConfig


def _check_task_name(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"expected one of {', '.join(TASKS)}, got {name!r}{suggest(name, TASKS)}")
    return name


class Recipe(Settings):
    """Everything that determines a run, apart from where it happens.

    Each part is next to the step that reads it; `pipeline.recipe.rules` has what holds between parts.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=50)] = Field(
        description="name of the pipeline, and of its folder below runs/"
    )
    task: Annotated[str, AfterValidator(_check_task_name)] = Field(
        "classification",
        description="the model gives " + ", or ".join(f"{task_named(name).gives} ({name})" for name in TASKS),
    )
    data: IngestConfig = IngestConfig()
    transform: TransformConfig = TransformConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    tuner: TunerConfig | None = Field(None, description="a search before the training; null for none")
    hyperparameters: Annotated[str | None, IsPath(is_read_here=True)] = Field(
        None,
        description="file with values for `model` and `training`, as a search writes it; null for none, and "
        "in the recipe that a run records",
    )
    evaluation: EvaluationConfig
    infra_validation: InfraValidationConfig = InfraValidationConfig()
    export: ExportConfig | None = Field(
        None, description="formats of other runtimes for each new, blessed model; null for none"
    )
    use_cache: bool = Field(
        True, description="whether nodes whose inputs and options are equal keep their results"
    )
    push: PushConfig = PushConfig()
    bulk_inference: BulkInferenceConfig | None = Field(
        None, description="images that each new, blessed model is asked about; null for none"
    )
    about: AboutConfig = AboutConfig()
    beam: BeamConfig = BeamConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()
    vertex: VertexConfig | None = Field(
        None, description="settings for `mirante compile --target vertex`; null for none"
    )

    @model_validator(mode="before")
    @classmethod
    def _data_are_for_the_task(cls, values: Any) -> Any:
        """Set the options of ingest that the task's records need, where the recipe does not give them."""
        task = values.get("task") if isinstance(values, dict) else None
        data = values.get("data", {}) if isinstance(values, dict) else None
        if not isinstance(task, str) or task not in TASKS or not isinstance(data, dict):
            return values
        needed = task_named(task).ingest
        return {**values, "data": {**needed, **data}} if needed else values

    @model_validator(mode="before")
    @classmethod
    def _give_the_network_its_pixels(cls, values: Any) -> Any:
        """Fill in the pixels that a network of keras.applications takes, where the recipe has none."""
        model = values.get("model") if isinstance(values, dict) else None
        name = model.get("name") if isinstance(model, dict) else None
        row = NETWORKS.get(name) if isinstance(name, str) and prefix_of(name) else None
        given = values.get("transform") or {} if row else None
        if row is None or not isinstance(given, dict):
            return values
        own = {
            "height_px": row.designed_px,
            "width_px": row.designed_px,
            "normalization": row.normalization,
        }
        return {**values, "transform": {**own, **given}}

    @property
    def optional_steps(self) -> frozenset[str]:
        """The optional nodes of the recipe's pipeline, as `pipeline.steps` names them."""
        warm_start = self.training.warm_start
        asked = {
            "base_model": warm_start is not None and warm_start.is_latest_blessed,
            "tuner": self.tuner is not None,
            "export": self.export is not None,
            "bulk_inference": self.bulk_inference is not None,
        }
        return frozenset(name for name, is_asked in asked.items() if is_asked)

    @property
    def images(self) -> dict[str, list[str]]:
        """The images that nodes read, by the nodes' group of engines."""
        bulk = self.bulk_inference
        given: dict[str, tuple[str | None, ...]] = {
            "ingest": (self.data.path, self.data.images),
            "bulk_inference": (bulk.path if bulk is not None else None,),
        }
        return {group: [path for path in paths if path is not None] for group, paths in given.items()}

    def push_destination(self, root: str) -> str:
        """Return the folder with a folder for each version of the model, of a pipeline with that root."""
        return self.push.destination or os.path.join(root, "serving")
