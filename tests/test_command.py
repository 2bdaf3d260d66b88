"""The command as it is installed: its packages, and the tools that the documentation names."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.extras import install_command
from tests.failures import MIRANTE

ROOT = Path(__file__).resolve().parents[1]
PROBE = """
import sys
import mirante_command
mirante_command.prefer_own_packages()
import pipeline.commands.main, components.base.errors, schemas.features
from pipeline.blocks import X
print(pipeline.commands.main.__file__, components.base.errors.__file__, X)
"""


def test_packages_of_the_same_names_in_pythonpath_do_not_stand_in_the_way(tmp_path: Path) -> None:
    for name in ("pipeline", "components"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    (tmp_path / "pipeline" / "blocks.py").write_text("X = 5\n")
    (tmp_path / "mine.yaml").write_text("name: 7\n")
    run = {"cwd": tmp_path, "env": {"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"}, "capture_output": True}
    done = subprocess.run([MIRANTE, "run", "mine.yaml"], text=True, check=False, **run)  # type: ignore[call-overload]
    assert (done.returncode, "name: expected a text, got 7" in done.stderr) == (2, True)
    # Theirs can still be imported where ours has no such module.
    done = subprocess.run([sys.executable, "-c", PROBE], text=True, check=False, **run)  # type: ignore[call-overload]
    ours = [str(ROOT / "pipeline" / "commands" / "main.py"), str(ROOT / "components" / "base" / "errors.py")]
    assert done.stdout.split() == [*ours, "5"], done.stderr
    # Workers of an ingest are processes of their own.
    done = subprocess.run([MIRANTE, "ingest", "digits", "-", "data"], text=True, check=False, **run)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_tool_that_the_documentation_names_starts() -> None:
    bin_folder = Path(sys.executable).parent
    named = {"tensorboard": "--version", "wandb": "--version", "uv": "--version"}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for tool, option in named.items():
        assert re.search(rf"\b{tool} ", text)
        if tool != "tensorboard" and not (bin_folder / tool).exists():
            continue  # an extra that is not installed here
        done = subprocess.run([bin_folder / tool, option], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_nothing_is_named_that_is_in_no_index() -> None:
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    files += [path for part in ("components", "pipeline", "kubeflow") for path in (ROOT / part).rglob("*.py")]
    for path in files:
        assert not re.search(r"install '?mirante\b(?!-)", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    ("extra", "package"),
    [("wandb", "wandb>=0.19"), ("mlflow", "mlflow-skinny>=3"), ("tfds", "tensorflow-datasets>=4.9.6")],
)
def test_what_an_extra_brings_is_told_by_its_packages(extra: str, package: str) -> None:
    command = install_command(extra)
    assert command.startswith("pip install ")
    assert f"'{package}'" in command


def test_the_wheel_brings_what_tfx_needs_and_does_not_ask_for() -> None:
    assert any(each.startswith("dill") for each in importlib.metadata.requires("mirante") or ())
    lock = (ROOT / "requirements" / "tfx-1.16.txt").read_text(encoding="utf-8")
    (major,) = re.findall(r"^setuptools==(\d+)", lock, re.M)
    assert int(major) < 81  # TensorBoard 2.16 imports pkg_resources
    assert shutil.which("mirante", path=str(MIRANTE.parent))
