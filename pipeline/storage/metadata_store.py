"""Where ML Metadata keeps what ran on what: the store of a pipeline root, or one that a server keeps."""

import os
import random
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError, UsageError
from pipeline.storage.config import PASSWORD_VARIABLE, USER_VARIABLE, MetadataConfig

METADATA_FILE = "metadata.sqlite"
# Nodes that run at the same time wait for each other's transactions: SQLite and InnoDB alike answer the
# second one that it has to retry.
_MAX_RETRIES = 20
_CONNECT_SECS = 10
# Of those who make the tables at the same time, all but one fail.
_MAX_OPENS = 10
_USERS = {"mysql": "root", "postgresql": "postgres"}
# All that ML Metadata says where a server does not let it in; PostgreSQL's words it logs, MySQL's it loses.
_NOT_LET_IN = ("mysql_real_connect failed", "connection pointer is NULL")


def sqlite_store(root: str | Path) -> Any:
    """Return the store of a pipeline root on a file system: `metadata.sqlite` below it."""
    return store(MetadataConfig(), str(root), {})


def store(config: MetadataConfig, root: str, environment: Mapping[str, str]) -> Any:
    """Return a store as `kubeflow.metadata` of a recipe names it.

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
    user, password = _read_account(config, environment)
    if config.type == "mysql":
        mysql = connection.mysql
        mysql.host, mysql.port, mysql.database = config.host, config.server_port, config.database
        mysql.user, mysql.password = user, password
    else:
        postgresql = connection.postgresql
        postgresql.host, postgresql.port = config.host, str(config.server_port)
        postgresql.dbname = config.database
        # They become words of one line, which ML Metadata does not quote.
        postgresql.user, postgresql.password = _quoted(user), _quoted(password)
    return connection


def require_store(config: MetadataConfig, root: str, environment: Mapping[str, str]) -> Any:
    """Return the same store, opened once so that its database and tables are made where there are none.

    Raises:
        MiranteError: Its server cannot be reached.
        UsageError: It cannot be used as it is set up.
    """
    from ml_metadata.metadata_store import MetadataStore

    connection = store(config, root, environment)
    try:
        for attempt in range(1, _MAX_OPENS + 1):
            try:
                MetadataStore(connection)
                return connection
            except RuntimeError:
                if attempt == _MAX_OPENS:
                    raise
                time.sleep(random.random())
    except RuntimeError as e:
        if config.type == "sqlite":
            raise UsageError(
                f"kubeflow.metadata: {connection.sqlite.filename_uri} cannot be opened as SQLite's file: is "
                f"its folder there, on a volume, and may user {os.getuid()} write to it? ({e})"
            ) from e
        raise _explained(config, environment, f"error: {e}") from e


def _read_account(config: MetadataConfig, environment: Mapping[str, str]) -> tuple[str, str]:
    return environment.get(USER_VARIABLE) or _USERS[config.type], environment.get(PASSWORD_VARIABLE, "")


def _quoted(word: str) -> str:
    """As a word of a connection string of libpq (PostgreSQL, 34.1.1)."""
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _explained(config: MetadataConfig, environment: Mapping[str, str], said: str) -> MiranteError:
    """Explain why a server's store does not open, as far as that can be found out."""
    server = f"kubeflow.metadata: the {config.type} server {config.host}:{config.server_port}"
    try:
        socket.create_connection((config.host, config.server_port), _CONNECT_SECS).close()
    except OSError as e:
        return MiranteError(
            f"{server} cannot be reached: {e.strerror or e}. Does it run, do host and port name its Service, "
            "and may pods of this namespace reach it (NetworkPolicy, Istio)?"
        )
    user, password = _read_account(config, environment)
    if any(sign in said for sign in _NOT_LET_IN):
        more = {
            "mysql": "and that it is an account of mysql_native_password, all that ML Metadata knows",
            "postgresql": "and read the server's reason above, after 'PostgreSQL error'",
        }[config.type]
        blank = "" if password == password.strip() else " The password begins or ends with a space or a line."
        given = "given" if password else "none"
        return UsageError(
            f"{server} does not let in the user {user!r} (password: {given}). Check the Secrets "
            f"that kubeflow.metadata.user and kubeflow.metadata.password name, {more}.{blank}"
        )
    if "denied" in said or said.rstrip().endswith(("error:", "error: .")):
        owned = {
            "mysql": f"CREATE DATABASE {config.database}; GRANT ALL ON {config.database}.* TO '{user}'@'%';",
            "postgresql": f"CREATE DATABASE {config.database} OWNER {user};",
        }[config.type]
        return UsageError(
            f"{server} has no database {config.database!r} that the user {user!r} may use, or make. As its "
            f"administrator: {owned} ({' '.join(said.split())})"
        )
    return UsageError(f"{server}: ML Metadata cannot use the database {config.database!r}: {said}")
