"""Words that Mirante's texts avoid: docs, docstrings, comments, messages. The pattern says what is found."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Each word, as a pattern, and what to write instead.
WORDS = {
    r"pictures?": "image",
    r"so many": "this many, or the name of the number",
    r"held against|holds? .{1,30} against": "compared with",
    r"lest": "so that ... not",
    r"go(es|ing)? on": "continues, resumes",
    r"(is|are|was|were) told(?! apart)": "is logged, is reported",
    r"(?<!there )(is|are|was|were) (?-i:none)": "is not a ..., there is no ...",
    r"whoever|(for|of|by|to|than) who": "code that ..., users who ...",
    r"beside": "next to, besides",
    r"needless": "not needed",
    r"one's own": "custom, your own",
    r"by heart": "overfits",
    r"even throw": "with probability 0.5",
    r"to be had": "available",
    r"stands? (in|there|beside|below|for all)": "is in",
    r"(lie|lies|lying) (in|on|below|above|there|beside|between)": "is in",
    r"fill(s|ed)? up": "padding",
    r"a person": "you, users",
}
# First words of docstrings: what does it do, or return?
FIRST_WORDS = [
    "What",
    "Who",
    "Whose",
    "Whether",
    "How",
    "Which",
    "Of",
    "That",
    "Those",
    "Nothing",
    "Is",
    "Has",
]
FOLDERS = ("schemas", "components", "pipeline", "kubeflow", "benchmarks", "requirements", "tests")


def checked_files() -> list[Path]:
    """Return all files with texts for users and contributors, other than this one, which has the words."""
    found = [
        path
        for folder in FOLDERS
        for kind in ("py", "yaml")
        for path in (REPOSITORY / folder).rglob(f"*.{kind}")
    ]
    found += [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    return sorted(set(found) - {Path(__file__)})


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that hold text, without code, each with its number."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for number, line in enumerate(node.value.split("\n")):
                    yield node.lineno + number, line
    else:
        is_code = False
        for number, line in enumerate(source.split("\n"), start=1):
            is_code ^= line.startswith("```")
            text = line if path.suffix == ".md" else line.partition("#")[2]
            yield number, "" if is_code else text


# A quick search in the whole file: most files have nothing to find.
QUICK = re.compile(rf'(?<![\w-])({"|".join(WORDS)})(?![\w-])|"""({"|".join(FIRST_WORDS)})\b', re.IGNORECASE)


def findings(path: Path) -> Iterator[str]:
    if not QUICK.search(path.read_text(encoding="utf-8")):
        return
    for number, line in texts_of(path):
        text = re.sub(r"`[^`]*`|\]\([^)]*\)|\S*/\S*|\w+\.\w[\w.]*", "", line)
        for word, instead in WORDS.items():
            for match in re.finditer(rf"(?<![\w-])({word})(?![\w-])", text, re.IGNORECASE):
                yield f"{path.relative_to(REPOSITORY)}:{number}: {match[0]!r}; write: {instead}"
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = (ast.get_docstring(node) or "").split(" ")[0]
                if first in FIRST_WORDS:
                    yield f"{path.relative_to(REPOSITORY)}:{node.lineno}: a docstring begins with {first}"


def test_no_word_that_is_avoided() -> None:
    found = [line for path in checked_files() for line in findings(path)]
    assert not found, "\n".join(found)


def test_the_check_finds_words_in_text_and_not_in_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.house.test_english.REPOSITORY", tmp_path)
    (tmp_path / "a.md").write_text(
        "A picture.\n`picture` [x](picture.md) pictures/boxes.py\n```\npicture\n```\n"
    )
    assert list(findings(tmp_path / "a.md")) == ["a.md:1: 'picture'; write: image"]
    code = (
        'def picture(a: int) -> None:\n    """Whether it goes\n    on."""  # lest\n    x = f"so many {1}"\n'
    )
    (tmp_path / "a.py").write_text(code)
    assert sorted(findings(tmp_path / "a.py")) == [
        "a.py:1: a docstring begins with Whether",
        "a.py:3: 'lest'; write: so that ... not",
        "a.py:4: 'so many'; write: this many, or the name of the number",
    ]
