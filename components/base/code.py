"""Digest of the code that can change a result, computed from source files without importing them.

The digest covers the modules that are named, every module of Mirante that they import, directly or not, and
the versions of the libraries among `LIBRARIES` that these modules import. Comments, docstrings, layout and
the descriptions of options do not count. docs/decisions/010-cached-means-equal.md has the rule.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeGuard

from components.base.task import TASKS

# The packages whose code is followed. `kubeflow` only says where a pipeline runs.
PACKAGES = ("schemas", "components", "pipeline")
# Libraries whose version can change a result, by the name that is imported: the distributions that have it.
LIBRARIES = {
    "PIL": ("pillow",),
    "ai_edge_litert": ("ai-edge-litert",),
    "apache_beam": ("apache-beam",),
    "keras": ("keras",),
    "keras_tuner": ("keras-tuner",),
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "pillow_heif": ("pillow-heif",),
    "pycocotools": ("pycocotools",),
    "pydicom": ("pydicom",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "tensorflow_data_validation": ("tensorflow-data-validation",),
    "tensorflow_datasets": ("tensorflow-datasets",),
    "tensorflow_model_analysis": ("tensorflow-model-analysis",),
    "tensorflow_transform": ("tensorflow-transform",),
    "tf2onnx": ("tf2onnx",),
    "tfx": ("tfx",),
    "tfx_bsl": ("tfx-bsl",),
}
# A module's dotted name, or with a dot at its end all modules of a package.
_NAME = re.compile(rf"({'|'.join(PACKAGES)})(\.[A-Za-z_]\w*)+\.?")


def code_digest(
    *modules: str, libraries: Collection[str] = (), task: str | None = None, base: Path | None = None
) -> str:
    """Return the SHA-256 of modules, of what they import, and of the libraries' versions.

    It is the same on every machine with the same code, Python and libraries.

    Args:
        modules: Dotted names below `PACKAGES`.
        libraries: Names of `LIBRARIES` that count in addition to those that the modules import.
        task: The task whose room the modules ask; all tasks count when not given.
        base: The folder that holds `PACKAGES`; this installation's when not given.
    """
    base = base or Path(__file__).resolve().parents[2]
    code, imported = {}, set(libraries)
    for name, path in sorted(closure(modules, base, task).items()):
        digest, _, _, others = read_code(path)
        code[name] = digest
        imported.update(set(others) & LIBRARIES.keys())
    versions = {name: version_of(name) for name in sorted(imported)}
    versions["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(json.dumps([code, versions]).encode()).hexdigest()


def closure(modules: Collection[str], base: Path, task: str | None = None) -> dict[str, Path]:
    """Return the files of modules and of all that they import below `base`, by dotted name.

    `part(task, "trainer")` counts as an import of that module of the task's room. A string that is a
    module's dotted name counts as an import, since some modules are imported by such names; one that ends
    with a dot counts as an import of all modules of that package. Strings that name a floor above are
    commands. Importing a module of Mirante does nothing, so the packages around a module count only where
    they are imported themselves.

    Raises:
        ModuleNotFoundError: One of `modules` is not there.
    """
    found: dict[str, Path] = {}
    asked = [TASKS[task]] if task in TASKS else list(TASKS.values())
    left = list(modules)
    for name in left:
        if find_module(name, base) is None:
            raise ModuleNotFoundError(f"there is no module {name} below {base}", name=name)
    while left:
        name = left.pop()
        if name in found or (path := find_module(name, base)) is None:
            continue
        found[name] = path
        _, named, steps, imported = read_code(path)
        floors = PACKAGES[: PACKAGES.index(name.partition(".")[0]) + 1]
        left += [f"{room}.{step}" for room in asked for step in steps]
        named = tuple(other for other in named if other in asked or other not in TASKS.values())
        for other in (*named, *imported):
            if other.partition(".")[0] in floors:
                left += _list_modules(other, base) if other.endswith(".") else [other]
    return found


def _list_modules(prefix: str, base: Path) -> list[str]:
    folder = base.joinpath(*prefix.strip(".").split("."))
    return [f"{prefix}{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]


def find_module(name: str, base: Path) -> Path | None:
    """Return the file of a module below a folder; None where it is not a module there."""
    path = base.joinpath(*name.split("."))
    for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if candidate.is_file():
            return candidate
    return None


def version_of(library: str) -> str | None:
    """Return the installed version of a library of `LIBRARIES`; None where it is not installed."""
    for distribution in LIBRARIES[library]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def read_code(path: Path) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Read what a digest needs from a module.

    Returns:
        The digest of its code, the dotted names in its strings, the steps for which it asks a task's room,
        and the modules that it imports.

    An import of a name from a package gives both the package's module and that name below it, since either
    may be meant.

    Raises:
        SyntaxError: The file is not Python.
    """
    status = path.stat()
    return _read_code(path, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


@functools.cache
def _read_code(
    path: Path, mtime_ns: int, ctime_ns: int, size_bytes: int
) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    tree = ast.parse(path.read_bytes(), str(path))
    names: set[str] = set()
    steps: set[str] = set()
    # One walk for all: reading the code of all nodes takes a tenth of a run in which nothing changed.
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        _strip_node(node)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and _NAME.fullmatch(node.value):
                names.add(node.value)
            continue
        if is_question(node):
            steps.update(strings(node.args[1]))
        # As ast.iter_child_nodes, in half the time.
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                left += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and value._fields:
                left.append(value)
    digest = hashlib.sha256(_dump(tree).encode()).hexdigest()
    return digest, tuple(sorted(names)), tuple(sorted(steps)), tuple(sorted(set(imports(tree))))


def _dump(value: object) -> str:
    """Return what ast.dump gives before Python 3.13, in half the time."""
    if isinstance(value, ast.AST):
        kind, fields = type(value), []
        for name in value._fields:
            item = getattr(value, name, None)
            if item is not None or (getattr(kind, name, ...) is not None and hasattr(value, name)):
                fields.append(f"{name}={_dump(item)}")
        return f"{kind.__name__}({', '.join(fields)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_dump, value))}]"
    return repr(value)


def is_question(node: ast.AST) -> TypeGuard[ast.Call]:
    """Return whether a node of a syntax tree is a call such as `part(task, "trainer")`."""
    if not isinstance(node, ast.Call) or len(node.args) != 2:
        return False
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name == "part"


def strip_words(tree: ast.AST) -> None:
    """Remove docstrings and the descriptions of options from a syntax tree; comments are not in it."""
    for node in ast.walk(tree):
        _strip_node(node)


def _strip_node(node: ast.AST) -> None:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield every text constant of a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Yield the dotted names that a syntax tree imports, at any depth, but for types' sake alone.

    Args:
        tree: The module's.
        package: The package that relative imports count from.
    """
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            left += node.orelse
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = importlib.util.resolve_name("." * node.level + module, package) if package else ""
            if module:
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
        # Statements alone: an expression holds no import.
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            left += getattr(node, field, ())
