"""Words that messages share: the nearest known word, the first few of many names, counts. No TensorFlow."""

import re
import shlex
import textwrap
from collections.abc import Iterable, Sized

from components.base.printable import printable

# Of lines that are printed.
LINE_WIDTH = 80
# Below this likeness, from 0 to 1, a word is not taken for a misspelt one.
_CUTOFF = 0.5


def wrap_text(text: str, first: str = "", rest: str = "") -> str:
    """Return a text in lines of 80 columns; its words stay whole, so paths and commands can be longer.

    Args:
        text: The text.
        first: What the first line begins with.
        rest: What the other lines begin with.
    """
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def format_row(title: str, text: str, width: int = 14, indent: int = 2) -> str:
    """Return a title and a text in lines of 80 columns: next to each other, or below if the title is long.

    Args:
        title: The title; "" for a row that continues the one before.
        text: The text.
        width: Columns before the text.
        indent: Columns before the title.
    """
    head, margin = f"{' ' * indent}{title}", " " * width
    if title and len(head) >= width:
        return f"{head}\n{wrap_text(text, margin, margin)}"
    return wrap_text(text, f"{head:{width}}", margin)


def find_nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `word`; None if none is like it."""
    import difflib  # takes milliseconds, and most commands misspell nothing

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=_CUTOFF)), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message: `; did you mean 'adam'?`, or nothing if no known word is like `word`."""
    near = find_nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def suggest_and_list(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word, with all known words in their order.

    Example:
        >>> suggest_and_list("adm", ["sgd", "adam"])
        ": did you mean 'adam'? Known here: sgd, adam"
    """
    known = list(known)
    near = find_nearest(word, known)
    hint = f": did you mean {near!r}?" if near else "."
    return f"{hint} Known here: {', '.join(known) or 'none'}"


def format_some(names: Iterable[object], most: int, none: str = "") -> str:
    """Return the first names, and how many more there are: `a, b and 3 more`.

    Args:
        names: In the order in which they are to be named.
        most: How many are named at most.
        none: What is returned if there are no names.
    """
    texts = [str(name) for name in names]
    more = len(texts) - most
    return (", ".join(texts[:most]) or none) + (f" and {more:,} more" if more > 0 else "")


def format_count(number: int | Sized, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 shard`, `1,234 shards`.

    Args:
        number: The number, or what is counted.
        one: The noun for one of them.
        many: The noun for any other number; `one` with an s when not given.
    """
    count = number if isinstance(number, int) else len(number)
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def format_part(part: int | Sized, whole: int | Sized, one: str, many: str) -> str:
    """Return how many of all are or do something: `1 of 41 inputs was`, `2 of 41 inputs were`.

    Args:
        part: How many it is said of, or these.
        whole: How many there are, or all of them.
        one: The noun and the verb for one of them: `input was`.
        many: The same for any other number: `inputs were`.
    """
    count, all_ = (number if isinstance(number, int) else len(number) for number in (part, whole))
    noun = (one if all_ == 1 else many).rpartition(" ")[0]
    verb = (one if count == 1 else many).rpartition(" ")[2]
    return f"{count:,} of {all_:,} {noun} {verb}"


def quote(*words: str) -> str:
    """Return a command on one line that can be pasted into Bash or Zsh, whatever is in its words.

    Example:
        >>> quote("mv", "my photos/", "photos")
        "mv 'my photos/' photos"
    """
    return " ".join(map(_quote_word, words))


def _quote_word(word: str) -> str:
    if printable(word) == word:
        return shlex.quote(word)
    escaped = re.sub(r"[\\']", r"\\\g<0>", word)
    return f"$'{''.join(letter if printable(letter) == letter else _escape(letter) for letter in escaped)}'"


def _escape(letter: str) -> str:
    # A byte of a name that is not UTF-8 is a lone surrogate in Python.
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
