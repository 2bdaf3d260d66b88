"""Retries of a task in its own pod: as many attempts as were asked for, each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import MiranteError, NotBlessedError, UsageError
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow.attempts import RETRIES, Attempts, Retries
from pipeline.targets.kubeflow.log import log_task

# A script that calls a task, as kfp's executor does. It fails until there are as many attempts as it wants.
SCRIPT = """\
import os, sys
from pathlib import Path
from components.base.errors import MiranteError, UsageError
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow import log

root, wanted, error, reason = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
log._REASON = Path(reason)
with log.log_task("Trainer", "run-1", root, Mirror(os.environ)):
    with open(os.path.join(root, "attempts"), "a+") as file:
        print(os.getpid(), file=file)
        file.seek(0)
        count = len(file.readlines())
    if count < wanted:
        errors = {"known": MiranteError, "usage": UsageError, "unknown": ZeroDivisionError}
        raise errors[error](f"no. {count}")
"""


def run_task(
    root: Path, wanted: int, error: str = "known", retries: int = 2, pod: bool = True
) -> tuple[int, str, list[str], str]:
    """Return a task's exit code, log, the process of each attempt, and the reason that Kubernetes gets."""
    reason = root / "termination-log"
    reason.touch()
    given = {"retries": retries, "backoff_secs": 0, "backoff_factor": 2.0, "backoff_max_secs": 1}
    environment = {**os.environ, RETRIES: json.dumps(given), "PYTHONPATH": os.getcwd()}
    environment.pop("KUBERNETES_SERVICE_HOST", None)
    if pod:
        environment["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root), str(wanted), error, str(reason)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    tried = (root / "attempts").read_text().split()
    return done.returncode, done.stdout, tried, reason.read_text()


def test_a_task_that_fails_twice_succeeds_at_its_third_attempt(tmp_path: Path) -> None:
    code, log, tried, reason = run_task(tmp_path, wanted=3)
    assert (code, len(tried), reason) == (0, 3, "")
    # One process that begins anew: its parent sees no end in between.
    assert len(set(tried)) == 1
    assert "Trainer  attempt 1 of 3  run run-1" in log
    assert "mirante: attempt 1 of 3 failed: no. 1\nmirante: the next begins in 0 s\n" in log
    assert "mirante: attempt 2 of 3 failed: no. 2\n" in log
    assert log.rstrip().endswith("Trainer: done")


@pytest.mark.parametrize("retries", [0, 1])
def test_a_task_that_always_fails_is_tried_as_often_as_asked_for(tmp_path: Path, retries: int) -> None:
    code, log, tried, reason = run_task(tmp_path, wanted=100, retries=retries)
    said = "mirante: no. 2 (attempt 2 of 2)" if retries else "mirante: no. 1"
    assert (code, len(tried), reason) == (1, retries + 1, said)
    assert log.rstrip().endswith(said)


def test_an_unexpected_error_is_tried_again_and_wrong_usage_is_not(tmp_path: Path) -> None:
    code, log, tried, _ = run_task(tmp_path, wanted=2, error="unknown")
    assert (code, len(tried)) == (0, 2)
    assert "ZeroDivisionError: no. 1 (the whole story is above)" in log
    (tmp_path / "attempts").unlink()
    code, _, tried, reason = run_task(tmp_path, wanted=2, error="usage", pod=False)
    assert (code, len(tried), reason) == (2, 1, "")


def test_a_new_pod_counts_the_attempts_of_a_lost_one(tmp_path: Path) -> None:
    environment = {RETRIES: json.dumps({"retries": 2})}

    def attempts() -> Attempts:
        return Attempts(environment, str(tmp_path), "run-1", "InfraValidator, Evaluator", Mirror({}))

    assert attempts().describe() == "attempt 1 of 3"
    attempts()._write(2)
    assert attempts().describe() == "attempt 3 of 3"
    assert attempts().wait_after(MiranteError("the server does not answer")) is None
    attempts().end()
    assert attempts().wait_after(MiranteError("the server does not answer")) == 0.0
    assert attempts().wait_after(NotBlessedError("nothing was pushed")) is None
    assert attempts().wait_after(UsageError("data.path: no such folder")) is None
    assert attempts().wait_after(SystemExit(1)) is None
    (file,) = (tmp_path / "runs" / "run-1").iterdir()
    file.write_text("{")
    assert attempts().describe() == "attempt 1 of 3"


def test_a_task_without_retries_reads_and_writes_nothing(tmp_path: Path) -> None:
    one = Attempts({}, str(tmp_path / "root"), "run-1", "Trainer", Mirror({}))
    assert (one.describe(), one.wait_after(MiranteError("no"))) == ("", None)
    one.end()
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    "text",
    ["2", "{", '{"retries": "two"}', '{"retries": 2, "backoff_secs": -1, "backoff_max_secs": 9}', '{"x": 1}'],
)
def test_a_variable_of_another_form_is_refused_in_one_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(RETRIES, text)
    with pytest.raises(SystemExit) as refused, log_task("Trainer", "run-1", str(tmp_path), Mirror({})):
        pytest.fail("the task ran")
    assert refused.value.code == 2
    said = capsys.readouterr().out
    assert f"mirante: {RETRIES}: expected the JSON that `mirante compile` writes for `retries`" in said
    assert f"got {text}; take the variable out of `env`" in said


def test_the_wait_grows_to_its_bound() -> None:
    retries = Retries(retries=2000, backoff_secs=30, backoff_factor=100.0, backoff_max_secs=3600)
    assert [retries.wait_secs(failed) for failed in (1, 2, 2000)] == [30.0, 3000.0, 3600.0]
