"""A training that is killed at random moments ends as an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import kill_training


@pytest.mark.slow
def test_three_kills(tmp_path: Path) -> None:
    outcome = kill_training.compare(kills=3, seed=1, folder=tmp_path)
    assert outcome["kills"] == 3
    assert outcome["equal"]
