"""All models with their versions, as requests find them. Every method may be called from any thread."""

from __future__ import annotations

import threading
from typing import Any

from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.models.servable import Servable
from pipeline.serving.versions.config import ModelConfig
from pipeline.serving.versions.records import ModelRecords, Record, State


class Handle:
    """A version in use: it is not unloaded before the end of the `with` block."""

    def __init__(self, shelf: Shelf, record: Record):
        self._shelf = shelf
        self._record = record

    def __enter__(self) -> Servable:
        assert self._record.servable is not None
        return self._record.servable

    def __exit__(self, *error: Any) -> None:
        self._shelf.release(self._record)


class Shelf:
    """Models by their names.

    Attributes:
        changed: Guards all of it, and is notified of changes.
        models: All models that were ever served.
        labels: By the names of models: versions by their labels.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.models: dict[str, ModelRecords] = {}
        self.labels: dict[str, dict[str, int]] = {}

    def configs(self) -> list[ModelConfig]:
        """Return the models to serve."""
        with self.changed:
            return [model.config for model in self.models.values() if model.config.base_path]

    def handle(self, model_spec: Any) -> Handle:
        """Return the version that a ModelSpec names, for use in a `with` block.

        Raises:
            ServingError: There is no such version, or no such label.
        """
        if not model_spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = model_spec.WhichOneof("version_choice")
        version = model_spec.version.value if choice == "version" else None
        label = model_spec.version_label if choice == "version_label" else None
        return self.find(model_spec.name, version, label)

    def find(self, name: str, version: int | None, label: str | None) -> Handle:
        """Return a version for use in a `with` block: by its number, by a label, or the latest.

        Raises:
            ServingError: There is no such version, or no such label.
        """
        with self.changed:
            if label is not None:
                version = self.labels.get(name, {}).get(label)
                if version is None:
                    raise invalid(f"Unrecognized servable version label: {label}")
            model = self.models.get(name)
            record: Record | None = None
            if model is not None:
                record = model.latest() if version is None else model.versions.get(version)
            if record is None or record.state is not State.AVAILABLE:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")
            record.users += 1
            return Handle(self, record)

    def release(self, record: Record) -> None:
        """End a use of a version."""
        with self.changed:
            record.users -= 1
            if not record.users and record.state is State.UNLOADING:
                self.changed.notify_all()

    def states(self, name: str, version: int | None) -> list[tuple[int, State, ServingError | None]]:
        """Return number, state and error of a model's versions, the newest first.

        Raises:
            ServingError: There is no such model or version.
        """
        with self.changed:
            model = self.models.get(name)
            records = model.versions if model is not None else {}
            if version is not None:
                if version not in records:
                    raise ServingError("NOT_FOUND", f"Could not find version {version} of model {name}")
                records = {version: records[version]}
            if not records:
                raise ServingError("NOT_FOUND", f"Could not find any versions of model {name}")
            newest_first = sorted(records.values(), key=lambda each: -each.number)
            return [(each.number, each.state, each.error) for each in newest_first]

    def all_states(self) -> dict[str, list[tuple[int, State]]]:
        """Return number and state of all versions of all models, the newest first."""
        with self.changed:
            return {
                name: sorted(((each.number, each.state) for each in model.versions.values()), reverse=True)
                for name, model in sorted(self.models.items())
                if model.config.base_path
            }
