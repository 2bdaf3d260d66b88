"""Inputs that are not what they claim to be: a clear refusal, in seconds, with flat memory."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ingest.test_cifar_tfrecord import Runs, cifar10
from tests.make.folders import write_images, write_mnist
from tests.make.images import make_png

pytestmark = pytest.mark.stack_free

MIRANTE = Path(sys.executable).with_name("mirante")
# The memory that `mirante ingest` of a handful of good images takes: no input may take much more.
MAX_MEMORY_KIB = 200_000
MAX_SECONDS = 15


@dataclasses.dataclass
class Ended:
    code: int
    said: str
    seconds: float
    memory_kib: int


# A process begins with the memory of the one that it was forked from: a small one has to start the command.
LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, done.stdout, time.monotonic() - began, memory]))
"""


def ingest(source: str, path: Path, output: Path) -> Ended:
    """Runs the command; memory is the most that it or a process of its own had resident."""
    command = [sys.executable, "-S", "-c", LAUNCHER, str(MIRANTE), "ingest", source, str(path), str(output)]
    return Ended(*json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def web_page_for_an_idx_file(root: Path) -> tuple[str, Path]:
    write_mnist(root)
    (root / "train-images-idx3-ubyte.gz").write_text("<!DOCTYPE html><html>404</html>")
    return "idx", root


def pickle_that_runs_code(root: Path) -> tuple[str, Path]:
    cifar10(root)
    program = pickle.dumps(Runs(f"touch {root / 'it-ran'}"), 2)
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(program)
    return "cifar", root


def zip_that_climbs(root: Path) -> tuple[str, Path]:
    root.mkdir()
    with zipfile.ZipFile(root / "in.zip", "w") as file:
        file.writestr("cats/1.png", make_png(1))
        file.writestr("../it-ran", b"x")
    return "folder", root / "in.zip"


def bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels, all of it there: 7.5 GB, packed into 7 MB."""
    row_bytes, rows, rows_a_block = 150_001, 50_000, 100
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(row_bytes * rows_a_block)) + packer.flush(zlib.Z_FULL_FLUSH)
    header, block = first[:2], first[2:]
    adler32 = (row_bytes * rows % 65_521) << 16 | 1  # of zeros
    data = header + block * (rows // rows_a_block) + b"\x03\0" + struct.pack(">I", adler32)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def decompression_bomb(root: Path) -> tuple[str, Path]:
    write_images(root, "cats/1.png", "dogs/2.png")
    (root / "cats" / "bomb.png").write_bytes(bomb())
    return "folder", root


def huge_file(root: Path) -> tuple[str, Path]:
    write_images(root, "cats/1.png", "dogs/2.png")
    (root / "cats" / "huge.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    os.truncate(root / "cats" / "huge.jpg", 20 << 30)
    return "folder", root


def csv_with_unknown_files(root: Path) -> tuple[str, Path]:
    names = [f"{number}.png" for number in range(400)]
    write_images(root, *names)
    rows = [*names, *(f"unknown{number}.png" for number in range(5))]  # 5 of 405 are more than 1 %
    lines = (f"{name},{'ab'[at % 2]}\n" for at, name in enumerate(rows))
    (root / "labels.csv").write_text("filename,label\n" + "".join(lines))
    return "csv", root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            web_page_for_an_idx_file,
            "train-images-idx3-ubyte.gz: a web page, not an IDX file",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            pickle_that_runs_code,
            "data_batch_1: a pickle that wants to run posix.system",
            marks=pytest.mark.slow,
        ),
        (zip_that_climbs, "its member '../it-ran' would land outside the folder"),
        pytest.param(decompression_bomb, "cats/bomb.png: more than 178956970 pixels", marks=pytest.mark.slow),
        pytest.param(
            huge_file,
            "cats/huge.jpg: file too large: expected at most 1 GiB, got 21,474,836,480 bytes",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            csv_with_unknown_files,
            "5 of 405 inputs were rejected (1.2%, allowed 1.0%)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_hostile_inputs_are_refused(
    tmp_path: Path, make: Callable[[Path], tuple[str, Path]], message: str
) -> None:
    source, path = make(tmp_path / "in")
    output = tmp_path / "out"
    ended = ingest(source, path, output)
    assert ended.code == 3, ended.said
    assert message in ended.said
    assert "Traceback" not in ended.said
    assert ended.seconds < MAX_SECONDS
    assert ended.memory_kib < MAX_MEMORY_KIB
    assert not list(output.glob("*-of-*"))
    assert not list(tmp_path.rglob("it-ran"))
