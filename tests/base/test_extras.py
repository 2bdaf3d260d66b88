"""The command that installs an optional part."""

from __future__ import annotations

import importlib.metadata

import pytest

from components.base.extras import install_command

pytestmark = pytest.mark.stack_free


def test_the_packages_are_named() -> None:
    assert install_command("dicom").startswith("pip install 'pydicom>=")
    assert install_command("heic").startswith("pip install 'pillow-heif>=")


def test_a_checkout_that_is_not_installed_has_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert install_command("dicom") == "pip install '.[dicom]' in the checkout"
