"""Packages whose own code runs when something of it is asked for: a task's process needs little of them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from typing import Any

# tfx.components loads every component, with readers, search and inference; model analysis, of which TFX's
# types want one message, loads scikit-learn's models, NLTK and Jupyter's widgets: four tenths of what
# comes before a node's executor. Its module `sdk` has that message: beside TFX 1.16 of itself; TFX 1.21 puts
# it there, and into the package as well, but that only when tfx.components is loaded.
IN_A_TASK = {"tfx.components": "", "tensorflow_model_analysis": "tensorflow_model_analysis.sdk"}


def import_later(name: str, part: str = "") -> None:
    """Puts off a package's own code until one of its names is asked for; does nothing where it is loaded.

    Args:
        name: Such as `tfx.components`. Importing a module below it, such as
            `tfx.components.trainer.executor`, runs that module alone.
        part: A module below it which is asked for a name first, and for what the package has not.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    loader = spec.loader
    module: Any = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        # Python itself asks for names like __all__, and does without.
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        if importlib.util.find_spec(f"{name}.{attribute}") is not None:
            return importlib.import_module(f"{name}.{attribute}")
        if part and hasattr(importlib.import_module(part), attribute):
            return getattr(importlib.import_module(part), attribute)
        del module.__getattr__
        loader.exec_module(module)
        if part:
            module.__getattr__ = functools.partial(getattr, importlib.import_module(part))
        return getattr(module, attribute)

    module.__getattr__ = load
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
