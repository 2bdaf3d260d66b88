"""Resolvers: the model that a candidate is compared with, and the one that a training starts from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import artifact, standard_component_specs

from components.trainer.export import ASSETS_EXTRA, LABELS_FILE, TASK_FILE
from schemas import features

CANDIDATE = "candidate"
MODEL = "model"
MODEL_BLESSING = "model_blessing"


def _beside(model: artifact.Artifact, name: str) -> str | None:
    path = os.path.join(model.uri, "Format-Serving", ASSETS_EXTRA, name)
    if not fileio.exists(path):
        return None
    with fileio.open(path) as file:
        return str(file.read())


def _answers(model: artifact.Artifact) -> tuple[str, str | None]:
    """What a model is asked: its task and its classes, as they are written beside it."""
    # Before there were detectors no model said what it is for.
    return (_beside(model, TASK_FILE) or features.CLASSIFICATION).strip(), _beside(model, LABELS_FILE)


def _blessed_last(
    models: Iterable[artifact.Artifact],
    blessings: Iterable[artifact.Artifact],
    fits: Callable[[artifact.Artifact], bool],
) -> tuple[list[artifact.Artifact], list[artifact.Artifact]]:
    """The model that fits and was blessed last, and that blessing; both empty where there is none."""
    by_id = {model.id: model for model in models}
    for blessing in sorted(blessings, key=lambda a: a.id, reverse=True):
        model = by_id.get(blessing.get_int_custom_property("current_model_id"))
        if model is not None and blessing.get_int_custom_property("blessed") == 1 and fits(model):
            return [model], [blessing]
    return [], []


class BaselineStrategy(resolver.ResolverStrategy):
    """The model that was blessed last, other than the candidate, for the candidate's task and classes.

    TFX's LatestBlessedModelStrategy gives the candidate itself once it was blessed, so that an identical
    second run compares the model with itself and pushes it again. A model of another task or class list
    cannot be compared at all; it is passed over.
    """

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[artifact.Artifact]]
    ) -> dict[str, list[artifact.Artifact]]:
        """Resolves `model` and `model_blessing`, both empty where there is no baseline.

        `candidate` is handed on: TFX fails to resolve a node's inputs when a strategy leaves a key out.

        Args:
            store: ML Metadata; not asked.
            input_dict: `candidate`, exactly one model; `model` and `model_blessing`, all there are.
        """
        candidates = input_dict.get(CANDIDATE, [])
        if not candidates:
            return {CANDIDATE: [], MODEL: [], MODEL_BLESSING: []}
        candidate = candidates[0]
        answers = _answers(candidate)
        model, blessing = _blessed_last(
            input_dict.get(MODEL, []),
            input_dict.get(MODEL_BLESSING, []),
            lambda other: other.id != candidate.id and _answers(other) == answers,
        )
        return {CANDIDATE: candidates, MODEL: model, MODEL_BLESSING: blessing}


class BaseModelStrategy(resolver.ResolverStrategy):
    """The model that was blessed last, other than those that this very training has made before.

    A training that starts from the latest model makes the next latest one. With TFX's
    LatestBlessedModelStrategy an identical second run would start from its own result and train again, and so
    on without end. Here it is given the model that the first run started from, and finds its result in the
    cache. With other data or settings the training is another, and starts from what was blessed last.

    Args:
        custom_config: The Trainer's, as it stands in ML Metadata.
    """

    def __init__(self, custom_config: str):
        self._custom_config = custom_config

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[artifact.Artifact]]
    ) -> dict[str, list[artifact.Artifact]]:
        """Resolves `model` and `model_blessing`, both empty where there is no model to start from.

        Args:
            store: ML Metadata, which knows what made a model.
            input_dict: `model` and `model_blessing`, all there are; the others are what the Trainer is given,
                by its names. They are handed on.
        """
        given = {
            key: [item.id for item in items]
            for key, items in input_dict.items()
            if key not in (MODEL, MODEL_BLESSING)
        }
        model, blessing = _blessed_last(
            input_dict.get(MODEL, []),
            input_dict.get(MODEL_BLESSING, []),
            lambda other: not self._made(store, other, given),
        )
        return {**input_dict, MODEL: model, MODEL_BLESSING: blessing}

    def _made(self, store: Any, model: artifact.Artifact, given: dict[str, list[int]]) -> bool:
        """Whether a Trainer of this custom_config made the model of the given inputs."""
        made = [
            event.execution_id
            for event in store.get_events_by_artifact_ids([model.id])
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        for execution in store.get_executions_by_id(made):
            config = execution.custom_properties[standard_component_specs.CUSTOM_CONFIG_KEY]
            inputs: dict[str, list[int]] = {key: [] for key in given}
            for event in store.get_events_by_execution_ids([execution.id]):
                key = event.path.steps[0].key if event.path.steps else ""
                if event.type == metadata_store_pb2.Event.INPUT and key in inputs:
                    inputs[key].append(event.artifact_id)
            if config.string_value == self._custom_config and inputs == given:
                return True
        return False
