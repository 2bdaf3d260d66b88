"""Each layout of a public data set is understood, and a command is found that a run accepts."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest

from pipeline.inspection.inspect import inspect
from pipeline.inspection.look import Asked
from pipeline.recipe.load import load_recipe
from tests.make.layouts import CLASSES, LAYOUTS

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_is_understood(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    data = layout.write(tmp_path / "my data")
    facts = inspect(Asked(str(data)))
    assert facts.refused == []
    assert (facts.source.source, facts.task) == (layout.source, layout.task)
    assert sorted(one.name for one in facts.classes) in (sorted(CLASSES), ["0", "1"])
    assert facts.splits_brought == list(layout.splits)
    assert list(facts.splits) == ["train", "eval", "test"]
    assert facts.rejects == []
    assert facts.suspicious == []
    words = shlex.split(facts.command)
    sets = [word for before, word in itertools.pairwise(words) if before == "--set"]
    loaded = load_recipe(words[2], sets, str(data))
    assert (loaded.task, loaded.data.source, loaded.data.path) == (layout.task, layout.source, str(data))
