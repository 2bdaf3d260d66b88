"""A killed run resumes: `benchmarks/resume.py` with two kills."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import disturbed, resume
from tests.make.quick import quick_mirante

pytestmark = [pytest.mark.long, pytest.mark.slow]


def test_a_run_killed_twice_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbed, "MIRANTE", quick_mirante())
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    undisturbed, usual = resume.undisturbed_run(tmp_path / "undisturbed")
    assert (undisturbed.versions, undisturbed.unfinished) == (1, 0)
    kills = sorted(resume.plan(2, usual, random.Random(seed)), key=resume.moment_of)
    hits, found = resume.killed_and_completed(tmp_path / "killed", kills, undisturbed, usual)
    print(f"meant: {'; '.join(map(str, kills))}; killed: {hits}")
    assert found == []
    assert None not in hits
