"""Packages for Kubeflow, compiled in this process."""

from __future__ import annotations

from pathlib import Path

from pipeline.commands.checkout import import_kubeflow
from pipeline.recipe.recipe import Recipe
from tests.kfp_check import check_packages


def compile_package(recipe: Recipe, package: Path, image: str | None = "mirante:python") -> Path:
    """Write the package of a recipe, which Kubeflow's own compiler has to accept."""
    import_kubeflow("compile").compile_recipe(recipe, image, package)
    check_packages(package)
    return package
