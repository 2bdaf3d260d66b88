"""The versions of one model: their states, their users, and which is to be loaded or unloaded next."""

import dataclasses
import enum
from collections.abc import Mapping

from pipeline.serving.errors import ServingError
from pipeline.serving.models.servable import Servable
from pipeline.serving.versions.config import ModelConfig


class State(enum.IntEnum):
    """States of a version, with the numbers of GetModelStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass
class Record:
    """A version.

    Attributes:
        number: Of the version.
        path: Its SavedModel.
        state: Where it is in its life.
        error: Why it could not be loaded.
        servable: What answers while it is available.
        users: Requests that it is answering.
    """

    number: int
    path: str
    state: State = State.START
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0


@dataclasses.dataclass
class ModelRecords:
    """A model with its versions.

    Attributes:
        config: What is to be served.
        aspired: The versions to serve, with their folders.
        versions: All versions that were ever served, by their numbers.
        is_polled: Its base path has been looked at.
    """

    config: ModelConfig
    aspired: dict[int, str] = dataclasses.field(default_factory=dict)
    versions: dict[int, Record] = dataclasses.field(default_factory=dict)
    is_polled: bool = False

    def aspire(self, wanted: Mapping[int, str]) -> None:
        """Set the versions to serve; new ones begin their lives."""
        self.aspired = dict(wanted)
        for number, path in wanted.items():
            record = self.versions.get(number)
            if record is None or (record.state is State.END and record.error is None):
                self.versions[number] = Record(number, path)
        for number, record in self.versions.items():
            if number in wanted:
                continue
            if record.state is State.START:
                record.state = State.END
            if record.state is State.END:
                # A version that could not be loaded is tried again when it has gone and come back.
                record.error = None

    def has_lost(self, wanted: Mapping[int, str]) -> bool:
        """Return whether a version to serve has ended, as one that came back while it was unloaded."""
        records = [self.versions[number] for number in wanted if number in self.versions]
        return any(each.state is State.END and each.error is None for each in records)

    def latest(self) -> Record | None:
        """Return the newest version that is available."""
        ready = [each for each in self.versions.values() if each.state is State.AVAILABLE]
        return max(ready, key=lambda each: each.number, default=None)

    def next_to_unload(self) -> Record | None:
        """Return a version that is no longer to be served, once another one answers in its place."""
        ready = [each for each in self.versions.values() if each.state is State.AVAILABLE]
        surplus = [each for each in ready if each.number not in self.aspired]
        if self.aspired and len(surplus) == len(ready):
            return None
        return min(surplus, key=lambda each: each.number, default=None)

    def next_to_load(self) -> Record | None:
        """Return the newest version that waits for being loaded."""
        waiting = [each for each in self.versions.values() if each.state is State.START]
        return max(waiting, key=lambda each: each.number, default=None)

    def failure(self) -> str | None:
        """Return why no version is available and none will be, None while that is open."""
        if not self.is_polled or not self.aspired:
            return None
        records = [self.versions[number] for number in self.aspired]
        if any(each.state is not State.END for each in records):
            return None
        shown = [
            f"{{{{name: {self.config.name} version: {each.number}}} due to error: {each.error}}}"
            for each in records
        ]
        return ", ".join(shown)
