"""Resolvers: find the model that a candidate is compared with, and the model that a training starts from.

Both are the served model: the highest version in the push destination that Mirante pushed. A model that the
Evaluator blessed is neither if it was not pushed, because the InfraValidator refused it or it was taken back.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils, standard_artifacts, standard_component_specs
from tfx.version import __version__ as tfx_version

from components.base import serving_folder
from components.base.output_files import FILES, find_damage
from components.base.saved_model import class_names_of, model_folder, same_fingerprint, task_of
from components.base.serving_folder import ServedModel
from components.resolver.baseline import explain_incomparable, import_folder, link_served

CANDIDATE = "candidate"
MODEL = "model"
MODEL_BLESSING = "model_blessing"
_Artifacts = list[artifact.Artifact]
_logger = logging.getLogger("mirante.resolver")


class _Served:
    """The models that are served, as artifacts.

    Args:
        store: ML Metadata.
        push_destination: The folder that versions are pushed to.
        imports: The folder for served models without an artifact under this root.
        models: All models under this root.
    """

    def __init__(self, store: Any, push_destination: str, imports: str, models: Iterable[artifact.Artifact]):
        self._store = store
        self._push_destination = push_destination
        self._imports = imports
        self._by_id = {model.id: model for model in models}

    def find_all(self) -> list[tuple[ServedModel, artifact.Artifact]]:
        """Return the served models that are whole, the highest version first, each with its artifact."""
        found = []
        for served in serving_folder.find_served_models(self._push_destination):
            model = self._find_artifact(served)
            if model is None and serving_folder.find_damage(self._push_destination, served.version) is None:
                model = self._import(served)
            if model is not None:
                found.append((served, model))
        if not found and (last := self._find_last_pushed()) is not None:
            path = model_folder(last.uri)
            class_names = class_names_of(path) or ()
            found.append((ServedModel(0, path, task_of(path), class_names), last))
        return found

    def find(self, artifact_id: int) -> artifact.Artifact | None:
        """Return the model with this id; None if its files are missing or damaged."""
        model = self._by_id.get(artifact_id)
        if model is None:
            model = next(iter(self._from_store(self._store.get_artifacts_by_id([artifact_id]))), None)
        if model is None or not fileio.exists(model_folder(model.uri)) or not _is_whole(model):
            return None
        return model

    def _find_artifact(self, served: ServedModel) -> artifact.Artifact | None:
        for number in sorted(self._by_id, reverse=True):
            model = self._by_id[number]
            if same_fingerprint(model_folder(model.uri), served.path) and _is_whole(model):
                return model
        return None

    def _import(self, served: ServedModel) -> artifact.Artifact:
        """Make an artifact of a served model."""
        uri = import_folder(self._imports, served)
        link_served(uri, served.path)
        if known := self._from_store(self._store.get_artifacts_by_uri(uri)):
            return known[-1]
        made = standard_artifacts.Model()
        made.uri = uri
        made.name = os.path.basename(uri)
        made.set_string_custom_property("tfx_version", tfx_version)
        made.set_string_custom_property("pushed_version", str(served.version))
        made.mlmd_artifact.state = metadata_store_pb2.Artifact.LIVE
        made.mlmd_artifact.type_id = self._store.put_artifact_type(made.artifact_type)
        (number,) = self._store.put_artifacts([made.mlmd_artifact])
        return self._from_store(self._store.get_artifacts_by_id([number]))[-1]

    def _from_store(self, found: Iterable[metadata_store_pb2.Artifact]) -> _Artifacts:
        live = [item for item in found if item.state == metadata_store_pb2.Artifact.LIVE]
        if not live:
            return []
        kind = self._store.get_artifact_type(standard_artifacts.Model.TYPE_NAME)
        return artifact_utils.deserialize_artifacts(kind, sorted(live, key=lambda item: int(item.id)))

    def _find_last_pushed(self) -> artifact.Artifact | None:
        """Return the model that was pushed last, if the push destination is gone with all its records."""
        if serving_folder.list_versions(self._push_destination) or serving_folder.read_records(
            self._push_destination
        ):
            return None
        pushes = self._store.get_artifacts_by_type(standard_artifacts.PushedModel.TYPE_NAME)
        for push in sorted(pushes, key=lambda item: int(item.id), reverse=True):
            place = push.custom_properties["pushed_destination"].string_value
            if push.custom_properties["pushed"].int_value == 1 and (
                os.path.dirname(place) == os.path.normpath(self._push_destination)
            ):
                for execution in _find_makers(self._store, push.id):
                    for number in _find_inputs(self._store, execution.id).get(MODEL, []):
                        if number in self._by_id and (model := self.find(number)) is not None:
                            return model
        return None


def _is_whole(model: artifact.Artifact) -> bool:
    """Return whether a model's files are unchanged, as far as they were recorded."""
    if not model.has_custom_property(FILES):
        return True
    damage = find_damage(model.uri, model.get_string_custom_property(FILES))
    if damage is not None:
        _logger.warning("%s: this model is not taken", damage)
    return damage is None


def _find_makers(store: Any, artifact_id: int) -> list[metadata_store_pb2.Execution]:
    """Return the executions that wrote an artifact, the latest first."""
    made = {
        event.execution_id
        for event in store.get_events_by_artifact_ids([artifact_id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    return sorted(store.get_executions_by_id(list(made)), key=lambda item: int(item.id), reverse=True)


def _find_inputs(store: Any, execution_id: int) -> dict[str, list[int]]:
    """Return the ids of an execution's input artifacts by channel name."""
    found: dict[str, list[int]] = {}
    for event in store.get_events_by_execution_ids([execution_id]):
        if event.type == metadata_store_pb2.Event.INPUT and event.path.steps:
            found.setdefault(event.path.steps[0].key, []).append(event.artifact_id)
    return found


def _find_last_blessing(
    blessings: Iterable[artifact.Artifact], model: artifact.Artifact
) -> artifact.Artifact | None:
    """Return the last blessing of a model; None if it has none."""
    of_model = [
        blessing
        for blessing in blessings
        if blessing.get_int_custom_property("current_model_id") == model.id
        and blessing.get_int_custom_property("blessed") == 1
    ]
    return max(of_model, key=lambda item: int(item.id), default=None)


class BaselineStrategy(resolver.ResolverStrategy):
    """Finds the served model, if it can be compared with the candidate.

    TFX's LatestBlessedModelStrategy returns the candidate itself once it is blessed, so that an identical
    second run compares the model with itself and pushes it again. Here a candidate that is already served
    gets the baseline of its first evaluation, so that the evaluation is in the cache.

    Args:
        push_destination: The folder that versions are pushed to.
        imports: The folder for served models without an artifact under this root.
    """

    def __init__(self, push_destination: str, imports: str):
        self._push_destination = push_destination
        self._imports = imports

    def resolve_artifacts(self, store: Any, input_dict: dict[str, _Artifacts]) -> dict[str, _Artifacts]:
        """Resolve `model` and `model_blessing`, both empty if there is no baseline.

        The result has `candidate` too: TFX fails to resolve a node's inputs if a strategy leaves a key out.

        Args:
            store: ML Metadata.
            input_dict: `candidate`, exactly one model; `model` and `model_blessing`, all of this root.
        """
        candidates = input_dict.get(CANDIDATE, [])
        if not candidates:
            return {CANDIDATE: [], MODEL: [], MODEL_BLESSING: []}
        blessings = input_dict.get(MODEL_BLESSING, [])
        served = _Served(store, self._push_destination, self._imports, input_dict.get(MODEL, []))
        model = self._find_baseline(served, candidates[0], blessings)
        blessing = None if model is None else _find_last_blessing(blessings, model)
        return {
            CANDIDATE: candidates,
            MODEL: [] if model is None else [model],
            MODEL_BLESSING: [] if blessing is None else [blessing],
        }

    def _find_baseline(
        self, served: _Served, candidate: artifact.Artifact, blessings: _Artifacts
    ) -> artifact.Artifact | None:
        models = served.find_all()
        if models and models[0][1].id == candidate.id:
            blessing = _find_last_blessing(blessings, candidate)
            if blessing is not None:
                return served.find(blessing.get_int_custom_property("baseline_model_id"))
        path = model_folder(candidate.uri)
        class_names = class_names_of(path) or ()
        for other, model in models:
            if model.id != candidate.id:
                comparable = explain_incomparable(other, task_of(path), class_names) is None
                return model if comparable else None
        return None


class BaseModelStrategy(resolver.ResolverStrategy):
    """Finds the served model; if this training made it, the model that the training started from.

    A training that starts from the latest model makes the next latest one. With TFX's
    LatestBlessedModelStrategy an identical second run would start from its own result and train again,
    without end. Here it gets the model that the first run started from, and finds its result in the cache.
    With other data or settings it is another training, which starts from the served model.

    Args:
        custom_config: The Trainer's `custom_config`, as ML Metadata has it.
        push_destination: The folder that versions are pushed to.
        imports: The folder for served models without an artifact under this root.
    """

    def __init__(self, custom_config: str, push_destination: str, imports: str):
        self._custom_config = custom_config
        self._push_destination = push_destination
        self._imports = imports

    def resolve_artifacts(self, store: Any, input_dict: dict[str, _Artifacts]) -> dict[str, _Artifacts]:
        """Resolve `model` and `model_blessing`, both empty if there is no model to start from.

        Args:
            store: ML Metadata, which knows the executions that wrote a model.
            input_dict: `model` and `model_blessing`, all of this root. The others are inputs of the Trainer,
                by its names; the result has them too.
        """
        given = {
            key: [item.id for item in items]
            for key, items in input_dict.items()
            if key not in (MODEL, MODEL_BLESSING)
        }
        served = _Served(store, self._push_destination, self._imports, input_dict.get(MODEL, []))
        model = self._find_base_model(store, served, given)
        blessing = None if model is None else _find_last_blessing(input_dict.get(MODEL_BLESSING, []), model)
        return {
            **input_dict,
            MODEL: [] if model is None else [model],
            MODEL_BLESSING: [] if blessing is None else [blessing],
        }

    def _find_base_model(
        self, store: Any, served: _Served, given: Mapping[str, list[int]]
    ) -> artifact.Artifact | None:
        for _, model in served.find_all():
            inputs = self._find_training(store, model, given)
            if inputs is None:
                return model
            if "base_model" not in inputs:
                return None
            (started_from,) = inputs["base_model"]
            if (base := served.find(started_from)) is not None:
                return base
        return None

    def _find_training(
        self, store: Any, model: artifact.Artifact, given: Mapping[str, list[int]]
    ) -> dict[str, list[int]] | None:
        """Return the inputs of the Trainer that made a model with this `custom_config` and `given` inputs."""
        for execution in _find_makers(store, model.id):
            config = execution.custom_properties[standard_component_specs.CUSTOM_CONFIG_KEY]
            inputs = _find_inputs(store, execution.id)
            if config.string_value == self._custom_config and all(
                inputs.get(key, []) == ids for key, ids in given.items()
            ):
                return inputs
        return None
