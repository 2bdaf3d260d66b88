"""YAML of recipes: what its plain values mean, and what is refused with its line."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml

from pipeline.recipe.yaml_text import RecipeYamlError, read_yaml, write_yaml

pytestmark = pytest.mark.stack_free


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("+5", 5),
        ("-3", -3),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("1:30", "1:30"),
        ("0b11", "0b11"),
        ("0b", "0b"),
        ("1_000", "1_000"),
        ("2026-02-30", "2026-02-30"),
        ("2026-11-29", "2026-11-29"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_plain_values_are_what_is_written(text: str, value: Any) -> None:
    read = read_yaml(f"a: {text}")["a"]
    assert read == value
    assert type(read) is type(value)


ALIASES = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{below}' if below else '1'] * 10)}]"
    for name, below in zip("abcde", ["", *"abcd"], strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key a is repeated"),
        ("b:\n  c: 1\n  c: 2", "line 3: the key c is repeated"),
        ("\na: .nan", "line 2: expected a finite number, got .nan"),
        ("a: -.inf", "line 1: expected a finite number, got -.inf"),
        ("a: 1e999", "line 1: expected a finite number, got 1e999"),
        ("a: !!int x", "line 1: expected a plain value, got the tag tag:yaml.org,2002:int"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: expected a plain value, got the tag"),
        ("a: " + "9" * 5000, "line 1: expected a number of at most 25 digits, got 5,000"),
        ("a: " + "[" * 100_000, "line 1: more than 30 lists and mappings within each other"),
        ("- " * 40 + "1", "line 1: more than 30 lists and mappings within each other"),
        ('\n\na: "b\\0"', "line 3: the character 0x0 is not allowed"),
        ('a: "\\ud800"', "line 1: the character 0xd800 is not allowed"),
        ('a: "\\x85"', "line 1: the character 0x85 is not allowed"),
        ("a: 1\nb: \x00", "line 2: the character 0x0 is not allowed"),
        ("a: &x [*x]", "line 1: an alias (*) is within its own value"),
        (ALIASES, "line 5: more than 20,000 values, aliases (*) written out"),
        ("? [1]\n: 2", "line 1: expected a word as the key, got a list or a mapping"),
        ("name: [mine", "line 1: expected ',' or ']', but got '<stream end>'"),
        ("a: *x", "line 1: found undefined alias 'x'"),
        ("a" * 1_000_001, "expected at most 1,000,000 characters, got 1,000,001"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(RecipeYamlError) as caught:
        read_yaml(text)
    assert str(caught.value).startswith(said)
    assert time.monotonic() - began < 5


def test_aliases_and_merges_are_read() -> None:
    assert read_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }


def test_what_is_written_is_read_again_by_any_reader() -> None:
    values = {
        "a": ["1e5", "0o17", "1:30", "yes", "010", "null", "2026-11-29", "é", ""],
        "b": [1e-05, 3, None, True],
    }
    assert read_yaml(write_yaml(values)) == values
    assert yaml.safe_load(write_yaml(values)) == values
