"""Loads and unloads versions in the background so that a model always answers while it changes.

A poller looks for versions; workers load the newest that is missing, and unload what is surplus once another
version is available. A version that is unloaded takes no new requests and ends when the last one is answered.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable

from pipeline.serving.errors import ServingError
from pipeline.serving.models.servable import Servable
from pipeline.serving.versions.config import ModelConfig
from pipeline.serving.versions.records import ModelRecords, Record, State
from pipeline.serving.versions.shelf import Shelf
from pipeline.serving.versions.source import find_versions

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ManagerOptions:
    """Options for finding and loading versions.

    Attributes:
        poll_secs: Seconds between looks at the base paths; 0 for a single look, negative for none.
        load_threads: Versions that are loaded at the same time; 0 for one.
        load_retries: Further tries after a failed one.
        retry_secs: Seconds between tries.
        allow_unavailable_labels: A new label may name a version that is not available.
    """

    poll_secs: float = 1.0
    load_threads: int = 0
    load_retries: int = 5
    retry_secs: float = 60.0
    allow_unavailable_labels: bool = False


class Manager:
    """Changes which versions are on the shelf.

    Args:
        shelf: What requests see.
        options: How versions are found and loaded.
        load: Returns what answers for the SavedModel at a path; raises ServingError.
        unload: Frees what `load` returned.
    """

    def __init__(
        self,
        shelf: Shelf,
        options: ManagerOptions,
        load: Callable[[str, int, str], Servable],
        unload: Callable[[Servable], None],
    ):
        self._options = options
        self._load = load
        self._unload = unload
        self._shelf = shelf
        self._changed = shelf.changed
        self._stopped = False
        self._poll_now = True
        self._threads = [threading.Thread(target=self._poll_forever, name="poll", daemon=True)]
        for number in range(max(1, options.load_threads)):
            self._threads.append(threading.Thread(target=self._work, name=f"load-{number}", daemon=True))

    def start(self) -> None:
        """Begin to look for versions and to load them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more requests, wait for those being answered, and unload all."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=10)
        for model in list(self._shelf.models.values()):
            for record in list(model.versions.values()):
                if record.state is State.AVAILABLE:
                    self._unload_version(record, wait_secs=10)

    def set_models(self, configs: Iterable[ModelConfig]) -> None:
        """Replace the models to serve; waits until new ones are available, or cannot be.

        Raises:
            ServingError: A label names a version that is not available, or a new model cannot be loaded.
        """
        configs = list(configs)
        with self._changed:
            self._shelf.labels = self._check_labels(configs)
            new = [config.name for config in configs if not self._is_configured(config.name)]
            for config in configs:
                known = self._shelf.models.get(config.name)
                if known is None:
                    self._shelf.models[config.name] = ModelRecords(config)
                else:
                    known.config = config
            kept = {config.name for config in configs}
            for name, model in self._shelf.models.items():
                if name not in kept:
                    model.config = ModelConfig(name, "")
                    model.aspire({})
            for name in new:
                self._shelf.models[name].is_polled = False
            self._poll_now = True
            self._changed.notify_all()
            failures = self._wait_for(new)
        if failures:
            raise ServingError(
                "UNKNOWN", f"{len(failures)} model(s) did not become available: {{{', '.join(failures)}, }}"
            )

    def _is_configured(self, name: str) -> bool:
        return name in self._shelf.models and bool(self._shelf.models[name].config.base_path)

    def _check_labels(self, configs: Iterable[ModelConfig]) -> dict[str, dict[str, int]]:
        for config in configs:
            model = self._shelf.models.get(config.name)
            for label, version in config.labels.items():
                record = model.versions.get(version) if model is not None else None
                if record is not None and record.state is State.AVAILABLE:
                    continue
                former = self._shelf.labels.get(config.name, {}).get(label, version)
                if not self._options.allow_unavailable_labels or former != version:
                    raise ServingError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {version} of model {config.name}, which is not "
                        "currently available for inference",
                    )
        return {config.name: dict(config.labels) for config in configs}

    def _wait_for(self, names: Iterable[str]) -> list[str]:
        def failures() -> list[str] | None:
            found = []
            for name in names:
                model = self._shelf.models[name]
                if model.latest() is not None or not model.config.base_path:
                    continue
                failure = model.failure()
                if failure is None:
                    return None
                found.append(failure)
            return found

        self._changed.wait_for(lambda: self._stopped or failures() is not None)
        return failures() or []

    def _poll_forever(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                self._poll_now = False
                configs = self._shelf.configs() if self._options.poll_secs >= 0 else []
            found = [(config, _find_versions(config)) for config in configs]
            with self._changed:
                for config, versions in found:
                    if versions is not None:
                        self._aspire(config, versions)
                wait_secs = self._options.poll_secs if self._options.poll_secs > 0 else None
                self._changed.wait_for(lambda: self._stopped or self._poll_now, wait_secs)

    def _aspire(self, config: ModelConfig, found: dict[int, str]) -> None:
        model = self._shelf.models[config.name]
        if model.config is not config:
            return
        wanted = config.pick(found)
        if not wanted:
            _log.warning("model %s: no version to serve below %s", config.name, config.base_path)
        if wanted != model.aspired or not model.is_polled or model.has_lost(wanted):
            model.aspire(wanted)
            model.is_polled = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                action: tuple[ModelRecords, Record] | None = None
                while not self._stopped and (action := self._next_action()) is None:
                    self._changed.wait()
                if self._stopped or action is None:
                    return
                model, record = action
                is_unload = record.state is State.AVAILABLE
                record.state = State.UNLOADING if is_unload else State.LOADING
                self._changed.notify_all()
            if is_unload:
                # It waits for requests, during which other versions are loaded.
                threading.Thread(target=self._unload_version, args=(record,), daemon=True).start()
            else:
                self._load_version(model, record)

    def _next_action(self) -> tuple[ModelRecords, Record] | None:
        for model in self._shelf.models.values():
            record = model.next_to_unload() or model.next_to_load()
            if record is not None:
                return model, record
        return None

    def _load_version(self, model: ModelRecords, record: Record) -> None:
        name = model.config.name
        tries = 0
        while True:
            try:
                servable = self._load(name, record.number, record.path)
            except Exception as e:  # noqa: BLE001  # Whatever it is, the thread must live.
                error = (
                    e if isinstance(e, ServingError) else ServingError("INTERNAL", f"{type(e).__name__}: {e}")
                )
                _log.error("model %s version %s: cannot be loaded: %s", name, record.number, error)
            else:
                with self._changed:
                    record.servable = servable
                    record.state = State.AVAILABLE
                    self._changed.notify_all()
                _log.info("model %s version %s: available", name, record.number)
                return
            tries += 1
            with self._changed:
                given_up = tries > self._options.load_retries or self._changed.wait_for(
                    lambda: self._stopped or record.number not in model.aspired, self._options.retry_secs
                )
                if given_up:
                    record.state = State.END
                    # Without an error it is tried again when it comes back.
                    record.error = error if record.number in model.aspired else None
                    self._changed.notify_all()
                    return

    def _unload_version(self, record: Record, wait_secs: float | None = None) -> None:
        with self._changed:
            record.state = State.UNLOADING
            self._changed.wait_for(lambda: not record.users, wait_secs)
            servable, record.servable = record.servable, None
        if servable is not None:
            self._unload(servable)
        with self._changed:
            record.state = State.END
            self._changed.notify_all()


def _find_versions(config: ModelConfig) -> dict[int, str] | None:
    try:
        return find_versions(config.base_path)
    except OSError as e:
        _log.warning("model %s: cannot list %s: %s", config.name, config.base_path, e.strerror or e)
        return None
