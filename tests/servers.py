"""Database servers of a test's own: real, empty, on a free port of this machine, gone with the test.

Each has one user who may do everything, and `LIMITED`, who may sign in with the same password and no more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

LIMITED = "limited"
START_SECS = 60


@contextlib.contextmanager
def mariadb(user: str, password: str) -> Iterator[int]:
    """Runs a MariaDB server; gives its port on 127.0.0.1."""
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.fail("no MariaDB server to start: on Debian and Ubuntu, apt-get install mariadb-server")
    account = ["--user=root"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="mirante-mariadb-") as folder:
        data, sql, port = Path(folder, "data"), Path(folder, "init.sql"), free_port()
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *account]
        subprocess.run(install, check=True, capture_output=True)
        quoted = password.replace("\\", "\\\\").replace("'", "''")
        sql.write_text(
            f"CREATE USER '{user}'@'%' IDENTIFIED BY '{quoted}';\nGRANT ALL ON *.* TO '{user}'@'%';\n"
            f"CREATE USER '{LIMITED}'@'%' IDENTIFIED BY '{quoted}';\n"
        )
        command = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={folder}/s.sock", *account]
        command += [f"--port={port}", "--bind-address=127.0.0.1", f"--init-file={sql}"]
        with running(command, port, Path(folder)):
            yield port


@contextlib.contextmanager
def postgresql(user: str, password: str) -> Iterator[int]:
    """Runs a PostgreSQL server, which refuses to run as root: then as Debian's user postgres."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not programs or not (programs[-1] / "initdb").is_file():
        pytest.fail("no PostgreSQL server to start: on Debian and Ubuntu, apt-get install postgresql")
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="mirante-postgresql-") as folder:
        if account:
            shutil.chown(folder, "postgres", "postgres")
        data, secret, port = Path(folder, "data"), Path(folder, "password"), free_port()
        secret.write_text(password + "\n")
        command = [f"{programs[-1]}/initdb", f"--pgdata={data}", f"--username={user}", f"--pwfile={secret}"]
        command += ["--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **account)
        command = [
            f"{programs[-1]}/postgres",
            "-D",
            str(data),
            "-k",
            folder,
            "-p",
            str(port),
            "-h",
            "127.0.0.1",
        ]
        with running(command, port, Path(folder), **account):
            quoted = password.replace("'", "''")
            sql = f"CREATE ROLE {LIMITED} LOGIN PASSWORD '{quoted}'"
            admin = [f"{programs[-1]}/psql", "-h", folder, "-p", str(port), "-U", user, "-c", sql, "postgres"]
            subprocess.run(admin, check=True, capture_output=True)
            yield port


SERVERS: dict[str, Callable[[str, str], AbstractContextManager[int]]] = {
    "mysql": mariadb,
    "postgresql": postgresql,
}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path, **account: Any) -> Iterator[None]:
    """Runs a server from when it listens until the end of the block."""
    log = folder / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=folder, **account)
    try:
        deadline = time.monotonic() + START_SECS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)
