"""Addresses of model stores.

    mongodb://HOST[:PORT]/DATABASE/MODEL[?OPTIONS]   GridFS; also mongodb+srv://
    models:/MODEL                                    MLflow's registry, which MLFLOW_TRACKING_URI names

An address never has a user or password: those are in the environment (components/model_stores/protocol.py).
"""

import dataclasses
import re
from typing import Literal

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_MONGODB = re.compile(
    rf"(?P<server>mongodb(?:\+srv)?://[^/?#]+)/(?P<database>[A-Za-z0-9_-]+)/(?P<model>{_NAME})(?P<options>\?.*)?"
)
_MLFLOW = re.compile(rf"models:/(?P<model>{_NAME})")


@dataclasses.dataclass(frozen=True)
class Address:
    """A model in a store.

    Attributes:
        kind: The store's kind.
        model: The model's name.
        server: The server's own address, with options; empty for MLflow.
        database: The database; empty for MLflow.
    """

    kind: Literal["mongodb", "mlflow"]
    model: str
    server: str = ""
    database: str = ""


def is_store(address: str) -> bool:
    """Return whether a text is meant as the address of a model store, right or wrong."""
    return address.startswith(("mongodb://", "mongodb+srv://", "models:/"))


def parse_address(address: str) -> Address:
    """Read an address.

    Raises:
        ValueError: It is not one.
    """
    if match := _MONGODB.fullmatch(address):
        options = match["options"] or ""
        return Address("mongodb", match["model"], f"{match['server']}/{options}", match["database"])
    if match := _MLFLOW.fullmatch(address):
        return Address("mlflow", match["model"])
    raise ValueError(
        "expected mongodb://HOST/DATABASE/MODEL or models:/MODEL, names of letters, digits, dots, _ and -"
    )
