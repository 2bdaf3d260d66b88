"""Resolvers: the model that a candidate is compared with, and the one that a training starts from.

Both are the model that is served: the highest version in the push destination that Mirante pushed. A model
that Evaluator blessed and that was not pushed, since InfraValidator refused it or since it was taken back, is
neither.
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
from components.resolver.baseline import import_folder, link_served, why_incomparable

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
        imports: The folder for models that are served and that no artifact under this root is.
        models: All models under this root.
    """

    def __init__(self, store: Any, push_destination: str, imports: str, models: Iterable[artifact.Artifact]):
        self._store = store
        self._push_destination = push_destination
        self._imports = imports
        self._by_id = {model.id: model for model in models}

    def models(self) -> list[tuple[ServedModel, artifact.Artifact]]:
        """All that are served, and whole, the highest version first; each with its artifact."""
        found = []
        for served in serving_folder.find_served_models(self._push_destination):
            model = self._artifact_of(served)
            if model is None and serving_folder.find_damage(self._push_destination, served.version) is None:
                model = self._import(served)
            if model is not None:
                found.append((served, model))
        if not found and (last := self._pushed_last()) is not None:
            path = model_folder(last.uri)
            class_names = class_names_of(path) or ()
            found.append((ServedModel(0, path, task_of(path), class_names), last))
        return found

    def model(self, artifact_id: int) -> artifact.Artifact | None:
        """The model of that id, if its files are there, and whole."""
        model = self._by_id.get(artifact_id)
        if model is None:
            model = next(iter(self._from_store(self._store.get_artifacts_by_id([artifact_id]))), None)
        if model is None or not fileio.exists(model_folder(model.uri)) or not _is_whole(model):
            return None
        return model

    def _artifact_of(self, served: ServedModel) -> artifact.Artifact | None:
        for number in sorted(self._by_id, reverse=True):
            model = self._by_id[number]
            if same_fingerprint(model_folder(model.uri), served.path) and _is_whole(model):
                return model
        return None

    def _import(self, served: ServedModel) -> artifact.Artifact:
        """Make an artifact of a served model: by a link, or where there are none by a copy."""
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

    def _pushed_last(self) -> artifact.Artifact | None:
        """The model that was pushed last, where the folder it was pushed to is gone with all its records."""
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
                for execution in _makers(self._store, push.id):
                    for number in _inputs(self._store, execution.id).get(MODEL, []):
                        if number in self._by_id and (model := self.model(number)) is not None:
                            return model
        return None


def _is_whole(model: artifact.Artifact) -> bool:
    """Whether the files of a model are what was written, as far as that was recorded."""
    if not model.has_custom_property(FILES):
        return True
    damage = find_damage(model.uri, model.get_string_custom_property(FILES))
    if damage is not None:
        _logger.warning("%s: this model is not taken", damage)
    return damage is None


def _makers(store: Any, artifact_id: int) -> list[metadata_store_pb2.Execution]:
    """The executions that gave an artifact, the latest first."""
    made = {
        event.execution_id
        for event in store.get_events_by_artifact_ids([artifact_id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    return sorted(store.get_executions_by_id(list(made)), key=lambda item: int(item.id), reverse=True)


def _inputs(store: Any, execution_id: int) -> dict[str, list[int]]:
    """The ids of an execution's input artifacts by channel name."""
    found: dict[str, list[int]] = {}
    for event in store.get_events_by_execution_ids([execution_id]):
        if event.type == metadata_store_pb2.Event.INPUT and event.path.steps:
            found.setdefault(event.path.steps[0].key, []).append(event.artifact_id)
    return found


def _last_blessing(
    blessings: Iterable[artifact.Artifact], model: artifact.Artifact
) -> artifact.Artifact | None:
    """The blessing that a model was given last."""
    of_model = [
        blessing
        for blessing in blessings
        if blessing.get_int_custom_property("current_model_id") == model.id
        and blessing.get_int_custom_property("blessed") == 1
    ]
    return max(of_model, key=lambda item: int(item.id), default=None)


class BaselineStrategy(resolver.ResolverStrategy):
    """The model that is served, where it is for the candidate's task and classes.

    TFX's LatestBlessedModelStrategy gives the candidate itself once it was blessed, so that an identical
    second run compares the model with itself and pushes it again. Here a candidate that is served already
    gets the baseline that it was blessed against, so that its evaluation is in the cache.

    Args:
        push_destination: The folder that versions are pushed to.
        imports: The folder for models that are served and that no artifact under this root is.
    """

    def __init__(self, push_destination: str, imports: str):
        self._push_destination = push_destination
        self._imports = imports

    def resolve_artifacts(self, store: Any, input_dict: dict[str, _Artifacts]) -> dict[str, _Artifacts]:
        """Resolves `model` and `model_blessing`, both empty where there is no baseline.

        `candidate` is handed on: TFX fails to resolve a node's inputs when a strategy leaves a key out.

        Args:
            store: ML Metadata.
            input_dict: `candidate`, exactly one model; `model` and `model_blessing`, all there are.
        """
        candidates = input_dict.get(CANDIDATE, [])
        if not candidates:
            return {CANDIDATE: [], MODEL: [], MODEL_BLESSING: []}
        blessings = input_dict.get(MODEL_BLESSING, [])
        served = _Served(store, self._push_destination, self._imports, input_dict.get(MODEL, []))
        model = self._baseline(served, candidates[0], blessings)
        blessing = None if model is None else _last_blessing(blessings, model)
        return {
            CANDIDATE: candidates,
            MODEL: [] if model is None else [model],
            MODEL_BLESSING: [] if blessing is None else [blessing],
        }

    def _baseline(
        self, served: _Served, candidate: artifact.Artifact, blessings: _Artifacts
    ) -> artifact.Artifact | None:
        models = served.models()
        if models and models[0][1].id == candidate.id:
            blessing = _last_blessing(blessings, candidate)
            if blessing is not None:
                return served.model(blessing.get_int_custom_property("baseline_model_id"))
        path = model_folder(candidate.uri)
        class_names = class_names_of(path) or ()
        for other, model in models:
            if model.id != candidate.id:
                comparable = why_incomparable(other, task_of(path), class_names) is None
                return model if comparable else None
        return None


class BaseModelStrategy(resolver.ResolverStrategy):
    """The model that is served; for a training that made that one itself, the model that it started from.

    A training that starts from the latest model makes the next latest one. With TFX's
    LatestBlessedModelStrategy an identical second run would start from its own result and train again, and so
    on without end. Here it is given the model that the first run started from, and finds its result in the
    cache. With other data or settings the training is another, and starts from what is served.

    Args:
        custom_config: The Trainer's, as it stands in ML Metadata.
        push_destination: The folder that versions are pushed to.
        imports: The folder for models that are served and that no artifact under this root is.
    """

    def __init__(self, custom_config: str, push_destination: str, imports: str):
        self._custom_config = custom_config
        self._push_destination = push_destination
        self._imports = imports

    def resolve_artifacts(self, store: Any, input_dict: dict[str, _Artifacts]) -> dict[str, _Artifacts]:
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
        served = _Served(store, self._push_destination, self._imports, input_dict.get(MODEL, []))
        model = self._base_model(store, served, given)
        blessing = None if model is None else _last_blessing(input_dict.get(MODEL_BLESSING, []), model)
        return {
            **input_dict,
            MODEL: [] if model is None else [model],
            MODEL_BLESSING: [] if blessing is None else [blessing],
        }

    def _base_model(
        self, store: Any, served: _Served, given: Mapping[str, list[int]]
    ) -> artifact.Artifact | None:
        for _, model in served.models():
            inputs = self._made_of(store, model, given)
            if inputs is None:
                return model
            if "base_model" not in inputs:
                return None
            (started_from,) = inputs["base_model"]
            if (base := served.model(started_from)) is not None:
                return base
        return None

    def _made_of(
        self, store: Any, model: artifact.Artifact, given: Mapping[str, list[int]]
    ) -> dict[str, list[int]] | None:
        """The inputs of the Trainer with this custom_config that made the model of `given`, if one did."""
        for execution in _makers(store, model.id):
            config = execution.custom_properties[standard_component_specs.CUSTOM_CONFIG_KEY]
            inputs = _inputs(store, execution.id)
            if config.string_value == self._custom_config and all(
                inputs.get(key, []) == ids for key, ids in given.items()
            ):
                return inputs
        return None
