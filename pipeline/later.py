"""Packages whose `__init__` runs when something of it is asked for: a node's process needs few of TFX's components.

`tfx.components` imports every component, and with them model analysis, data validation and Beam's readers: a
third of what a process loads before it is at its node. Its modules are imported as before, one by one.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any


def import_later(name: str) -> None:
    """Puts off a package's own code until one of its names is asked for; does nothing where it is loaded.

    Args:
        name: Of a package below another, such as `tfx.components`. Importing a module below it, such as
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
        # Python itself asks for names like __all__ and for modules below, and does without.
        if attribute.startswith("__") or importlib.util.find_spec(f"{name}.{attribute}"):
            raise AttributeError(attribute)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__getattr__ = load
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
