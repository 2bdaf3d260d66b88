"""Makes a SavedModel answer requests: loads it, puts batching before it, and warms it up."""

import contextlib
import dataclasses
import logging
import os
from concurrent.futures import ThreadPoolExecutor

from components.base.errors import MiranteError, UsageError
from components.base.files import explained
from components.base.saved_model import class_names_of, on_disk
from components.prediction.language import translate_classes
from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.metrics import Metrics
from pipeline.serving.models.batching import BatchingRunner, BatchThreads
from pipeline.serving.models.running import ThreadRunner
from pipeline.serving.models.saved_model import SavedModel, SessionOptions
from pipeline.serving.models.servable import Runner, Servable
from pipeline.serving.models.warm_up import warm_up
from pipeline.serving.text_config import BatchingParameters, read_batching

_logger = logging.getLogger("mirante.serve")


@dataclasses.dataclass(frozen=True)
class Loader:
    """Loads models, all with the same options.

    Attributes:
        session: How sessions compute.
        metrics: Keeps times.
        check_methods: Refuse signatures with the method name of another call.
        max_tensor_bytes: Refuse larger tensors.
        max_pixels: Refuse images with more pixels; 0 for no limit.
        language: Of the classes' names, where a model has them in it; empty for their own.
        warm_up_times: How often a model's own warm-up requests are sent; 0 for not.
        threads: Run requests that are not batched.
        batch_threads: Run requests in batches; None for one by one.
        per_model_batching: A model's own batching parameters count instead.
    """

    session: SessionOptions
    metrics: Metrics
    check_methods: bool
    max_tensor_bytes: int
    max_pixels: int
    language: str
    warm_up_times: int
    threads: ThreadPoolExecutor
    batch_threads: BatchThreads | None
    per_model_batching: bool

    def load(self, name: str, version: int, path: str) -> Servable:
        """Return what answers for the SavedModel at a path.

        Raises:
            ServingError: It cannot be loaded, or refuses one of its own warm-up requests.
        """
        with contextlib.ExitStack() as held:
            try:
                with explained(path):
                    folder = held.enter_context(on_disk(path))
            except (MiranteError, OSError) as e:
                raise ServingError("UNAVAILABLE", str(e)) from e
            class_names = self._find_names(folder)
            model = SavedModel(folder, self.session)
            try:
                runner = self._make_runner(model, folder)
            except Exception:
                model.close()
                raise
            held.callback(runner.close)
            servable = Servable(
                name=name,
                version=version,
                folder=folder,
                signatures=model.signatures,
                runner=runner,
                recorder=self.metrics,
                check_methods=self.check_methods,
                max_tensor_bytes=self.max_tensor_bytes,
                max_pixels=self.max_pixels,
                class_names=class_names,
            )
            warm_up(servable, self.warm_up_times)
            return dataclasses.replace(servable, held=held.pop_all())

    def unload(self, servable: Servable) -> None:
        """Free what a model holds."""
        servable.held.close()

    def _find_names(self, path: str) -> dict[bytes, bytes]:
        """Return the classes' names in the language by their own; empty if the model has none in it."""
        if not self.language:
            return {}
        try:
            names = translate_classes(path, class_names_of(path) or (), self.language)
        except (UsageError, OSError, ValueError) as e:
            _logger.warning("%s: it answers with the classes' own names: %s", path, e)
            return {}
        return {own.encode(): name.encode() for own, name in names.items()}

    def _make_runner(self, model: SavedModel, path: str) -> Runner:
        own = os.path.join(path, "batching_params.pbtxt")
        if self.per_model_batching and os.path.exists(own):
            try:
                parameters = read_batching(own)
            except UsageError as e:
                raise invalid(str(e)) from e
            threads = start_batch_threads(parameters, self.metrics)
            return BatchingRunner(model, threads, owns_threads=True)
        if self.batch_threads is not None and not self.per_model_batching:
            return BatchingRunner(model, self.batch_threads, owns_threads=False)
        return ThreadRunner(model, self.threads)


def start_batch_threads(parameters: BatchingParameters, metrics: Metrics) -> BatchThreads:
    """Return threads for batches, one per core unless the parameters say how many."""
    return BatchThreads(parameters, metrics, parameters.num_batch_threads or os.cpu_count() or 1)
