"""Where the code of a user's own network is: looked up without running any of it. Imports no Keras."""

from __future__ import annotations

import hashlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from components.config import ModelConfig
from components.errors import UsageError


def check_builder(config: ModelConfig) -> None:
    """Refuses a `model.name` whose module is nowhere to be found.

    Raises:
        UsageError: There is no such module on Python's search path.
    """
    if config.builder and module_file(config.builder[0]) is None:
        raise UsageError(not_found(config))


def not_found(config: ModelConfig) -> str:
    """What to say of a module that is nowhere to be found."""
    module, _ = config.builder or ("", "")
    folders = [entry or "." for entry in sys.path if not entry.endswith(".zip")]
    return (
        f"model.name: {config.name}: there is no module {module} in any folder of Python's search path "
        f"(sys.path): install its package, or set PYTHONPATH to the folder that {module.partition('.')[0]} "
        f"lies in. Searched: {', '.join(folders)}"
    )


def builder_digest(config: ModelConfig) -> str | None:
    """SHA-256 of a user's own network, so that changed code trains again; None for a built-in one.

    It covers the module's file and, where that lies in a package, all Python files of its folder and below,
    since a network may be put together from several. Code that it imports from elsewhere is not covered.

    Raises:
        UsageError: There is no such module.
    """
    if not config.builder:
        return None
    module = config.builder[0]
    file = module_file(module)
    if file is None:
        raise UsageError(not_found(config))
    in_package = "." in module or file.name == "__init__.py"
    files = sorted(file.parent.rglob("*.py")) if in_package else [file]
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(file.parent).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def module_file(module: str) -> Path | None:
    """The file of a module, found as an import would find it, without importing its packages."""
    spec: ModuleSpec | None = None
    folders = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        found = (finder.find_spec(name, folders) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((candidate for candidate in found if candidate is not None), None)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None
