"""Finds and masks secrets in texts, by their name, form and value. Imports no TensorFlow.

A recipe with a secret is refused (`find_secret`), since recipes are kept with every run. Other texts go
through `redact`: the console, logs, results, pages.
"""

import functools
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

MASK = "***"

# Texts, which `re` compiles and keeps when they are first used: it takes as long as the help of a command.
# Names of variables, of parameters in addresses, and of keys, with underscores for hyphens.
_SECRET_NAME = (
    r"(?i)(PASSWORD|PASSWD|PASSPHRASE|(^|_)PASS|_PWD|SECRETS?|TOKEN|CREDENTIALS?|(^|_)CREDS?|AUTH|AUTHORIZATION|"
    r"(^|_)PAT|JWT|COOKIE|SIGNATURE|(^|_)SIG|(^|_)SAS|(^|_)DSN|CONN(ECTION)?_?STR(ING)?)(_|$)"
    r"|KEYS?(_BASE64|_B64|_?\d+)?$"
)
# Names of files, sockets, and of values that are public.
_NAMES_A_PLACE = (
    r"(?i)(_FILE|_PATH|_DIR|_SOCK|_SOCKET|^GOOGLE_APPLICATION_CREDENTIALS|PUBLIC_KEY|_TTL|_SECS|_TYPE)$"
)
# Switches and small numbers are not secrets, whatever their name is.
_PLAIN_VALUE = r"(?i)(true|false|yes|no|on|off|none|null|\d{1,3})?"
# All lengths are bounded, so that the time grows only linearly with the line. Values, and what follows ://,
# are looked ahead at and not consumed: there may be more secrets in them.
# A name and its value, as in the query of an address, a connection string and an option.
_ASSIGNMENT = (
    r"(?P<before>[?&]|(?<![\w.-]))(?P<name>\w[\w.-]{0,200})(?:=|%3[Dd])['\"]?"
    r"(?=(?P<value>[^\s&;,'\"<>)\]}]{1,4000}))"
)
_ADDRESS = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)(?=(?P<rest>[^\s'\"<>]{1,4000}))"
_BARE_USER_INFO = (
    r"(?P<user>(?<![\w:/.+-])[\w.+-]{1,200}):(?P<password>[^\s'\"<>:/@][^\s'\"<>@]{0,200})@(?!sha256:)"
    r"(?=[A-Za-z0-9])"
)
# Keys of well-known services, by their form.
_KNOWN_FORM = (
    r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|"
    r"xox[abeprs]-[\w-]{10,}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=\bBearer )[\w.~+/=-]{8,}|(?<=\bBasic )[A-Za-z0-9+/=]{8,}"
)
# Shorter values, and words, can be part of any text.
_LEAST_CHARS = 5
_LEAST_LETTERS = 12
# A user without a password that is as long as this is a token.
_LEAST_CHARS_OF_A_TOKEN = 16
# A recipe is refused for the value of a variable only where it cannot be a word.
_LEAST_CHARS_IN_RECIPES = 8

T = TypeVar("T")


def is_secret_name(name: str) -> bool:
    """Return whether a value with this name is taken for a secret."""
    plain = name.replace("-", "_").replace(".", "_")
    return bool(re.search(_SECRET_NAME, plain)) and not re.search(_NAMES_A_PLACE, plain)


def is_secret(name: str, value: str) -> bool:
    """Return whether this value is taken for a secret; switches and small numbers are not."""
    return is_secret_name(name) and not re.fullmatch(_PLAIN_VALUE, value)


def redact(text: str) -> str:
    """Return a text with every secret in it replaced by three asterisks.

    Secrets are values of environment variables and of an address's parameters that have a secret's name,
    user and password of an address, and keys of a well-known form.
    """
    redacted, done = [], 0
    for start, end in _find_spans(text, _compile_known(_freeze_environment())):
        redacted += [text[done:start], MASK]
        done = end
    return "".join([*redacted, text[done:]])


def redact_values(value: T) -> T:
    """Return a nested value of dicts and lists with every text in it redacted."""
    if isinstance(value, str):
        return redact(value)  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {key: redact_values(item) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list | tuple):
        return type(value)(redact_values(item) for item in value)  # type: ignore[call-arg,return-value]
    return value


def redact_file(path: Path) -> None:
    """Overwrite every character of a secret in a file with an asterisk; the file keeps its length.

    For files that libraries, C++ code and other processes wrote without `redact`.
    """
    # Latin-1 has one character for each byte.
    text = path.read_bytes().decode("latin-1")
    known = _compile_known(_freeze_environment(), "latin-1")
    if spans := _find_spans(text, known):
        with path.open("r+b") as file:
            for start, end in spans:
                file.seek(start)
                file.write(b"*" * (end - start))


def find_secret(value: str) -> str | None:
    """Return the kind of secret that a text of a recipe has, such as `a password`; None for no secret."""
    for match in re.finditer(_ADDRESS, value):
        scheme, rest = match["scheme"].lower(), match["rest"]
        user, _, password = rest[: _measure_user_info(rest)].partition(":")
        if password or "/" in user:
            return "a password"
        if user and (scheme in ("http://", "https://") or len(user) >= _LEAST_CHARS_OF_A_TOKEN):
            return "a user name, which may be a token"
    for match in re.finditer(_ASSIGNMENT, value):
        if _is_secret_assignment(match):
            return f"a value for {match['name']}"
    if re.search(_KNOWN_FORM, value):
        return "a key"
    for name, known in _list_named_secrets(_freeze_environment()):
        if len(known) >= _LEAST_CHARS_IN_RECIPES and not known.isalpha() and known in value:
            return f"the value of the environment variable {name}"
    return None


def check_address(name: str, address: str) -> None:
    """Refuse an address whose password would be read as something else, and shown in an error.

    Raises:
        ValueError: The password has an unescaped / # or ?.
    """
    match = re.match(_ADDRESS, address)
    if match and "@" not in _cut_authority(match["rest"]) and _measure_user_info(match["rest"]):
        raise ValueError(f"{name}: a password with / # or ? in it; write them as %2F, %23 and %3F")


def _cut_authority(rest: str) -> str:
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _measure_user_info(rest: str) -> int:
    """Return the number of characters of an address, after ://, that are user and password: to the last @.

    It is 0 for a host and its port with an @ in the path. A port that is not a number is a password.
    """
    authority = _cut_authority(rest)
    is_host = ":" not in authority or re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:]*)(:\d{0,5})?", authority)
    return 0 if "@" not in authority and is_host else max(rest.rfind("@"), 0)


def _find_spans(text: str, known: Iterable[re.Pattern[str]]) -> list[tuple[int, int]]:
    """Return the start and end of all secrets in a text, in order, without overlaps."""
    found = [match.span() for pattern in known for match in pattern.finditer(text)]
    for match in re.finditer(_ADDRESS, text):
        if length := _measure_user_info(match["rest"]):
            found.append((match.start("rest"), match.start("rest") + length))
    found += [match.span("password") for match in re.finditer(_BARE_USER_INFO, text)]
    found += [match.span("value") for match in re.finditer(_ASSIGNMENT, text) if _is_secret_assignment(match)]
    found += [match.span() for match in re.finditer(_KNOWN_FORM, text)]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _is_secret_assignment(match: re.Match[str]) -> bool:
    name = match["name"].rpartition(".")[2]
    if name.lower() in ("key", "keys", "auth") and not match["before"]:
        return False  # an argument of a function
    return is_secret(name, match["value"])


def _freeze_environment() -> tuple[tuple[str, str], ...]:
    return tuple(os.environ.items())


@functools.lru_cache(maxsize=4)
def _compile_known(
    environment: tuple[tuple[str, str], ...], encoding: str = "utf-8"
) -> tuple[re.Pattern[str], ...]:
    """Return patterns for the environment's secrets: plain, percent-encoded, as in HTML; the longest first.

    Args:
        environment: Names and values.
        encoding: Encoding with which the text was read.
    """
    values = {
        form.encode().decode(encoding)
        for _, value in _list_named_secrets(environment)
        for form in (
            value,
            urllib.parse.unquote(value),
            urllib.parse.quote(value, safe=""),
            _escape_as_pages_do(value),
        )
        if _is_unmistakable(form)
    }
    return tuple(re.compile(_make_pattern(value)) for value in sorted(values, key=len, reverse=True))


def _escape_as_pages_do(value: str) -> str:
    """Return what Jinja's escaping makes of a text, since finished pages are redacted too."""
    for letter, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        value = value.replace(letter, escaped)
    return value


def _is_unmistakable(value: str) -> bool:
    """Return whether a value in a text must be the secret: neither short nor a word such as `mirante`."""
    return len(value) >= (_LEAST_LETTERS if value.isalpha() else _LEAST_CHARS)


def _make_pattern(value: str) -> str:
    # Not within another number.
    return rf"(?<!\d)(?<!\d[.,]){value}(?!\d|[.,]\d)" if re.fullmatch(r"\d+", value) else re.escape(value)


@functools.lru_cache(maxsize=4)
def _list_named_secrets(environment: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the names and values of the environment's secrets, for a recipe of a hundred texts once."""
    return tuple(_find_named_secrets(environment))


def _find_named_secrets(environment: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in environment:
        value = value.strip()
        is_path = value[:1] in ("/", "~") and os.path.exists(os.path.expanduser(value))
        if is_secret(name, value) and not is_path:
            yield name, value
        for match in re.finditer(_ADDRESS, value):
            user, _, password = match["rest"][: _measure_user_info(match["rest"])].partition(":")
            # A user without a password is a token, unless it is short.
            if found := password or (user if len(user) >= _LEAST_CHARS_OF_A_TOKEN else ""):
                yield name, found
        if "://" in value or ";" in value:
            for match in re.finditer(_ASSIGNMENT, value):
                if _is_secret_assignment(match):
                    yield name, match["value"]
