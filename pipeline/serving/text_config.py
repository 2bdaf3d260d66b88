"""Configuration files in TensorFlow Serving's text format: models, batching, TLS and monitoring.

The messages that the package tensorflow-serving-api leaves out are described here by their fields.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, text_format, wrappers_pb2

from components.base.errors import UsageError
from components.base.messages import Messages, make_messages

_MESSAGES: Messages = {
    "BatchingParameters": (
        ("max_batch_size", 1, "google.protobuf.Int64Value"),
        ("batch_timeout_micros", 2, "google.protobuf.Int64Value"),
        ("max_enqueued_batches", 3, "google.protobuf.Int64Value"),
        ("num_batch_threads", 4, "google.protobuf.Int64Value"),
        ("thread_pool_name", 5, "google.protobuf.StringValue"),
        ("allowed_batch_sizes", 6, "*int64"),
        ("pad_variable_length_inputs", 7, "bool"),
        ("enable_large_batch_splitting", 8, "google.protobuf.BoolValue"),
        ("max_execution_batch_size", 9, "google.protobuf.Int64Value"),
    ),
    "SSLConfig": (
        ("server_key", 1, "string"),
        ("server_cert", 2, "string"),
        ("custom_ca", 3, "string"),
        ("client_verify", 4, "bool"),
    ),
    "PrometheusConfig": (("enable", 1, "bool"), ("path", 2, "string")),
    "MonitoringConfig": (("prometheus_config", 1, "PrometheusConfig"),),
}


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """Parameters of batching, by TensorFlow Serving's names and defaults."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 0
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0


@dataclasses.dataclass(frozen=True)
class TlsConfig:
    """Key and certificates in PEM, as they are in the file."""

    server_key: bytes
    server_cert: bytes
    custom_ca: bytes
    client_verify: bool


def read_models(path: str) -> Any:
    """Return the ModelServerConfig in a file.

    Raises:
        UsageError: The file cannot be read, or is not in this format.
    """
    from tensorflow_serving.config import model_server_config_pb2

    return _read(path, model_server_config_pb2.ModelServerConfig())


def read_batching(path: str) -> BatchingParameters:
    """Return the batching parameters in a file.

    Raises:
        UsageError: The file cannot be read, or its values do not fit together.
    """
    proto = _read(path, _message("BatchingParameters"))
    given: dict[str, Any] = {}
    for field in dataclasses.fields(BatchingParameters):
        value = getattr(proto, field.name)
        if field.name == "allowed_batch_sizes":
            given[field.name] = tuple(value)
        elif field.name == "pad_variable_length_inputs":
            given[field.name] = value
        elif proto.HasField(field.name):
            given[field.name] = value.value
    parameters = BatchingParameters(**given)
    _check_batching(parameters, path)
    return parameters


def read_tls(path: str) -> TlsConfig:
    """Return the keys in an SSLConfig file.

    Raises:
        UsageError: The file cannot be read, or has no key or certificate.
    """
    proto = _read(path, _message("SSLConfig"))
    if not proto.server_key or not proto.server_cert:
        raise UsageError(f"{path}: expected server_key and server_cert")
    if proto.client_verify and not proto.custom_ca:
        raise UsageError(f"{path}: client_verify: expected custom_ca, to check client certificates with")
    return TlsConfig(
        proto.server_key.encode(), proto.server_cert.encode(), proto.custom_ca.encode(), proto.client_verify
    )


def read_metrics_path(path: str) -> str | None:
    """Return the path of the metrics by a MonitoringConfig file, None if they are off.

    Raises:
        UsageError: The file cannot be read, or is not in this format.
    """
    prometheus = _read(path, _message("MonitoringConfig")).prometheus_config
    return (prometheus.path or "/monitoring/prometheus/metrics") if prometheus.enable else None


def read_session_config(path: str) -> Any:
    """Return the ConfigProto in a file; imports TensorFlow.

    Raises:
        UsageError: The file cannot be read, or is not in this format.
    """
    from tensorflow.core.protobuf import config_pb2

    return _read(path, config_pb2.ConfigProto())


def _check_batching(parameters: BatchingParameters, path: str) -> None:
    sizes = parameters.allowed_batch_sizes
    longest = parameters.max_batch_size
    if parameters.enable_large_batch_splitting and parameters.max_execution_batch_size:
        longest = parameters.max_execution_batch_size
        if longest > parameters.max_batch_size:
            raise UsageError(
                f"{path}: max_execution_batch_size: expected at most max_batch_size "
                f"({parameters.max_batch_size}), got {longest}"
            )
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1):
        raise UsageError(f"{path}: allowed_batch_sizes: expected rising numbers, got {list(sizes)}")
    if sizes and sizes[-1] != longest:
        raise UsageError(
            f"{path}: allowed_batch_sizes: expected {longest}, the largest batch, as the last one, got "
            f"{sizes[-1]}"
        )
    if min(parameters.max_batch_size, parameters.max_enqueued_batches) < 1:
        raise UsageError(f"{path}: expected max_batch_size and max_enqueued_batches of at least 1")
    if parameters.max_execution_batch_size < 0:
        raise UsageError(
            f"{path}: max_execution_batch_size: expected at least 0, got "
            f"{parameters.max_execution_batch_size}"
        )
    if parameters.batch_timeout_micros < 0 or parameters.num_batch_threads < 0:
        raise UsageError(f"{path}: expected batch_timeout_micros and num_batch_threads of at least 0")


def _read(path: str, message: Any) -> Any:
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror or e}") from e
    except (text_format.ParseError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: expected a {message.DESCRIPTOR.name} in text format, got: {e}") from e


def _message(name: str) -> Any:
    return _classes()[name]()


@functools.cache
def _classes() -> dict[str, Any]:
    wrappers = wrappers_pb2.DESCRIPTOR.name
    return make_messages("mirante.serving", _MESSAGES, imports=[wrappers], pool=descriptor_pool.Default())
