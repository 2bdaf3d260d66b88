"""docs/architecture.md has a paragraph for every package, and names nothing that is not there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "architecture.md"
PATH = re.compile(r"`((?:schemas|components|pipeline|kubeflow|tests|benchmarks|docs)/[^`<*]*)`")


def packages() -> list[str]:
    found = [
        path.parent
        for floor in ("components", "pipeline")
        for path in (REPOSITORY / floor).rglob("__init__.py")
    ]
    return sorted(str(path.relative_to(REPOSITORY)) for path in found)


def test_every_package_has_its_paragraph() -> None:
    described = re.findall(r"^- `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [package for package in packages() if package != "components" and package not in described] == []


def test_no_package_is_described_twice_or_is_gone() -> None:
    described = re.findall(r"^- `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(described)) == sorted(described)
    assert [path for path in described if not (REPOSITORY / path / "__init__.py").is_file()] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_is_named_exists(page: str) -> None:
    named = PATH.findall((REPOSITORY / page).read_text(encoding="utf-8"))
    assert named
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
