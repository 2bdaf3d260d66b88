"""Packages whose own code runs when something of it is asked for: a task's process needs little of them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

# tfx.components loads every component, with readers, search and inference; model analysis, of which TFX's
# types want one message, loads scikit-learn's models, NLTK and Jupyter's widgets: four tenths of what
# comes before a node's executor.
IN_A_TASK = ("tfx.components", "tensorflow_model_analysis")


def import_later(name: str) -> None:
    """Puts off a package's own code until one of its names is asked for; does nothing where it is loaded.

    Args:
        name: Such as `tfx.components`. Importing a module below it, such as
            `tfx.components.trainer.executor`, runs that module alone.
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
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__getattr__ = load
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
