"""What the container images are built from: the lock files, the Dockerfile, and what the build gets to see.

Building one takes minutes and Docker: `.ci/run containers` does.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
DOCKERFILE = ROOT / "kubeflow/Dockerfile"
# What `make lock` gives the images besides the dependencies themselves, see the Makefile.
EXTRAS = ("kubeflow", "mlflow", "tfds", "wandb")
DEBIAN_13 = {
    "python_version": "3.13",
    "python_full_version": "3.13.5",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}


def pins(lock: Path) -> dict[tuple[str, str], set[str]]:
    """Returns the hashes of each (package, version) that a lock file lists."""
    found: dict[tuple[str, str], set[str]] = {}
    for entry in re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]:
        name, version = re.match(r"([a-z0-9.-]+)==([^ ;\\]+)", entry).groups()  # type: ignore[union-attr]
        found.setdefault((name, version), set()).update(re.findall(r"--hash=(sha256:\w+)", entry))
    return found


@pytest.fixture(params=["cpu", "gpu"])
def lock(request: pytest.FixtureRequest) -> Path:
    return REQUIREMENTS / f"image-{request.param}.txt"


def test_the_images_hold_what_the_stack_is_tested_with(lock: Path) -> None:
    # Both come from `make lock`; it may have been stopped in between, or run for one of them by hand.
    tested = pins(REQUIREMENTS / "tfx-1.21.txt")
    ours = {
        pin: hashes
        for pin, hashes in pins(lock).items()
        if pin[0] != "tensorflow-cpu" and not pin[0].startswith("nvidia-")
    }
    assert len(ours) > 200
    assert {pin for pin in ours if pin not in tested} == set()
    assert {pin for pin in ours if not ours[pin] <= tested[pin]} == set()


def test_the_image_without_cuda_has_the_same_tensorflow() -> None:
    files = ("tfx-1.21.txt", "image-cpu.txt", "image-gpu.txt")
    tested, cpu, gpu = (dict(pins(REQUIREMENTS / file).keys()) for file in files)
    assert cpu["tensorflow-cpu"] == gpu["tensorflow"] == tested["tensorflow"]
    # Both write into the folder `tensorflow`.
    assert "tensorflow" not in cpu
    assert "tensorflow-cpu" not in gpu


def test_every_dependency_is_in_the_images(lock: Path) -> None:
    locked = {name for name, _ in pins(lock)}
    asked_for = set()
    for text in metadata.requires("mirante") or []:
        requirement = Requirement(text)
        for extra in ("", *EXTRAS):
            marker = requirement.marker
            if marker is None or marker.evaluate({**DEBIAN_13, "extra": extra}):
                asked_for.add(canonicalize_name(requirement.name))
    assert {"tensorflow", "kfp", "wandb", "mlflow-skinny", "tensorflow-datasets"} <= asked_for
    stand_ins = {"tensorflow"} if "tensorflow-cpu" in locked else set()
    assert asked_for - locked == stand_ins
    # Of the extra `dev`.
    assert locked & {"mypy", "pytest", "ruff"} == set()


def test_nothing_is_installed_without_hashes() -> None:
    # It would build, and nobody would see.
    source = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    installers = re.findall(r"(?:pip|uv pip)\b[^&]*? (?:install|sync) [^&\n]*", source)
    assert len(installers) == 3
    unhashed = [command for command in installers if "--require-hashes" not in command]
    assert len(unhashed) == 1
    # Mirante itself, and nothing else.
    assert {"--no-deps", "--offline", "--no-build-isolation"} <= set(unhashed[0].split())


def test_the_image_runs_as_a_user_by_number_who_is_not_root() -> None:
    # Kubernetes refuses a name where `runAsNonRoot` is asked for.
    last_stage = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)[-1]
    users = re.findall(r"^USER (\S+)$", last_stage, re.MULTILINE)
    assert users
    assert re.fullmatch(r"[1-9]\d*:\d+", users[-1])


def test_the_build_sees_every_file_it_needs_and_no_other() -> None:
    from setuptools import Distribution

    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    distribution = Distribution({"src_root": str(ROOT)})
    distribution.parse_config_files([str(ROOT / "pyproject.toml")])
    packages = {name.partition(".")[0] for name in distribution.packages or []}
    assert allowed == packages | {
        "kubeflow",
        "mirante_command.py",
        "pyproject.toml",
        "setup.py",
        "README.md",
        "LICENSE",
        "requirements/bootstrap.txt",
        "requirements/image-*.txt",
    }


def test_every_kind_of_file_in_the_packages_is_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r'package-data\]\n"\*" = \[(.*)\]', text)
    assert listed is not None
    installed = {".py", *re.findall(r'"\*\*/\*(\.\w+)"', listed[1])}
    files = [
        path for package in ("schemas", "components", "pipeline") for path in (ROOT / package).rglob("*.*")
    ]
    assert {path.suffix for path in files if "__pycache__" not in path.parts} <= installed
