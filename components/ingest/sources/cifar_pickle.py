"""Reads a pickle of plain data without running it: containers, numbers, text, bytes and NumPy arrays.

A pickle is a program for a small machine (Python's pickletools describes it). This one knows the instructions
that build plain data; it calls nothing but functions of this module, which check what they are given.

Work is bounded: by the number of instructions, and by keys of dicts being text or whole numbers. A pickle can
nest one tuple in itself 60 times over, and to hash, print or compare that takes for ever.
"""

import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.base.errors import DataRefusedError

# CIFAR-100's 50,000 rows take a quarter of a million.
MAX_INSTRUCTIONS = 1_500_000
_MAX_NUMBER_BYTES = 8
_MAX_NUMBER_LETTERS = 24
_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT "
    "SETITEM "
    "SETITEMS GLOBAL STACK_GLOBAL INST REDUCE BUILD"
)


def load_plain(data: bytes) -> Any:
    """Return what the bytes are a pickle of, byte strings of Python 2 as bytes.

    Raises:
        DataRefusedError: They are no pickle, damaged, or a pickle of anything but plain data; the message
            does not say of which file.
    """
    try:
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if isinstance(value, dict):
            return {key: _plain(one) for key, one in value.items()}
        return _plain(value)
    except DataRefusedError:
        raise
    except Exception as error:  # a broken program can fail in any way
        why = str(error)[:200]
        raise DataRefusedError(
            f"cut off or damaged, or no pickle ({type(error).__name__}: {why}); get it again"
        ) from error


class _Type:
    """Stands for an array's type, as the pickle builds it."""

    def __init__(self, code: object, *_: object) -> None:
        if isinstance(code, bytes):
            code = code.decode("latin1")
        if not isinstance(code, str) or np.dtype(code[:8]).kind not in "biuf":
            raise DataRefusedError("it holds an array of other values than numbers")
        self.dtype = np.dtype(code[:8])

    def build(self, state: Any) -> None:
        """Take over the byte order."""
        order = state[1]
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "="):
            raise DataRefusedError("it holds an array of an unknown byte order")
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class _Array:
    """Stands for an array, as the pickle builds it."""

    array: Array | None = None

    def __init__(self, subtype: object, *_: object) -> None:
        if subtype is not _PLAIN_ARRAY:
            raise DataRefusedError("it holds an array of a special kind")

    def build(self, state: Any) -> None:
        """Take over shape, type and bytes."""
        _, shape, kind, is_fortran, content = state
        if isinstance(content, str):
            content = content.encode("latin1")
        if not isinstance(kind, _Type) or not isinstance(content, bytes) or not isinstance(shape, tuple):
            raise DataRefusedError("it holds an array of other values than numbers")
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            raise DataRefusedError("it holds an array of an impossible shape")
        order: Any = "F" if is_fortran is True or is_fortran == 1 else "C"
        self.array = np.frombuffer(content, kind.dtype).reshape(shape, order=order)


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return np.zeros(0, np.uint8) if value.array is None else value.array
    return value


# Stands for the class: a pickle that calls it could have any amount of memory.
_PLAIN_ARRAY = object()


def _encode(text: object, encoding: object) -> bytes:
    """In place of codecs.encode, by which Python 3 pickles bytes for Python 2."""
    if encoding not in ("latin1", b"latin1") or not isinstance(text, str):
        raise DataRefusedError("it holds text in another encoding than latin1")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    ("numpy", "ndarray"): _PLAIN_ARRAY,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}
_CALLABLE = (_Array, _Type, _encode)


# The one written in Python: the other can be made to take gigabytes of memory by a few bytes.
class _Unpickler(pickle._Unpickler):
    # What the machine has; the types that Python ships leave them out.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]
    done = 0

    def find_class(self, module: Any, name: Any) -> Any:
        """Raise DataRefusedError for everything that plain data do not need."""
        key = (module, name)
        if not all(isinstance(part, str) for part in key) or key not in _ALLOWED:
            shown = ".".join(str(part)[:80] if isinstance(part, str) else "?" for part in key)
            raise DataRefusedError(
                f"a pickle that wants to run {shown}, which no CIFAR batch does. It was not run. "
                "Do not use this file: get the official one"
            )
        return _ALLOWED[key]

    def load_inst(self) -> None:
        """Refuses: it looks up a class and calls it at once."""
        module, name = (self.readline()[:-1].decode("utf-8", "replace") for _ in range(2))
        self.find_class(module, name)
        raise DataRefusedError("a pickle that calls what is not there to be called; it was not run")

    def load_reduce(self) -> None:
        """Calls one of this module's functions."""
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not any(function is one for one in _CALLABLE) or not isinstance(arguments, tuple):
            raise DataRefusedError("a pickle that calls what is not there to be called; it was not run")
        self.stack[-1] = function(*arguments)

    def load_build(self) -> None:
        """Fills an array or its type."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Array, _Type)) or not isinstance(state, tuple):
            raise DataRefusedError("a pickle that changes what is no array; it was not run")
        self.stack[-1].build(state)

    def load_setitem(self) -> None:
        """Add an entry to a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._add([key, value])

    def load_setitems(self) -> None:
        """Add entries to a dict."""
        self._add(self.pop_mark())

    def load_dict(self) -> None:
        """Make a dict of entries."""
        items = self.pop_mark()
        self.append({})
        self._add(items)

    def _add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise DataRefusedError("entries of a dict for another object; it is damaged")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (bytes, str, int)):
                raise DataRefusedError(f"it holds a dict with a key of the kind {type(key).__name__}")
            target[key] = value

    def load_long1(self) -> None:
        """Read a whole number of up to 8 bytes."""
        length = self.read(1)[0]
        if length > _MAX_NUMBER_BYTES:
            raise DataRefusedError(f"it holds a number of {length} bytes")
        self.append(pickle.decode_long(self.read(length)))

    def load_int(self) -> None:
        """Read a whole number or a truth value in letters."""
        text = self.readline()[:-1]
        if len(text) > _MAX_NUMBER_LETTERS:
            raise DataRefusedError(f"it holds a number of {len(text)} letters")
        self.append(text == b"01" if text in (b"00", b"01") else int(text.rstrip(b"L")))


def _counted(run: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(run)
    def counted(unpickler: Any) -> None:
        unpickler.done += 1
        if unpickler.done > MAX_INSTRUCTIONS:
            raise DataRefusedError(f"a pickle of more than {MAX_INSTRUCTIONS} instructions")
        run(unpickler)

    return counted


_OWN = {
    "INST": _Unpickler.load_inst,
    "REDUCE": _Unpickler.load_reduce,
    "BUILD": _Unpickler.load_build,
    "SETITEM": _Unpickler.load_setitem,
    "SETITEMS": _Unpickler.load_setitems,
    "DICT": _Unpickler.load_dict,
    "LONG1": _Unpickler.load_long1,
    "LONG": _Unpickler.load_int,
    "INT": _Unpickler.load_int,
}


class _Dispatch(dict[int, Callable[[Any], None]]):
    """The instructions that are known; any other is refused."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        raise DataRefusedError(f"cut off or damaged, or no pickle (instruction 0x{code:02x}); get it again")


_Unpickler.dispatch = _Dispatch(
    {
        code: _counted(_OWN.get(name, pickle._Unpickler.dispatch[code]))
        for name in _INSTRUCTIONS.split()
        for code in [getattr(pickle, name)[0]]
    }
)
