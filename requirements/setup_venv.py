"""Makes `.venv`: picks a TFX stack and a Python that fit this machine and installs the stack's lock file.

Run by `make`. Needs nothing but the standard library, and runs on any Python from 3.8 on, so that it can
say what is missing on a machine where nothing fits. Everything that is downloaded is covered by a hash in
`bootstrap.txt` or `tfx-<stack>.txt`: packages that come as source are built with the setuptools of the
former, not with whatever is newest. A second run that finds nothing to do returns at once; one that was
killed starts over.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
VENV = ROOT / ".venv"
STAMP = VENV / "mirante-setup.json"
PYTHON_NAMES = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
DEBIAN_PACKAGES = "python3-dev python3-venv g++ make"
# After this many seconds without a line of uv, a line says that it is still at work.
QUIET_SECS = 15.0
# TFX 1.21 has wheels for glibc 2.39 and above only.
NEW_STACK_GLIBC = (2, 39)


class Stack(NamedTuple):
    """A TFX release with the Pythons (first and last minor version) that it runs on."""

    name: str
    pythons: tuple[tuple[int, int], tuple[int, int]]

    @property
    def lock(self) -> Path:
        """The lock file: every package with its version and hashes."""
        return REQUIREMENTS / f"tfx-{self.name}.txt"

    def __str__(self) -> str:
        return f"TFX {self.name}"


STACKS = {"1.16": Stack("1.16", ((3, 10), (3, 11))), "1.21": Stack("1.21", ((3, 11), (3, 13)))}


class Python(NamedTuple):
    """An interpreter: the real executable behind a shim or a venv, its version, and what it has."""

    executable: str
    version: tuple[int, int, int]
    has_headers: bool
    has_venv: bool

    @property
    def version_text(self) -> str:
        """As in '3.11.2'."""
        return ".".join(map(str, self.version))


class SetupError(Exception):
    """This machine or the arguments do not allow the set-up; the message says what to do."""


def pick_stack(wanted: str) -> tuple[Stack, str]:
    """Returns the stack to install and why; `wanted` is a name from `STACKS` or empty."""
    libc, version_text = platform.libc_ver()
    if sys.platform != "linux" or libc != "glibc" or platform.machine() != "x86_64":
        raise SetupError(
            f"TFX has wheels for Linux with glibc on x86_64; this is {sys.platform} "
            f"{platform.machine()} with {libc or 'another C library'}. Use a container of Debian or Ubuntu."
        )
    glibc = tuple(int(part) for part in version_text.split(".")[:2])
    if wanted and wanted not in STACKS:
        raise SetupError(f"STACK={wanted}: expected one of {', '.join(STACKS)}.")
    if wanted == "1.21" and glibc < NEW_STACK_GLIBC:
        raise SetupError(
            f"STACK=1.21 needs glibc 2.39 or above (Debian 13, Ubuntu 24.04); this machine has "
            f"{version_text}. Leave STACK out to get 1.16."
        )
    if wanted:
        return STACKS[wanted], "STACK asks for it"
    if glibc >= NEW_STACK_GLIBC:
        return STACKS["1.21"], f"glibc {version_text} is 2.39 or above"
    return STACKS["1.16"], f"glibc {version_text} is below 2.39"


def inspect_python(command: str) -> Python | None:
    """Returns what `command` is, or None when it does not run (a pyenv shim without a version, say)."""
    code = (
        "import importlib.util, json, os, sys, sysconfig\n"
        "print(json.dumps([getattr(sys, '_base_executable', sys.executable), sys.version_info[:3],"
        " os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')),"
        " importlib.util.find_spec('ensurepip') is not None]))"
    )
    try:
        done = subprocess.run([command, "-I", "-c", code], capture_output=True, text=True, check=True)
        executable, (major, minor, micro), has_headers, has_venv = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    return Python(executable, (major, minor, micro), has_headers, has_venv)


def pick_python(stack: Stack, wanted: str) -> Python:
    """Returns an interpreter that `stack` runs on and that a venv with compiled packages can be made from."""
    first, last = stack.pythons
    fitting = f"Python {first[0]}.{first[1]} to {last[0]}.{last[1]}"
    unfit = []
    for name in [wanted] if wanted else PYTHON_NAMES:
        found = inspect_python(name)
        if found is None:
            if wanted:
                unfit.append(f"PYTHON={name} does not run")
        elif not first <= found.version[:2] <= last:
            unfit.append(f"{name} is {found.version_text}")
        elif not found.has_venv:
            unfit.append(f"{name} ({found.version_text}) cannot make a venv: python3-venv is missing")
        elif not found.has_headers:
            unfit.append(f"{name} ({found.version_text}) has no Python.h: python3-dev is missing")
        else:
            return found
    raise SetupError(
        f"{stack} needs {fitting} with its headers and venv; found: {'; '.join(unfit) or 'no Python 3'}.\n"
        f"On Debian and Ubuntu: apt-get install {DEBIAN_PACKAGES}\n"
        "A Python that is not on PATH: make PYTHON=/path/to/python3.11"
    )


def check_compiler(stack: Stack) -> None:
    """Raises `SetupError` without a C++ compiler: pyfarmhash and crcmod come as source."""
    compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        raise SetupError(
            f"{stack} needs a C++ compiler: some of its packages come as source. "
            f"Not on PATH: {', '.join(compilers)}.\n"
            f"On Debian and Ubuntu: apt-get install {DEBIAN_PACKAGES}"
        )


def digest(stack: Stack) -> str:
    """Returns a hash over everything that decides what is installed."""
    files = [stack.lock, REQUIREMENTS / "bootstrap.txt", ROOT / "pyproject.toml", ROOT / "setup.py"]
    state = hashlib.sha256()
    for path in [*files, Path(__file__)]:
        state.update(path.read_bytes())
    return state.hexdigest()


def read_stamp() -> dict[str, str]:
    """Returns what the last complete set-up wrote; empty when there was none or it is for another system."""
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    is_usable = (VENV / "bin/python").exists() and stamp.get("glibc") == platform.libc_ver()[1]
    return stamp if is_usable else {}


def environment() -> dict[str, str]:
    """Returns the environment without a venv that happens to be active."""
    ignored = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in ignored}


def call(*command: str | Path) -> None:
    """Runs a command in the checkout, unmoved by a venv that happens to be active."""
    subprocess.run([str(part) for part in command], cwd=ROOT, env=environment(), check=True)


def call_telling(*command: str | Path, progress: Callable[[str], str] = lambda line: "") -> None:
    """Runs a command like `call` and prints what it does, without its list of packages.

    A slow machine or connection is at it for minutes: a line says so whenever nothing was printed for
    `QUIET_SECS`, but not in the log of a CI, where nobody waits (CI is set there).

    Args:
        command: The command.
        progress: Says how far it is, for that line, from the last line of the command.
    """
    words = [str(part) for part in command]
    started = said = time.monotonic()
    last = ""
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            left = b""
            while True:
                if waiting.select(timeout=max(0.0, said + QUIET_SECS - time.monotonic())):
                    read = os.read(process.stdout.fileno(), 1 << 16)
                    *lines, left = (left + read).split(b"\n")
                    for line in [*lines, left] if not read else lines:
                        if tell(text := line.decode(errors="replace")):
                            said, last = time.monotonic(), text.strip()
                    if not read:
                        break
                else:
                    said = time.monotonic()
                    if not os.environ.get("CI"):
                        print(f"  ... {said - started:.0f} s{progress(last)}", flush=True)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)


def tell(line: str) -> bool:
    """Prints a line of uv, if it says more than the name of one of many packages; returns whether it did."""
    if not line.strip() or line.startswith((" + ", " - ", " ~ ", "Using Python")):
        return False
    print(f"  {line.strip()}", flush=True)
    return True


def count_fetched(uv: Path) -> int:
    """Returns how many packages uv has unpacked in its cache; 0 when that cannot be seen."""
    asked = subprocess.run(
        [uv, "cache", "dir"], env=environment(), capture_output=True, text=True, check=False
    )
    cache = Path(asked.stdout.strip() or "/nonexistent")
    return sum(1 for archives in cache.glob("archive-v*") for _ in archives.iterdir())


def make_venv(python: Python) -> None:
    """Makes a venv with nothing but uv and what source packages are built with."""
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)
    call(python.executable, "-m", "venv", VENV)
    pip: list[str | Path] = [
        VENV / "bin/python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    call(*pip, "--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS / "bootstrap.txt")


def count_packages(stack: Stack) -> int:
    """Returns how many packages a stack has; a few of them are for some Pythons only."""
    lines = stack.lock.read_text(encoding="utf-8").splitlines()
    return len({line.partition("==")[0] for line in lines if line[:1].isalnum()})


def install(stack: Stack) -> None:
    """Makes the venv hold exactly what the lock says, and the project itself, editable."""
    uv = VENV / "bin/uv"
    packages, before = count_packages(stack), count_fetched(uv)

    def progress(line: str) -> str:
        if line.startswith("Installed"):
            return ": compiling, so that the first run starts soon"
        fetched = count_fetched(uv) - before
        return f": {min(fetched, packages)} of {packages} packages fetched" if fetched > 0 else ""

    target: list[str | Path] = ["--python", VENV / "bin/python", "--no-build-isolation"]
    # Compiled now, once, instead of in the first run, whose start it would make several times as long.
    sync = [uv, "pip", "sync", *target, "--require-hashes", "--compile-bytecode", stack.lock]
    call_telling(*sync, progress=progress)
    print("mirante: installing Mirante itself", flush=True)
    call(uv, "pip", "install", *target, "--no-deps", "--quiet", "--editable", ROOT)


def set_up(wanted_stack: str, wanted_python: str) -> None:
    """Brings `.venv` up to date, or returns at once when it is.

    A stack or Python that was chosen by hand stays until another is asked for.
    """
    stamp = read_stamp()
    if stamp and not wanted_python and wanted_stack in ("", stamp["stack"]):
        stack, why, wanted_python = STACKS[stamp["stack"]], "as before", stamp["python"]
        if stamp["digest"] == digest(stack):
            return
    else:
        stack, why = pick_stack(wanted_stack)
    python = pick_python(stack, wanted_python)
    stamp_wanted = {
        "stack": stack.name,
        "python": python.executable,
        "version": python.version_text,
        "glibc": platform.libc_ver()[1],
        "digest": digest(stack),
    }
    if stamp == stamp_wanted:
        return
    check_compiler(stack)
    print(f"mirante: {stack} ({why}) on Python {python.version_text} ({python.executable})", flush=True)
    print(
        f"mirante: installing {count_packages(stack)} packages into .venv, 4 GB on disk: one to two minutes "
        "once they are downloaded",
        flush=True,
    )
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    # Only the lists of packages changed: the venv itself can stay.
    if not stamp or stamp != {**stamp_wanted, "digest": stamp["digest"]}:
        print("mirante: making .venv, and fetching uv into it", flush=True)
        make_venv(python)
    print("mirante: fetching and installing the packages", flush=True)
    install(stack)
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(stamp_wanted, indent=2) + "\n")
    partial.replace(STAMP)
    print(f"mirante: .venv is ready ({time.monotonic() - started:.0f} s)", flush=True)


def main() -> int:
    """Returns the exit status: 0 when `.venv` is ready, 1 when the set-up failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stack", default="", help="1.16 or 1.21; by default what glibc allows")
    parser.add_argument("--python", default="", help="by default the first on PATH that fits")
    parser.add_argument("--only-bootstrap", action="store_true", help="a venv with uv in it and no more")
    args = parser.parse_args()
    checkout = os.open(ROOT, os.O_RDONLY)
    try:
        # Two `make` at once: the second waits and then finds nothing to do.
        fcntl.flock(checkout, fcntl.LOCK_EX)
        if args.only_bootstrap:
            make_venv(pick_python(pick_stack(args.stack)[0], args.python))
        else:
            set_up(args.stack, args.python)
    except SetupError as error:
        print(f"mirante: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"mirante: set-up failed: {' '.join(error.cmd)} (exit {error.returncode})", file=sys.stderr)
        return 1
    finally:
        os.close(checkout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
