"""What Kubeflow gets of a node's artifacts."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from components.base.outcome import Output
from pipeline.steps import INGEST, STEPS, step_named
from pipeline.targets.kubeflow.artifacts import write_artifacts

pytestmark = pytest.mark.stack_free


@dataclasses.dataclass
class Target:
    """Kfp's `Output[...]`, as much as is used of it."""

    path: str
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


def show(text: str) -> str:
    return text.replace("/s3/", "s3://")


def test_an_artifact_is_where_it_is_in_the_bucket_and_what_is_known_of_it(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "new" / "blessing"))
    properties = {
        "blessed": 1,
        "baseline": "/s3/models/Größe/7",
        "note": "x" * 501,
        "loss": math.nan,
        "spread": math.inf,
        "structure": object(),
        "empty": "",
        "tfx_version": "1.21.0",
        "node": "another",
    }
    outputs = {"blessing": Output("/s3/models/digits/Evaluator/blessing/11", properties)}
    # The package has no output for the evaluation.
    write_artifacts(step_named("Evaluator"), outputs, {"blessing": target}, show, state="cached", seconds=0.4)
    assert target.metadata == {
        "place": "s3://models/digits/Evaluator/blessing/11",
        "node": "Evaluator",
        "state": "cached",
        "seconds": 0.4,
        "blessed": 1,
        "baseline": "s3://models/Größe/7",
    }
    json.dumps(target.metadata, allow_nan=False)
    lines = Path(target.path).read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["s3://models/digits/Evaluator/blessing/11", "node: Evaluator"]
    assert "baseline: s3://models/Größe/7" in lines


def test_a_resolver_that_found_nothing_says_so(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "baseline"))
    write_artifacts(step_named("Resolver"), {}, {"baseline": target}, show)
    assert Path(target.path).read_text() == "none\nnode: Resolver\n"


def test_secrets_are_in_no_artifact(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "data"))
    outputs = {"data": Output("/data", {"from": "https://me:hunter2@example.org/photos"})}
    write_artifacts(INGEST, outputs, {"data": target}, show)
    assert "hunter2" not in Path(target.path).read_text() + json.dumps(target.metadata)


def test_artifacts_have_names_of_their_own() -> None:
    names = [artifact.name for step in (INGEST, *STEPS) for artifact in step.gives]
    assert len(set(names)) == len(names)
    taken = {name for step in STEPS for name in step.takes}
    assert taken < set(names)
