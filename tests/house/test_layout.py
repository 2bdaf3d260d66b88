"""The distribution, the lock files, the Makefile, and circles of imports; `make lint` looks for those too."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("schemas", "components", "pipeline", "kubeflow")
LOCKS = [ROOT / "requirements" / f"tfx-{stack}.txt" for stack in ("1.16", "1.21")]


def test_kubeflow_is_not_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    # Installed, it would overwrite the kubeflow SDK in site-packages.
    from setuptools import Distribution

    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files()
    distribution.set_defaults()  # setuptools' own discovery must not add to what pyproject.toml says
    packages = distribution.packages or []
    assert {name.partition(".")[0] for name in packages} == {"schemas", "components", "pipeline"}
    assert distribution.metadata.name == "mirante"


def test_setup_py_leaves_everything_to_pyproject() -> None:
    calls = [n for n in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(n, ast.Call)]
    assert [ast.unparse(call) for call in calls] == ["setup()"]


def locked_versions(lock: Path, package: str) -> list[str]:
    return re.findall(rf"^{re.escape(package)}==([^ ;\\]+)", lock.read_text(), re.MULTILINE)


# Pillow writes the bytes of shards, crc32c their checksums; the others must behave alike on both stacks.
@pytest.mark.parametrize("package", ["pillow", "google-crc32c", "pydantic", "click", "rich", "ruff", "mypy"])
def test_both_locks_pin_the_same(package: str) -> None:
    old, new = (locked_versions(lock, package) for lock in LOCKS)
    assert old == new
    assert len(old) == 1


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_no_lock_has_what_slows_every_import_of_tfx(lock: Path) -> None:
    # requirements/tfx-1.16-without.in has the reason; Jupyter asks for it anew with each release.
    assert locked_versions(lock, "kubernetes-validate")
    assert not locked_versions(lock, "rfc3987-syntax")


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_package_has_a_hash_and_no_url(lock: Path) -> None:
    entries = re.split(r"^(?=\S)", re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE), flags=re.M)
    entries = [entry for entry in entries if entry.strip()]
    assert len(entries) >= 3
    assert [e.partition("\n")[0] for e in entries if "--hash=sha256:" not in e] == []
    assert "://" not in re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE)


def make_targets() -> set[str]:
    lines = re.findall(r"^([a-z][a-z -]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {target for line in lines for target in line.split()}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    # In `inline code`, and at the start of a line of a code block.
    mentioned = set(re.findall(r"(?:`|^\s*\$?\s*)make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert mentioned
    assert mentioned <= make_targets()


def test_the_locks_cover_this_python() -> None:
    # Nothing else notices a venv that was made by hand for a Python that no lock was resolved for.
    assert (3, 10) <= sys.version_info[:2] <= (3, 13)


def test_no_module_has_more_than_300_lines() -> None:
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(modules) > 300
    long = {str(path): count for path in modules if (count := len(path.read_text().splitlines())) > 300}
    assert long == {}


def test_no_modules_import_each_other_in_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    # The contract in pyproject.toml compares rooms, and leaves out what they take from a config.py.
    monkeypatch.syspath_prepend(ROOT)
    imports = grimp.build_graph("schemas", "components", "pipeline", "kubeflow", cache_dir=None)
    assert "components.ingest.config" in imports.find_modules_directly_imported_by("components.ingest.run")
    try:
        graphlib.TopologicalSorter(
            {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
        ).prepare()
    except graphlib.CycleError as e:
        circle: list[str] = e.args[1]
        pytest.fail(f"these import each other: {' <- '.join(circle)}")
