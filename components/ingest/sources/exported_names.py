"""What a name of an image in an export of Label Studio may be on this machine.

    /data/local-files/?d=cats/1.png              cats/1.png, with %20 for a space
    https://host/cats/1.png?token=x              https://host/cats/1.png
    /data/upload/3/0fe1ab23-1.png                1.png: an upload's name gets this prefix

https://labelstud.io/guide/tasks#How-to-import-your-data
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

# The path of a local file, which is not an address.
_LOCAL_FILE = re.compile(r"[^?]*/local-files/?\?(?:[^#]*&)?d=([^&#]+)")
_UPLOAD = re.compile(r"(.*[/\\])?[0-9a-f]{8}-([^/\\]+)", re.DOTALL)


def spellings(name: str) -> Iterator[tuple[str, bool]]:
    """Yield the name and what it may stand for, the likeliest first; with it whether a prefix was removed."""
    plain = name
    if match := _LOCAL_FILE.fullmatch(name):
        plain = match[1]
    elif "?" in name:
        plain = name.partition("?")[0]
    decoded = unquote(plain)
    for spelling in dict.fromkeys((name, plain, decoded)):
        yield spelling, False
    if match := _UPLOAD.fullmatch(decoded):
        yield f"{match[1] or ''}{match[2]}", True
