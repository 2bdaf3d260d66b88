"""Text that can be shown: names may hold line breaks, and codes that drive a terminal."""

from __future__ import annotations

import unicodedata

# Controls, what cannot be written as UTF-8, separators of lines, and what turns the direction of text.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Letters of some scripts are written with these.
_JOINERS = ("\u200c", "\u200d")


def printable(text: str) -> str:
    """Return text on one line, with an escape for each control character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in _HIDDEN and letter not in _JOINERS
        else letter
        for letter in text
    )


def printable_lines(text: str) -> str:
    """Return text of several lines, each as `printable` has it."""
    return "\n".join(printable(line) for line in text.split("\n"))
