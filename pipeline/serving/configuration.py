"""What the flags and the files that they name ask for, checked before TensorFlow is imported."""

import dataclasses
import os
import re
import ssl
import tempfile
from typing import Any

from components.base.errors import UsageError
from pipeline.serving.settings import Settings
from pipeline.serving.text_config import (
    BatchingParameters,
    TlsConfig,
    read_batching,
    read_metrics_path,
    read_models,
    read_tls,
)

_WHOLE = re.compile("[+-]?[0-9]{1,10}")


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The contents of the files that flags name.

    Attributes:
        models: The ModelServerConfig to begin with; None without a file.
        batching: The parameters of batches of all models; None where each model has its own, or none.
        metrics_path: The path of the metrics; None if they are off.
        rest_tls: What REST is encrypted with; None for not.
        grpc_tls: What gRPC is encrypted with; None for not.
        channel_arguments: Names and values for gRPC's server.
    """

    models: Any
    batching: BatchingParameters | None
    metrics_path: str | None
    rest_tls: ssl.SSLContext | None
    grpc_tls: TlsConfig | None
    channel_arguments: list[tuple[str, Any]]


def read_configuration(settings: Settings) -> Configuration:
    """Read all files that flags name.

    Raises:
        UsageError: A file is missing or wrong, or flags do not fit together.
    """
    batching = None
    if settings.batching_parameters_file and not settings.enable_batching:
        raise UsageError("--batching_parameters_file: expected --enable_batching with it")
    if settings.enable_batching and not settings.enable_per_model_batching_parameters:
        file = settings.batching_parameters_file
        batching = read_batching(file) if file else BatchingParameters()
    rest_tls_file, grpc_tls_file = settings.rest_ssl_config_file, settings.ssl_config_file
    metrics_file = settings.monitoring_config_file
    return Configuration(
        models=read_models(settings.model_config_file) if settings.model_config_file else None,
        batching=batching,
        metrics_path=read_metrics_path(metrics_file) if metrics_file else None,
        rest_tls=make_tls_context(read_tls(rest_tls_file)) if rest_tls_file else None,
        grpc_tls=read_tls(grpc_tls_file) if grpc_tls_file else None,
        channel_arguments=read_channel_arguments(settings.grpc_channel_arguments),
    )


def make_tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """Return the context of a server.

    Raises:
        UsageError: The key does not fit the certificate, or `custom_ca` has no certificates.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, content in (("key", tls.server_key), ("cert", tls.server_cert)):
            paths[name] = os.path.join(folder, name)
            with open(os.open(paths[name], os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
        try:
            context.load_cert_chain(paths["cert"], paths["key"])
        except (ssl.SSLError, OSError) as e:
            raise UsageError(f"--rest_ssl_config_file: the key does not fit the certificate: {e}") from e
    if tls.custom_ca:
        try:
            context.load_verify_locations(cadata=tls.custom_ca.decode())
        except (ssl.SSLError, ValueError) as e:
            raise UsageError(f"--rest_ssl_config_file: custom_ca: expected certificates in PEM: {e}") from e
    if tls.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def read_channel_arguments(text: str) -> list[tuple[str, Any]]:
    """Return the names and values in `name=value,name=value`; whole numbers of 32 bits are numbers.

    Raises:
        UsageError: An argument has no value.
    """
    read: list[tuple[str, Any]] = []
    for argument in filter(None, text.split(",")):
        key, separator, value = argument.partition("=")
        if not separator:
            raise UsageError(f"--grpc_channel_arguments: expected name=value, got {argument}")
        is_number = _WHOLE.fullmatch(value) and -(2**31) <= int(value) < 2**31
        read.append((key, int(value) if is_number else value))
    return read
