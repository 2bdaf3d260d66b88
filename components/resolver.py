"""Resolver: the model that a candidate is compared with."""

from __future__ import annotations

import os

from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import artifact

from components.trainer.export import ASSETS_EXTRA, LABELS_FILE

CANDIDATE = "candidate"
MODEL = "model"
MODEL_BLESSING = "model_blessing"


def _class_list(model: artifact.Artifact) -> str | None:
    path = os.path.join(model.uri, "Format-Serving", ASSETS_EXTRA, LABELS_FILE)
    if not fileio.exists(path):
        return None
    with fileio.open(path) as file:
        return file.read()


class BaselineStrategy(resolver.ResolverStrategy):
    """The model that was blessed last, other than the candidate, with the candidate's classes.

    TFX's LatestBlessedModelStrategy gives the candidate itself once it was blessed, so that an identical
    second run compares the model with itself and pushes it again. A model of another class list cannot be
    compared at all; it is passed over.
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
        nothing = {CANDIDATE: candidates, MODEL: [], MODEL_BLESSING: []}
        if not candidates:
            return nothing
        candidate = candidates[0]
        models = {model.id: model for model in input_dict.get(MODEL, []) if model.id != candidate.id}
        classes = _class_list(candidate)
        for blessing in sorted(input_dict.get(MODEL_BLESSING, []), key=lambda a: a.id, reverse=True):
            model = models.get(blessing.get_int_custom_property("current_model_id"))
            blessed = blessing.get_int_custom_property("blessed") == 1
            if blessed and model is not None and _class_list(model) == classes:
                return {CANDIDATE: candidates, MODEL: [model], MODEL_BLESSING: [blessing]}
        return nothing
