"""The package `kubeflow` is taken from the checkout, whatever else bears its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import UsageError
from pipeline.commands import checkout

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, folder: Path) -> str:
    """Return what `script` prints in a fresh process; packages in `folder` come before the checkout's."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    """A folder with a package of the same name in it, as the Kubeflow SDK installs."""
    (tmp_path / "kubeflow").mkdir()
    (tmp_path / "kubeflow" / "__init__.py").touch()
    return tmp_path


def test_the_checkouts_package_comes_before_the_sdks(sdk: Path) -> None:
    said = run(
        "import sys\n"
        "from pipeline.commands.checkout import import_kubeflow\n"
        "print(import_kubeflow('__init__').__file__, sys.modules['kubeflow'].__path__[0], sys.path[0])",
        sdk,
    )
    file, package, first = said.split()
    assert Path(file) == ROOT / "kubeflow" / "__init__.py"
    assert Path(package) == ROOT / "kubeflow"
    assert Path(first) == ROOT


def test_the_sdks_package_that_is_already_there_is_refused(sdk: Path) -> None:
    said = run(
        "import kubeflow\n"
        "from components.base.errors import UsageError\n"
        "from pipeline.commands.checkout import import_kubeflow\n"
        "try: import_kubeflow('__init__')\n"
        "except UsageError as e: print(e)",
        sdk,
    )
    assert f"from {sdk / 'kubeflow'}" in said
    assert f"checkout at {ROOT}" in said


def test_without_a_checkout_it_says_what_is_needed(sdk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As installed: the package pipeline in site-packages, and there the SDK's kubeflow.
    monkeypatch.setattr(checkout, "__file__", str(sdk / "pipeline" / "checkout.py"))
    with pytest.raises(UsageError, match="needs Mirante's checkout"):
        checkout.import_kubeflow("__init__")


def test_what_is_not_installed_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {'kfp.dsl'!r}", name="kfp.dsl")

    monkeypatch.setattr(checkout.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"needs the package kfp, .* pip install 'kfp>=2\.13' 'kfp-kub"):
        checkout.import_kubeflow("__init__")
