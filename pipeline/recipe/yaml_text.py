"""Reads and writes the YAML of recipes: plain values of YAML 1.2, every key once.

`010` is ten; `1:30`, `0b11`, `1_000`, `yes` and dates are texts, which the setting then takes or refuses.
Repeated keys, explicit tags such as `!!int`, control characters, and texts that are too deep or too large for
a recipe are refused with their line. Imports no TensorFlow.
"""

import math
import re
from typing import Any

import yaml

MAX_CHARS = 1_000_000
_MAX_DEPTH = 30
# Counted with every alias replaced by its value.
_MAX_NODES = 20_000
_MAX_DIGITS = 25
# Characters that cannot be in YAML, in JSON, or in a file in UTF-8.
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


class RecipeYamlError(ValueError):
    """A text that cannot be read as YAML; the message has the line and the remedy."""


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        RecipeYamlError: The text cannot be read; begins with the line if it is known.
    """
    if len(text) > MAX_CHARS:
        raise RecipeYamlError(f"expected at most {MAX_CHARS:,} characters, got {len(text):,}")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, [])
        return loader.construct_document(node)
    except yaml.reader.ReaderError as e:
        line = text[: int(e.position)].count("\n") + 1
        raise RecipeYamlError(f"line {line}: the character {int(e.character):#x} is not allowed") from e
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        said = f"{e.context}, {e.problem}" if str(e.problem).startswith("but ") else e.problem or e.context
        raise RecipeYamlError(f"{where}{said}; correct the line") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise RecipeYamlError(str(e) or type(e).__name__) from e
    finally:
        if loader is not None:
            loader.dispose()


def write_yaml(value: Any) -> str:
    """Return a value as YAML that `read_yaml`, and readers of YAML 1.1, read as that value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper; it quotes texts that any version of YAML would read as another kind of value."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain values of YAML 1.2's core schema (10.3.2)."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if getattr(event, "tag", None) not in (None, "!"):
            raise _make_error(event, f"expected a plain value, got the tag {event.tag}")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _make_error(event, f"more than {_MAX_DEPTH} lists and mappings within each other")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and (odd := UNWRITABLE.search(node.value)):
            raise _make_error(node, f"the character {ord(odd[0]):#x} is not allowed")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _make_error(key_node, "expected a word as the key, got a list or a mapping")
            key = self.construct_object(key_node)
            if key in seen:
                raise _make_error(key_node, f"the key {key} is repeated")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _int(loader: Any, node: Any) -> int:
    text = node.value.lstrip("+-")
    if len(text) > _MAX_DIGITS:
        raise _make_error(node, f"expected a number of at most {_MAX_DIGITS} digits, got {len(text):,}")
    base = {"0x": 16, "0o": 8}.get(text[:2], 10)
    value = int(text if base == 10 else text[2:], base)
    return -value if node.value.startswith("-") else value


def _float(loader: Any, node: Any) -> float:
    value = float(re.sub(r"\.(inf|nan)$", r"\1", node.value.lower()))
    if not math.isfinite(value):
        raise _make_error(node, f"expected a finite number, got {node.value}")
    return value


def _make_error(at: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _count(node: yaml.Node, known: dict[int, int], above: list[int]) -> int:
    """Return the number of nodes, with every alias replaced by its value.

    Raises:
        yaml.MarkedYAMLError: There are too many nodes, or an alias is within its own value.
    """
    if id(node) in above:
        raise _make_error(node, "an alias (*) is within its own value")
    if id(node) not in known:
        parts = [] if isinstance(node, yaml.ScalarNode) else list(node.value)
        below = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_count(part, known, [*above, id(node)]) for part in below)
        if known[id(node)] > _MAX_NODES:
            raise _make_error(node, f"more than {_MAX_NODES:,} values, aliases (*) written out")
    return known[id(node)]


for _tag, _form, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_form})\Z"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
