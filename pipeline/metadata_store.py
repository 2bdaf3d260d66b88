"""Where ML Metadata keeps what ran on what: the store of a pipeline root, or one that a server keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.kubeflow_config import PASSWORD_VARIABLE, USER_VARIABLE, MetadataConfig

METADATA_FILE = "metadata.sqlite"
# Nodes that run at the same time wait for each other's transactions: with SQLite and InnoDB alike, whoever
# comes second is told to try again.
_MAX_RETRIES = 20


def sqlite_store(root: str | Path) -> Any:
    """The store of a pipeline root on a file system: `metadata.sqlite` below it."""
    return store(MetadataConfig(), str(root), {})


def store(config: MetadataConfig, root: str, environment: Mapping[str, str]) -> Any:
    """A store as `kubeflow.metadata` of a recipe names it.

    Args:
        config: Which kind, and where.
        root: The pipeline root, for a store below it.
        environment: Has the user and the password of a server's store.

    Returns:
        An `ml_metadata.proto.metadata_store_pb2.ConnectionConfig`.
    """
    from ml_metadata.proto import metadata_store_pb2

    connection = metadata_store_pb2.ConnectionConfig()
    connection.retry_options.max_num_retries = _MAX_RETRIES
    if config.type == "sqlite":
        connection.sqlite.filename_uri = config.path or os.path.join(root, METADATA_FILE)
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return connection
    user = environment.get(USER_VARIABLE, "root" if config.type == "mysql" else "postgres")
    password = environment.get(PASSWORD_VARIABLE, "")
    if config.type == "mysql":
        mysql = connection.mysql
        mysql.host, mysql.port, mysql.database = config.host, config.server_port, config.database
        mysql.user, mysql.password = user, password
    else:
        postgresql = connection.postgresql
        postgresql.host, postgresql.port = config.host, str(config.server_port)
        postgresql.dbname, postgresql.user, postgresql.password = config.database, user, password
    return connection
