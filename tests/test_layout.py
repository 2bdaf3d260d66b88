"""The four floors, the distribution, the lock files and the Makefile."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up; imports only ever go down.
FLOORS = ("schemas", "components", "pipeline", "kubeflow")
LOCKS = [ROOT / "requirements" / f"tfx-{stack}.txt" for stack in ("1.16", "1.21")]


def imported_modules(source: str) -> list[tuple[int, str]]:
    """Returns (line, absolute module name) of every import, at any depth; relative ones cannot climb."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.lineno, node.module))
    return found


def climbing_imports(floor: str, source: str) -> list[str]:
    """Returns 'line N: module' for each import in `source`, a module of `floor`, from a floor above."""
    above = FLOORS[FLOORS.index(floor) + 1 :]
    return [f"line {n}: {m}" for n, m in imported_modules(source) if m.partition(".")[0] in above]


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_only_go_down(floor: str) -> None:
    modules = modules_of(floor)
    assert modules, f"{floor}/ has no modules"
    climbing = {
        str(path.relative_to(ROOT)): found
        for path in modules
        if (found := climbing_imports(floor, path.read_text(encoding="utf-8")))
    }
    # The CLI imports kubeflow/ lazily, from a checkout that it has checked: see pipeline/commands/main.py.
    if floor == "pipeline":
        climbing = {path: found for path, found in climbing.items() if not is_lazy_kubeflow(path, found)}
    assert not climbing


def is_lazy_kubeflow(path: str, found: list[str]) -> bool:
    """Whether `path` is the CLI and every import in `found` is of kubeflow and stands inside a function."""
    top_level = {n.lineno for n in ast.parse((ROOT / path).read_text(encoding="utf-8")).body}
    lines = {int(re.findall(r"line (\d+): kubeflow", entry)[0]) for entry in found}
    return re.fullmatch(r"pipeline/cli(/\w+)?\.py", path) is not None and not lines & top_level


def test_a_climbing_import_is_found() -> None:
    source = "import os\ndef f():\n    from pipeline.recipe.load import load\n    import schemas.features\n"
    assert climbing_imports("components", source) == ["line 3: pipeline.recipe.load"]
    assert climbing_imports("pipeline", source) == []
    assert climbing_imports("schemas", "import kubeflow.compile") == ["line 1: kubeflow.compile"]


def test_schemas_import_no_tensorflow() -> None:
    # The messages of tensorflow_metadata are plain protocol buffers and do not bring TensorFlow along.
    heavy = ("apache_beam", "keras", "kfp", "tensorflow", "tfx", "tfx_bsl")
    for path in modules_of("schemas"):
        tops = [m.partition(".")[0] for _, m in imported_modules(path.read_text(encoding="utf-8"))]
        bad = [m for m in tops if m in heavy or (m.startswith("tensorflow_") and m != "tensorflow_metadata")]
        assert not bad, f"{path.relative_to(ROOT)} imports {bad}"


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
