"""Reflection and the arguments of the gRPC server."""

from __future__ import annotations

import pytest

from components.base.errors import UsageError
from pipeline.serving.grpc_server import _read_arguments, _register_services, _Symbols


def test_reflection_knows_services_and_their_methods() -> None:
    _register_services()
    pool = _Symbols()
    service = "tensorflow.serving.PredictionService"
    for symbol in (service, f"{service}.Predict"):
        assert (
            pool.FindFileContainingSymbol(symbol).name == "tensorflow_serving/apis/prediction_service.proto"
        )
    for symbol in (f"{service}.Other", "no.such.Thing"):
        with pytest.raises(KeyError):
            pool.FindFileContainingSymbol(symbol)


def test_channel_arguments_are_numbers_or_texts() -> None:
    assert _read_arguments("grpc.max_concurrent_streams=8,grpc.x=y") == [
        ("grpc.max_concurrent_streams", 8),
        ("grpc.x", "y"),
    ]
    with pytest.raises(UsageError, match="expected name=value, got x"):
        _read_arguments("x")
