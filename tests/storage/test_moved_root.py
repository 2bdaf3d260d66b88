"""Paths in a root's metadata store, once the root is elsewhere."""

from __future__ import annotations

import json

import pytest

from pipeline.storage.moved_root import replace_root

pytestmark = pytest.mark.stack_free


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("/a/b/Trainer/model/8", "/n/Trainer/model/8"),
        ("/a/b", "/n"),
        ("/a/bc/x", "/a/bc/x"),
        ("/z/a/b/x", "/z/a/b/x"),
        (
            '{"checkpoints": "/a/b/checkpoints", "all": ["/a/b"]}',
            '{"checkpoints": "/n/checkpoints", "all": ["/n"]}',
        ),
        (r'"{\"base_directory\": \"/a/b/serving\"}"', r'"{\"base_directory\": \"/n/serving\"}"'),
        ("--temp_location=/a/b/tmp", "--temp_location=/n/tmp"),
    ],
)
def test_paths_below_the_root_are_replaced_and_no_others(text: str, moved: str) -> None:
    assert replace_root(text, "/a/b", "/n") == moved


def test_paths_in_json_are_written_as_json_has_them() -> None:
    moved = replace_root(json.dumps({"path": "/a/café/x"}), "/a/café", "/n/ü")
    assert (json.loads(moved), moved.isascii()) == ({"path": "/n/ü/x"}, True)


@pytest.mark.parametrize("root", ["/a/b/c", "/a/b copy", "/a/b, old", '/a/b "old"'])
def test_the_new_path_may_begin_with_the_former_one(root: str) -> None:
    assert replace_root("/a/b/Trainer/model/8", "/a/b", root) == f"{root}/Trainer/model/8"
    moved = replace_root(json.dumps(["/a/b/x", "/a/b"]), "/a/b", root)
    assert json.loads(moved) == [f"{root}/x", root]
