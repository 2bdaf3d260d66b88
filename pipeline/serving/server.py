"""`mirante serve` as a whole: models, REST and gRPC, from the start to a graceful stop."""

import asyncio
import logging
import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from components.base.errors import MiranteError, UsageError
from pipeline.serving import grpc_server
from pipeline.serving.configuration import Configuration
from pipeline.serving.errors import ServingError
from pipeline.serving.extensions import Health, ModelList
from pipeline.serving.grpc_services import ModelService, PredictionService
from pipeline.serving.http_server import Handler, HttpServer
from pipeline.serving.loading import Loader, start_batch_threads
from pipeline.serving.metrics import Metrics
from pipeline.serving.models.images import ignore_pillow_limit
from pipeline.serving.models.saved_model import SessionOptions
from pipeline.serving.open_inference import OpenInference
from pipeline.serving.page import Page
from pipeline.serving.rest import Answer, RestApi
from pipeline.serving.settings import Settings
from pipeline.serving.text_config import BatchingParameters, read_models, read_session_config
from pipeline.serving.versions.config import ModelConfig, read_config
from pipeline.serving.versions.manager import Manager, ManagerOptions
from pipeline.serving.versions.shelf import Shelf

_log = logging.getLogger(__name__)
_MOST_TENSOR_BYTES = 2**31


class Server:
    """A server by its settings.

    Args:
        settings: The flags.
        configuration: What the files say that they name.
    """

    def __init__(self, settings: Settings, configuration: Configuration):
        self._settings = settings
        self._configuration = configuration
        self._metrics = Metrics()
        self._shelf = Shelf()
        self._loader = _make_loader(settings, configuration.batching, self._metrics)
        self._manager = Manager(
            self._shelf, _manager_options(settings), self._loader.load, self._loader.unload
        )
        self._reloading = threading.Lock()
        self._metrics_path = configuration.metrics_path
        self._grpc: Any = None

    def run(self) -> None:
        """Load the models, answer, and return after SIGINT or SIGTERM.

        Raises:
            MiranteError: A model cannot be loaded.
            UsageError: A port is taken.
        """
        # Once: threads cannot change it for themselves.
        ignore_pillow_limit()
        asyncio.run(self._run())

    def reload(self, config: Any) -> None:
        """Serve the models of a ModelServerConfig instead; waits for new ones.

        Raises:
            ServingError: The configuration is wrong, or a new model cannot be loaded.
        """
        with self._reloading:
            models = read_config(config, self._shelf.configs())
            if models is not None:
                self._manager.set_models(models)

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        self._manager.start()
        loading = asyncio.ensure_future(asyncio.to_thread(self._load_first))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        http = None
        try:
            if not stop.is_set():
                loading.result()
                http = await self._listen()
                poll_secs = self._settings.model_config_file_poll_wait_seconds
                if self._settings.model_config_file and poll_secs > 0:
                    threading.Thread(target=self._poll_config, args=(poll_secs, stop), daemon=True).start()
                await stop.wait()
                _log.info("stopping")
        finally:
            await self._stop(http)

    def _load_first(self) -> None:
        settings = self._settings
        try:
            if self._configuration.models is not None:
                self.reload(self._configuration.models)
            else:
                self._manager.set_models([ModelConfig(settings.model_name, settings.model_base_path)])
        except ServingError as e:
            raise MiranteError(f"Failed to start server. Error: {e}") from e

    async def _listen(self) -> HttpServer | None:
        settings = self._settings
        service = PredictionService(
            self._shelf, self._metrics, _MOST_TENSOR_BYTES, settings.enable_serialization_as_tensor_content
        )
        self._grpc = await grpc_server.make_server(
            service,
            ModelService(self._shelf, self.reload, self._metrics.totals),
            channel_arguments=self._configuration.channel_arguments,
            with_health=settings.enable_grpc_healthcheck_service,
        )
        if settings.port:
            host = settings.bind_address
            # An address of IPv6 needs brackets before a port.
            address = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
            grpc_server.listen(self._grpc, address, self._configuration.grpc_tls)
            _log.info("gRPC on %s", address)
        if settings.grpc_socket_path:
            socket = f"unix:{settings.grpc_socket_path}"
            grpc_server.listen(self._grpc, socket, self._configuration.grpc_tls)
            _log.info("gRPC on %s", settings.grpc_socket_path)
        http = None
        if settings.rest_api_port:
            address = f"{settings.bind_address}:{settings.rest_api_port}"
            http = HttpServer(
                self._handlers(),
                max_body_bytes=settings.max_request_bytes,
                max_calls=settings.max_concurrent_requests,
                client_timeout_secs=settings.client_timeout_secs,
                cors=settings.rest_api_enable_cors_support,
                uncounted=self._list_uncounted(),
            )
            try:
                await http.start(settings.bind_address, settings.rest_api_port, self._configuration.rest_tls)
            except OSError as e:
                raise UsageError(f"REST cannot listen on {address}: {e.strerror or e}") from e
            _log.info("REST on %s", address)
        await self._grpc.start()
        return http

    def _handlers(self) -> list[Handler]:
        settings = self._settings
        rest = RestApi(self._shelf, self._metrics, settings.rest_api_timeout_in_ms)
        handlers: list[Handler] = []
        if self._metrics_path is not None:
            handlers.append(self._answer_metrics)
        if settings.list_models:
            handlers.append(ModelList(self._shelf).answer)
        handlers.append(rest.answer)
        if settings.health_urls:
            handlers.append(Health(self._shelf).answer)
        if settings.open_inference:
            handlers.append(OpenInference(self._shelf, settings.rest_api_timeout_in_ms).answer)
        if settings.ui:
            handlers.append(Page(self._shelf).answer)
        return handlers

    def _list_uncounted(self) -> list[str]:
        settings = self._settings
        return [
            *([self._metrics_path] if self._metrics_path is not None else []),
            *(Health.PATHS if settings.health_urls else ()),
            *(OpenInference.HEALTH_PATHS if settings.open_inference else ()),
        ]

    async def _answer_metrics(self, method: str, path: str, headers: Any, body: bytes) -> Answer | None:
        if re.split("[?#]", path, maxsplit=1)[0] != self._metrics_path:
            return None
        if path != self._metrics_path:
            text = f"Unexpected path: {path}. Should be {self._metrics_path}"
            return Answer(400, text.encode("utf-8", "replace"), "text/plain")
        return Answer(200, self._metrics.page().encode("utf-8", "replace"), "text/plain")

    def _poll_config(self, poll_secs: int, stop: asyncio.Event) -> None:
        wait = threading.Event()
        while not wait.wait(poll_secs) and not stop.is_set():
            try:
                self.reload(read_models(self._settings.model_config_file))
            except (UsageError, ServingError) as e:
                _log.error("%s: not reloaded: %s", self._settings.model_config_file, e)

    async def _stop(self, http: HttpServer | None) -> None:
        drain_secs = self._settings.drain_secs
        stopping = [each.stop(drain_secs) for each in (self._grpc, http) if each is not None]
        await asyncio.gather(*stopping)
        await asyncio.to_thread(self._manager.stop)


def _make_loader(settings: Settings, batching: BatchingParameters | None, metrics: Metrics) -> Loader:
    parallelism = settings.tensorflow_session_parallelism
    config_file = settings.tensorflow_session_config_file
    session = SessionOptions(
        tags=tuple(settings.saved_model_tags.split(",")),
        intra_op_threads=settings.tensorflow_intra_op_parallelism or parallelism,
        inter_op_threads=settings.tensorflow_inter_op_parallelism or parallelism,
        gpu_memory_fraction=settings.per_process_gpu_memory_fraction,
        config=read_session_config(config_file) if config_file else None,
    )
    return Loader(
        session=session,
        metrics=metrics,
        check_methods=settings.enable_signature_method_name_check,
        max_tensor_bytes=_MOST_TENSOR_BYTES,
        max_pixels=settings.max_pixels,
        language=settings.language,
        warm_up_times=max(1, settings.num_request_iterations_for_warmup)
        if settings.enable_model_warmup
        else 0,
        threads=ThreadPoolExecutor(_count_threads(settings), thread_name_prefix="run"),
        batch_threads=start_batch_threads(batching, metrics) if batching is not None else None,
        per_model_batching=settings.enable_batching and settings.enable_per_model_batching_parameters,
    )


def _count_threads(settings: Settings) -> int:
    """Return how many requests that are not batched run at a time."""
    default = max(32, 4 * (os.cpu_count() or 1))
    return (settings.rest_api_num_threads or default) + (settings.grpc_max_threads or default)


def _manager_options(settings: Settings) -> ManagerOptions:
    return ManagerOptions(
        poll_secs=settings.file_system_poll_wait_seconds,
        load_threads=settings.num_load_threads,
        load_retries=settings.max_num_load_retries,
        retry_secs=max(0, settings.load_retry_interval_micros) / 1e6,
        allow_unavailable_labels=settings.allow_version_labels_for_unavailable_models,
    )
