"""The command as it is installed: its packages, and the tools that the documentation names."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.extras import install_command
from tests.failures import MIRANTE

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import sys
import mirante_command
mirante_command.prefer_own_packages()
import pipeline.commands.main, components.base.errors, schemas.features
from pipeline.blocks import X
print(pipeline.commands.main.__file__, components.base.errors.__file__, X)
"""


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A user's folder with packages of our names, which hold modules that ours do not have."""
    for name in ("pipeline", "components"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    (tmp_path / "pipeline" / "blocks.py").write_text("X = 5\nif __name__ == '__main__':\n    print(X)\n")
    (tmp_path / "mine.yaml").write_text("name: 7\n")
    return tmp_path


def start(*command: str | Path, cwd: Path, path: str = ".") -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_packages_of_the_same_names_in_pythonpath_do_not_stand_in_the_way(others: Path) -> None:
    done = start(MIRANTE, "run", "mine.yaml", cwd=others)
    assert (done.returncode, "name: expected a text, got 7" in done.stderr) == (2, True)
    # Theirs can still be imported where ours has no such module.
    done = start(sys.executable, "-c", PROBE, cwd=others)
    ours = [str(ROOT / "pipeline" / "commands" / "main.py"), str(ROOT / "components" / "base" / "errors.py")]
    assert done.stdout.split() == [*ours, "5"], done.stderr
    # Workers of an ingest are processes of their own.
    done = start(MIRANTE, "ingest", "digits", "-", "data", cwd=others)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_custom_network_in_a_package_of_the_same_name_is_found(others: Path) -> None:
    settings = ["--set", "model.name=pipeline.blocks:net", "--set", "data.path=/nowhere"]
    for command in ([MIRANTE], [sys.executable, "-m", "pipeline.commands"]):
        done = start(*command, "run", "cifar10", *settings, cwd=ROOT, path=str(others))
        # The network was looked for before.
        assert (done.returncode, "INPUT /nowhere does not exist" in done.stderr) == (2, True), done.stderr
    done = start(MIRANTE, "run", "cifar10", "--set", "model.name=pipeline.none:net", cwd=others)
    assert "there is no module pipeline.none in any folder" in done.stderr


def test_a_process_of_a_training_finds_a_network_in_a_package_of_the_same_name(others: Path) -> None:
    # As components/trainer/cluster/processes.py starts it, with their module in place of the training.
    source = (ROOT / "components" / "trainer" / "cluster" / "processes.py").read_text(encoding="utf-8")
    (child,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_CHILD"
    )
    child = child.replace("components.trainer.cluster.processes", "pipeline.blocks")
    done = start(sys.executable, "-c", child, cwd=others, path=f"{ROOT}:{others}")
    assert done.stdout == "5\n", done.stderr


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
