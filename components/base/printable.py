"""Makes text safe to print: names may have line breaks, and codes that control a terminal."""

import unicodedata

# Controls, characters that UTF-8 does not have, line separators, and marks that change the text direction.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Some scripts need these.
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
    """Return text of several lines, with an escape for each control character."""
    return "\n".join(printable(line) for line in text.split("\n"))
