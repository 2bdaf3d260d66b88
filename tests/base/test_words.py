"""The words that messages share."""

import os
import subprocess

import pytest

from components.base.words import (
    find_nearest,
    format_count,
    format_part,
    format_some,
    quote,
    suggest,
    suggest_and_list,
)

pytestmark = pytest.mark.stack_free


def test_the_nearest_word() -> None:
    assert find_nearest("epoch", ["epochs", "optimizer"]) == "epochs"
    assert find_nearest("xyzzy", ["epochs", "optimizer"]) is None


def test_a_suggestion_ends_a_message() -> None:
    assert suggest("digts", {"mnist": 0, "digits": 1}) == "; did you mean 'digits'?"
    assert suggest("xyzzy", ["digits"]) == ""


def test_a_suggestion_with_all_known_words_in_their_order() -> None:
    assert suggest_and_list("adm", ["sgd", "adam"]) == ": did you mean 'adam'? Known here: sgd, adam"
    assert suggest_and_list("xyzzy", iter(["sgd"])) == ". Known here: sgd"
    assert suggest_and_list("xyzzy", []) == ". Known here: none"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "nothing"),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (range(1, 1237), "1, 2 and 1,234 more"),
    ],
)
def test_the_first_names_and_how_many_more(names: list[str], said: str) -> None:
    assert format_some(names, 2, none="nothing") == said


def test_a_number_with_its_noun() -> None:
    assert format_count(0, "shard") == "0 shards"
    assert format_count(1, "shard") == "1 shard"
    assert format_count(1234, "shard") == "1,234 shards"
    assert format_count(["a", "b"], "class", "classes") == "2 classes"
    assert format_count(["a"], "class", "classes") == "1 class"


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (1, 41, "1 of 41 inputs was"),
        (2, 41, "2 of 41 inputs were"),
        (1, 1, "1 of 1 input was"),
        (0, 1, "0 of 1 input were"),
        (1200, 1_000_000, "1,200 of 1,000,000 inputs were"),
        (["a"], ["a", "b"], "1 of 2 inputs was"),
    ],
)
def test_a_part_of_a_number_with_the_verb_that_fits(
    part: int | list[str], whole: int | list[str], said: str
) -> None:
    assert format_part(part, whole, "input was", "inputs were") == said


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("a.png", "a.png"),
        ("my photos/", "'my photos/'"),
        ("it's", """'it'"'"'s'"""),
        ("$HOME", "'$HOME'"),
        ("café", "'café'"),
        ("", "''"),
        ("a\nb's \\", r"$'a\x0ab\'s \\'"),
        ("caf\udce9", r"$'caf\xe9'"),
        ("\u202egnp", r"$'\xe2\x80\xaegnp'"),
    ],
)
def test_a_command_can_be_pasted(word: str, quoted: str) -> None:
    assert quote("ls", word) == f"ls {quoted}"
    ended = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert os.fsdecode(ended.stdout) == word
