"""A training that is killed at random moments ends as an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import kill_training
from tests.make.quick import quick_python


@pytest.mark.slow
def test_three_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_training, "PYTHON", quick_python())
    outcome = kill_training.compare(kills=3, seed=1, folder=tmp_path)
    assert outcome["kills"] == 3
    assert outcome["equal"]
