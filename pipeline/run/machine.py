"""Looks at this machine: what is installed, and what it has. Imports no TensorFlow."""

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from components.base.errors import UsageError
from components.base.extras import install_command
from components.base.memory import measure_memory
from components.base.words import format_some

OK, OPTIONAL, WARNING, PROBLEM = "ok", "optional", "warning", "problem"
_PACKAGE = "mirante"
# The packages by which the stack is known.
_STACK = ("tfx", "tensorflow", "keras", "apache-beam")
_GIB = 1 << 30
# Less than this, and the Trainer or the Evaluator of a small recipe is killed.
_LEAST_MEMORY_BYTES = 4 * _GIB
_LEAST_DISK_BYTES = 2 * _GIB
_NVIDIA_SECS = 20
_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Finding:
    """A line about the machine.

    Attributes:
        what: The subject, such as memory.
        state: OK, OPTIONAL for what is not installed and need not be, WARNING or PROBLEM.
        text: The facts, and for others than OK what to do.
    """

    what: str
    state: str
    text: str


def look_at_machine(folder: Path) -> Iterator[Finding]:
    """Yield what this machine has.

    Args:
        folder: Where runs will be; its file system is looked at.
    """
    yield from _look_at_packages()
    yield _look_at_cores()
    yield _look_at_memory()
    yield _look_at_disk(folder)
    yield _look_at_gpus()
    yield from _look_at_extras()


def look_at_recipe(name: str) -> Finding:
    """Return whether this machine has what a recipe needs: its files, packages, weights, and data it names.

    Args:
        name: A built-in recipe or a file.
    """
    from components.models.published import check_download
    from pipeline.data.prepare import check_config
    from pipeline.recipe.load import load_recipe

    try:
        recipe = load_recipe(name)
        if recipe.data.path is not None:  # else --data gives it
            check_config(recipe.data, recipe.task)
        check_download(recipe.model, recipe.transform)
    except UsageError as e:
        return Finding("recipe", PROBLEM, str(e))
    return Finding("recipe", OK, f"{recipe.name}: this machine has what it needs")


def _look_at_packages() -> Iterator[Finding]:
    version = importlib.metadata.version(_PACKAGE)
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(_PACKAGE, OK, f"{version}, {python}")
    versions = {name: _find_version(name) for name in _STACK}
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if unmet := list(_list_unmet(extra="")):
        yield Finding(
            "packages",
            PROBLEM,
            f"{format_some(unmet, _NAMES_SHOWN)} {'is' if len(unmet) == 1 else 'are'} missing or of another "
            "version; install Mirante anew, as its README says",
        )
    else:
        yield Finding("packages", OK, found)


def _look_at_cores() -> Finding:
    return Finding("processor", OK, f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores usable")


def _look_at_memory() -> Finding:
    total, free = measure_memory()
    text = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    if free < _LEAST_MEMORY_BYTES:
        text += f"; a run needs {_LEAST_MEMORY_BYTES // _GIB} GiB, or it is killed: end other programs"
        return Finding("memory", WARNING, text)
    return Finding("memory", OK, text)


def _look_at_disk(folder: Path) -> Finding:
    here = folder.absolute()
    while not here.exists():
        here = here.parent
    usage = shutil.disk_usage(here)
    text = f"{usage.free / _GIB:.1f} of {usage.total / _GIB:.1f} GiB free in {here}"
    if not os.access(here, os.W_OK):
        return Finding("disk", PROBLEM, f"{here} cannot be written to; give another --root")
    if usage.free < _LEAST_DISK_BYTES:
        return Finding("disk", WARNING, f"{text}; free some, `mirante clean ROOT` says how, or give --root")
    return Finding("disk", OK, text)


def _look_at_gpus() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("gpu", OPTIONAL, "none found (no nvidia-smi); training uses the processor")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=_NVIDIA_SECS)
    except (OSError, subprocess.TimeoutExpired) as e:
        return Finding("gpu", WARNING, f"nvidia-smi does not answer ({e}); check the driver")
    gpus = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not gpus:
        said = (done.stderr or done.stdout).strip().splitlines()
        return Finding("gpu", WARNING, f"nvidia-smi fails: {said[0] if said else 'no GPU'}; check the driver")
    if _find_version("nvidia-cudnn-cu12") is None:
        tensorflow = _find_version("tensorflow")
        return Finding(
            "gpu",
            WARNING,
            f"{format_some(gpus, _NAMES_SHOWN)}, but without CUDA's packages, so TensorFlow may not find it: "
            f"pip install 'tensorflow[and-cuda]=={tensorflow}'",
        )
    return Finding("gpu", OK, format_some(gpus, _NAMES_SHOWN))


def _look_at_extras() -> Iterator[Finding]:
    for extra in importlib.metadata.metadata(_PACKAGE).get_all("Provides-Extra") or ():
        if extra == "dev":
            continue
        if list(_list_unmet(extra)):
            yield Finding(extra, OPTIONAL, f"not installed: {install_command(extra)}")
        else:
            yield Finding(extra, OK, "installed")


def _list_unmet(extra: str) -> Iterator[str]:
    """Yield the requirements that are not installed: of an extra, or without one those that everybody has."""
    for text in importlib.metadata.requires(_PACKAGE) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if extra and (marker is None or marker.evaluate({"extra": ""})):
            continue
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        version = _find_version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield str(requirement).partition(";")[0].strip()


def _find_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
