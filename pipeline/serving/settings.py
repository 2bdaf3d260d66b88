"""Options of `mirante serve`: TensorFlow Serving's flags by their names, and Mirante's own behind them."""

import dataclasses
from typing import Any

from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS

DEFAULT_MODEL_NAME = "default"
DEFAULT_REST_PORT = 8501
_LAST_PORT = 2**16 - 1
_MEBIBYTE = 2**20


def _flag(
    default: Any,
    about: str,
    least: float | None = None,
    most: float | None = None,
    *,
    extension: bool = False,
) -> Any:
    metadata = {"help": about, "least": least, "most": most, "extension": extension}
    return dataclasses.field(default=default, metadata=metadata)


def _extension(default: Any, about: str, least: float | None = None, most: float | None = None) -> Any:
    return _flag(default, about, least, most, extension=True)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All flags; the name of a field is the flag's, its `help` describes it, from `least` to `most`."""

    port: int = _flag(8500, "Port of gRPC; 0 for none.", 0, _LAST_PORT)
    grpc_socket_path: str = _flag("", "UNIX socket of gRPC, in addition to the port.")
    rest_api_port: int = _flag(0, "Port of REST; 0 for none.", 0, _LAST_PORT)
    rest_api_num_threads: int = _flag(
        0, "Threads that run models, besides --grpc_max_threads; 0 for four per core, at least 32.", 0
    )
    rest_api_timeout_in_ms: int = _flag(30_000, "Longest time of a model for a REST call.")
    rest_api_enable_cors_support: bool = _flag(False, "Let web pages of other hosts call REST.")
    model_name: str = _flag(DEFAULT_MODEL_NAME, "Name of the model.")
    model_base_path: str = _flag("", "Folder of the model's versions, as an alternative to MODEL_DIR.")
    model_config_file: str = _flag("", "ModelServerConfig in text format: several models, policies, labels.")
    model_config_file_poll_wait_seconds: int = _flag(0, "Seconds between readings of this file; 0 for one.")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Let a new label name a version that is not loaded."
    )
    enable_batching: bool = _flag(False, "Run requests that come together as one batch.")
    batching_parameters_file: str = _flag("", "BatchingParameters in text format.")
    enable_per_model_batching_parameters: bool = _flag(
        False, "Read batching_params.pbtxt in each SavedModel instead."
    )
    monitoring_config_file: str = _flag("", "MonitoringConfig in text format: turns on Prometheus metrics.")
    ssl_config_file: str = _flag("", "SSLConfig in text format: TLS for gRPC.")
    grpc_channel_arguments: str = _flag("", "Arguments of gRPC's server: name=value,name=value.")
    grpc_max_threads: int = _flag(
        0, "Threads that run models, besides --rest_api_num_threads; 0 for four per core, at least 32.", 0
    )
    enable_grpc_healthcheck_service: bool = _flag(False, "Serve gRPC's standard health service.")
    enable_model_warmup: bool = _flag(True, "Send a model its own warm-up requests before clients' ones.")
    num_request_iterations_for_warmup: int = _flag(
        1, "How often each warm-up request is sent, at least once."
    )
    enable_signature_method_name_check: bool = _flag(
        False, "Refuse calls of signatures with the method name of another call."
    )
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Answer gRPC Predict with tensor_content instead of typed fields."
    )
    saved_model_tags: str = _flag("serve", "Tags of the graph in a SavedModel, with commas.")
    file_system_poll_wait_seconds: int = _flag(
        1, "Seconds between looks for new versions; 0 for one look, negative for none."
    )
    num_load_threads: int = _flag(0, "Versions that are loaded at the same time; 0 for one.", 0)
    max_num_load_retries: int = _flag(5, "Further tries to load a version.", 0)
    load_retry_interval_micros: int = _flag(
        60_000_000, "Microseconds between these tries; negative for none."
    )
    tensorflow_session_parallelism: int = _flag(0, "Threads of TensorFlow, within and between operations.", 0)
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads of one operation; 0 for all cores.", 0)
    tensorflow_inter_op_parallelism: int = _flag(0, "Operations at a time; 0 for all cores.", 0)
    tensorflow_session_config_file: str = _flag(
        "", "ConfigProto of TensorFlow in text format; the flags above have priority."
    )
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "Share of a GPU's memory; 0 for what is needed.", 0, 1
    )

    bind_address: str = _extension("127.0.0.1", "Address to listen on; 0.0.0.0 for all of the machine's.")
    rest_ssl_config_file: str = _extension("", "SSLConfig in text format: TLS for REST.")
    max_request_bytes: int = _extension(
        128 * _MEBIBYTE, "Longest body of a REST call, unpacked up to 100 MiB.", 1
    )
    max_concurrent_requests: int = _extension(1024, "REST calls at a time; others get 503.", 1)
    max_pixels: int = _extension(
        DEFAULT_MAX_PIXELS,
        "Refuse images with more pixels in inputs whose name ends in _bytes; 0 for no limit.",
        0,
        PILLOW_MAX_PIXELS,
    )
    language: str = _extension(
        "", "Answer with the classes' names in this language, such as pt, where a model has them."
    )
    client_timeout_secs: int = _extension(
        30, "Disconnect clients that neither send nor take anything for this long.", 1
    )
    drain_secs: int = _extension(10, "Longest wait for calls under way when the server stops.", 0)
    list_models: bool = _extension(
        False, "Answer GET /v1/models with a list, which TensorFlow Serving refuses."
    )
    health_urls: bool = _extension(False, "Answer GET /healthz (alive) and /readyz (models are available).")
    open_inference: bool = _extension(False, "Answer KServe's V2 protocol below /v2/.")
    ui: bool = _extension(False, "Serve a page at / to try images.")


# Flags of TensorFlow Serving that mean nothing here. They are accepted so that its command lines work.
IGNORED_FLAGS = (
    "enable_profiler", "flush_filesystem_caches", "mixed_precision", "num_tflite_interpreters_per_pool",
    "num_tflite_pools", "num_unload_threads", "platform_config_file", "prefer_tflite_model",
    "remove_unused_fields_from_bundle_metagraph", "skip_initialize_tpu", "tensorflow_use_numa_affinity",
    "thread_pool_factory_config_file", "use_alts_credentials", "use_saved_model", "use_tflite_model",
    "xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled",
)  # fmt: skip
# Those of them that need no value.
IGNORED_SWITCHES = (
    "enable_profiler", "flush_filesystem_caches", "prefer_tflite_model",
    "remove_unused_fields_from_bundle_metagraph", "skip_initialize_tpu", "tensorflow_use_numa_affinity",
    "use_alts_credentials", "use_saved_model", "use_tflite_model", "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
)  # fmt: skip
