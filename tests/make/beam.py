"""Beam without two things that take a third of the CPU time of a pipeline of a few records."""

from __future__ import annotations

import types
import weakref
from typing import Any


def hurry_beam() -> None:
    """Have Beam look at the signature of each method once, and measure no values that it keeps.

    It asks for the signatures of all methods of a DoFn some eight times a transform, and it looks at every
    global of every module to tell how much memory a side input takes.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.transforms import core

    plain = core.get_function_args_defaults
    known: weakref.WeakKeyDictionary[Any, tuple[list[str], list[Any]]] = weakref.WeakKeyDictionary()

    def remembered(method: Any) -> tuple[list[str], list[Any]]:
        function = getattr(method, "__func__", None)
        if not isinstance(method, types.MethodType) or not isinstance(function, types.FunctionType):
            return plain(method)
        if function not in known:
            known[function] = plain(method)
        names, defaults = known[function]
        return list(names), list(defaults)

    core.get_function_args_defaults = remembered
    worker_handlers.STATE_CACHE_SIZE_MB = 0
