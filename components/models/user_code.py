"""Finds the code of a custom network without running any of it. Imports no Keras."""

import ast
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Collection
from importlib.machinery import ModuleSpec
from pathlib import Path

from components.base import code
from components.base.content import file_sha256
from components.base.errors import UsageError
from components.models.config import ModelConfig

# Longer texts in a module are no paths.
_LONGEST_NAME = 255


def check_builder(config: ModelConfig) -> None:
    """Refuse a `model.name` whose module cannot be found.

    Raises:
        UsageError: There is no such module on Python's search path.
    """
    if config.builder and module_file(config.builder[0]) is None:
        raise UsageError(not_found(config))


def not_found(config: ModelConfig) -> str:
    """Return the message about a module that cannot be found."""
    module, _ = config.builder or ("", "")
    folders = [entry or "." for entry in sys.path if not entry.endswith(".zip")]
    return (
        f"model.name: {config.name}: there is no module {module} in any folder of Python's search path "
        f"(sys.path): install its package, or set PYTHONPATH to the folder that {module.partition('.')[0]} "
        f"is in. Searched: {', '.join(folders)}"
    )


def builder_digest(config: ModelConfig) -> str | None:
    """Return the SHA-256 of the code of a custom network, so that changed code trains again.

    `builder_files` says which files it covers. In Python files only executed code counts, as for Mirante's
    own (`components.base.code`); in all other files, the bytes. Imported libraries count by their version.

    Returns:
        None for a built-in network.

    Raises:
        UsageError: There is no such module.
    """
    if not config.builder:
        return None
    files, libraries = builder_files(config)
    digests = {name: _digest(path) for name, path in files.items()}
    return hashlib.sha256(json.dumps([sorted(digests.items()), _versions(libraries)]).encode()).hexdigest()


def builder_files(config: ModelConfig) -> tuple[dict[str, Path], set[str]]:
    """Return the files that a custom network is made of, and the libraries that they import.

    These are the network's module and every module that it imports, directly or not, except for Python's own,
    Mirante's and those of site-packages; every file that one of these modules names by a path relative to the
    module's folder (`"arch.json"`); and, if the network's module is in a package, every file of the package's
    folder. Hidden files and `__pycache__` do not count.

    Returns:
        The files by names that do not depend on where they are, and the top-level names of libraries.

    Raises:
        UsageError: There is no such module.
    """
    module, _ = config.builder or ("", "")
    first = module_file(module)
    if first is None:
        raise UsageError(not_found(config))
    own = module.partition(".")[0]
    files: dict[str, Path] = {}
    libraries: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        top = name.partition(".")[0]
        if name in files or not all(map(str.isidentifier, name.split("."))):
            continue
        if top in sys.stdlib_module_names or top in code.PACKAGES:
            continue
        path = module_file(name)
        if path is None or path.suffix != ".py":
            continue
        if top != own and not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
            libraries.add(top)
            continue
        files[name] = path
        left += _imported(name, path)
        left += [name.rpartition(".")[0]] if "." in name else []
        for named in _named_files(path):
            files[f"{name}/{named}"] = path.parent / named
    if "." in module or first.name == "__init__.py":
        depth = module.count(".") + (first.name == "__init__.py")
        folder = first.parents[max(depth - 1, 0)]
        files = {name: path for name, path in files.items() if not path.is_relative_to(folder)}
        for path in sorted(folder.rglob("*")):
            below = path.relative_to(folder)
            if path.is_file() and not any(p.startswith(".") or p == "__pycache__" for p in below.parts):
                files[f"{own}/{below.as_posix()}"] = path
    return files, libraries


def _tree(path: Path) -> ast.Module | None:
    """Return the syntax tree of a file; None where it is not Python, which importing it will report."""
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None


def _digest(path: Path) -> str:
    tree = _tree(path) if path.suffix == ".py" else None
    if tree is None:
        return file_sha256(path)
    code.strip_words(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _imported(name: str, path: Path) -> list[str]:
    """Return the names that may be modules: what a module imports, and texts that are such names."""
    tree = _tree(path)
    if tree is None:
        return []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    neighbours = {
        text for text in code.strings(tree) if (path.parent / f"{text.replace('.', '/')}.py").is_file()
    }
    return [*code.imports(tree, package), *(f"{package}.{text}".strip(".") for text in neighbours)]


def _named_files(path: Path) -> list[str]:
    """Return the texts in a module that are paths of files below its folder."""
    tree = _tree(path)
    return sorted({text for text in code.strings(tree) if _is_file_below(path.parent, text)} if tree else ())


def _is_file_below(folder: Path, text: str) -> bool:
    parts = Path(text).parts
    if not text or len(text) > _LONGEST_NAME or "\0" in text or ".." in parts or Path(text).is_absolute():
        return False
    try:
        return (folder / text).is_file()
    except OSError:
        return False


def _versions(libraries: Collection[str]) -> list[list[str]]:
    """Return the versions of the distributions that libraries, by the names they are imported by, are of."""
    others = set(libraries) - code.LIBRARIES.keys()
    known = {name: [code.version_of(name) or ""] for name in set(libraries) & code.LIBRARIES.keys()}
    if others:  # looks into every installed distribution
        of = importlib.metadata.packages_distributions()
        known |= {name: [importlib.metadata.version(one) for one in of.get(name, ())] for name in others}
    return [[name, *found] for name, found in sorted(known.items())]


def module_file(module: str) -> Path | None:
    """Return the file of a module, found as an import would find it, without importing its packages."""
    spec: ModuleSpec | None = None
    folders = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        found = (finder.find_spec(name, folders) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((candidate for candidate in found if candidate is not None), None)
        if spec is None:
            return None
        # An import takes the folders of an imported package as they are, and `mirante_command` adds to them.
        folders = getattr(sys.modules.get(name), "__path__", spec.submodule_search_locations)
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None
