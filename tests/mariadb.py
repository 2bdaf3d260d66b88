"""A MariaDB server of a test's own: real, empty, on a free port of this machine, gone with the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

START_SECS = 60


def installed() -> bool:
    """Whether there is a server to start (Debian: mariadb-server)."""
    return shutil.which("mariadbd") is not None and shutil.which("mariadb-install-db") is not None


@contextlib.contextmanager
def server(folder: Path, user: str, password: str) -> Iterator[int]:
    """Runs a server below `folder` with one user, who may do everything; gives its port on 127.0.0.1."""
    data, socket_file, log = folder / "data", folder / "s.sock", folder / "server.log"
    account = ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *account],
        check=True,
        capture_output=True,
    )
    sql = folder / "init.sql"
    sql.write_text(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO '{user}'@'%';\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                f"--datadir={data}",
                f"--socket={socket_file}",
                f"--port={port}",
                "--bind-address=127.0.0.1",
                f"--init-file={sql}",
                *account,
            ],
            stdout=said,
            stderr=said,
        )
    try:
        deadline = time.monotonic() + START_SECS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mariadbd did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)
