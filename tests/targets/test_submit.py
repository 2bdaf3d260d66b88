"""`mirante submit` by the real client, against a stand-in for Kubeflow Pipelines (tests/kfp_api.py)."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.commands.main import main
from tests.certificates import make_certificate, make_strict
from tests.kfp_api import KfpApi, Request, serving, task

# On Python 3.10 there is no kfp.
pytest.importorskip("kfp_server_api")

TOKEN = "a-token-that-nobody-may-read"
PACKAGE = """\
# As kfp's compiler writes it, apart from the components.
components: {comp-ingest: {executorLabel: exec-ingest}, comp-trainer: {executorLabel: exec-trainer}}
deploymentSpec: {executors: {}}
pipelineInfo: {name: digits}
root:
  dag:
    tasks:
      ingest: {componentRef: {name: comp-ingest}, taskInfo: {name: Ingest}}
      trainer: {componentRef: {name: comp-trainer}, dependentTasks: [ingest], taskInfo: {name: Trainer}}
  inputDefinitions:
    parameters:
      overrides: {parameterType: LIST, defaultValue: [], isOptional: true}
      epochs: {parameterType: NUMBER_INTEGER, defaultValue: 3.0, isOptional: true}
      rate: {parameterType: NUMBER_DOUBLE, isOptional: true}
      cached: {parameterType: BOOLEAN, defaultValue: true, isOptional: true}
      data: {parameterType: STRING}
schemaVersion: 2.1.0
sdkVersion: kfp-2.13.0
---
platforms: {kubernetes: {deploymentSpec: {}}}
"""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpApi]:
    from kubeflow import follow

    monkeypatch.setattr(follow, "POLL_SECS", 0.01)
    monkeypatch.delenv("MIRANTE_KFP_TOKEN", raising=False)
    state = KfpApi()
    with serving(state) as state.host:
        yield state


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(PACKAGE)
    return path


def submit(host: str, package: Path, *options: str, code: int = 0) -> Result:
    done = CliRunner().invoke(
        main,
        ["submit", str(package), "--host", host, "--param", "data=/data", *options],
        catch_exceptions=False,
    )
    assert done.exit_code == code, done.output
    assert TOKEN not in done.output
    return done


def as_json(done: Result) -> dict[str, Any]:
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def test_a_package_is_uploaded_run_and_followed(api: KfpApi, package: Path) -> None:
    api.script = [
        ("PENDING", []),
        ("RUNNING", [task("root-driver", "SUCCEEDED", 1), task("ingest", "RUNNING")]),
        ("RUNNING", [task("ingest", "SUCCEEDED", 4.5), task("trainer", "RUNNING")]),
        ("RUNNING", [task("ingest", "SUCCEEDED", 4.5), task("trainer", "RUNNING")]),
        ("SUCCEEDED", [task("ingest", "SUCCEEDED", 4.5), task("trainer", "SUCCEEDED", 60)]),
    ]
    done = submit(
        api.host,
        package,
        *("--param", "epochs=5", "--param", 'overrides=["model.alpha=0.5"]', "--param", "rate=1e-3"),
        *("--param", "cached=False", "--service-account", "trainer", "--run-name", "first"),
    )

    digest = hashlib.sha256(PACKAGE.encode()).hexdigest()
    assert [pipeline["display_name"] for pipeline in api.pipelines.values()] == ["digits"]
    (version,) = api.versions.values()
    assert version["display_name"] == digest[:12]
    assert digest in version["description"]
    assert api.uploads == {"version-1": PACKAGE.encode()}
    assert [experiment["display_name"] for experiment in api.experiments.values()] == ["digits"]
    assert api.runs["run-1"] == {
        "run_id": "run-1",
        "display_name": "first",
        "experiment_id": "experiment-1",
        "pipeline_version_reference": {"pipeline_id": "pipeline-1", "pipeline_version_id": "version-1"},
        "runtime_config": {
            "parameters": {
                "data": "/data",
                "epochs": 5,
                "overrides": ["model.alpha=0.5"],
                "rate": 0.001,
                "cached": False,
            }
        },
        "service_account": "trainer",
    }
    assert done.stdout.splitlines() == [
        f"pipeline digits, version {digest[:12]}: uploaded",
        "run 'first' in experiment 'digits':",
        f"  {api.host}/#/runs/details/run-1",
        "  Ingest   running",
        "  Ingest   completed      4.5 s",
        "  Trainer  running",
        "  Trainer  completed     60.0 s",
        "run succeeded:",
        f"  {api.host}/#/runs/details/run-1",
    ]


def test_the_same_bytes_are_not_uploaded_again_and_others_are(api: KfpApi, package: Path) -> None:
    first = as_json(submit(api.host, package, "--json"))
    again = as_json(submit(api.host, package, "--json"))
    assert (first["version_reused"], again["version_reused"]) == (False, True)
    assert again["version_id"] == first["version_id"] == "version-1"
    assert list(api.runs) == ["run-1", "run-2"]
    assert len(api.pipelines) == len(api.experiments) == 1
    # More of them than a page holds.
    for number in range(4):
        package.write_text(f"{PACKAGE}# {number}\n")
        submit(api.host, package)
    package.write_text(PACKAGE)
    assert as_json(submit(api.host, package, "--json"))["version_id"] == "version-1"
    assert len(api.versions) == 5


def test_a_version_keeps_its_name(api: KfpApi, package: Path) -> None:
    submit(api.host, package, "--version", "1.0", "--name", "mine", "--experiment", "trial")
    assert [version["display_name"] for version in api.versions.values()] == ["1.0"]
    assert [pipeline["display_name"] for pipeline in api.pipelines.values()] == ["mine"]
    assert [experiment["display_name"] for experiment in api.experiments.values()] == ["trial"]
    submit(api.host, package, "--version", "1.0", "--name", "mine")
    assert len(api.versions) == 1
    package.write_text(PACKAGE + "# changed\n")
    done = submit(api.host, package, "--version", "1.0", "--name", "mine", code=2)
    assert "--version 1.0: this pipeline has a version of that name with other content" in done.output
    assert len(api.uploads) == 1


def test_a_failed_run_names_the_task_and_what_it_said(api: KfpApi, package: Path) -> None:
    said = {"error": {"code": 13, "message": "main: Error (exit code 3)"}}
    api.script = [
        ("RUNNING", [task("ingest", "RUNNING")]),
        (
            "FAILED",
            [
                task("ingest", "FAILED", 2, child_tasks=[{"pod_name": "digits-1"}]),
                # The container of a task is a task of its own, which nobody has asked for.
                task(
                    "executor", "FAILED", 2, pod_name="digits-1", state_history=[{"state": "FAILED", **said}]
                ),
            ],
        ),
    ]
    done = submit(api.host, package, "--json", code=1)
    result = as_json(done)
    assert result["state"] == "FAILED"
    assert result["tasks"] == {
        "Ingest": {"state": "FAILED", "seconds": 2.0, "message": "main: Error (exit code 3)"}
    }
    assert f"the run failed at Ingest:\n  {api.host}/#/runs/details/run-1\n" in result["error"]
    assert "\n  Ingest: main: Error (exit code 3)\n" in result["error"]
    assert "kubectl -n kubeflow get workflows -o jsonpath='{..message}' \\\n" in result["error"]
    assert "      -l pipeline/runid=run-1" in result["error"]
    assert f"mirante: {result['error']}" in done.stderr
    assert all(len(line) <= 80 or "http" in line for line in done.stderr.splitlines())


def test_a_task_of_which_the_server_tells_no_more(api: KfpApi, package: Path) -> None:
    api.script = [("FAILED", [task("trainer", "FAILED", 2)])]
    done = submit(api.host, package, code=1)
    assert "Trainer: the server gives no reason" in done.output


LOG = """\
mirante 0.1.0  {node}  run run-1 in /mirante/digits
{node} was at work
mirante: attempt 1 of 2 failed: {reason}
mirante: the next begins in 30 s
mirante 0.1.0  {node}  attempt 2 of 2  run run-1 in /mirante/digits

mirante: {reason} (attempt 2 of 2)
E1130 06:09:56.055886      16 launcher_v2.go:449] Component failed to execute successfully: exit status 1
F1130 06:09:56.077771      16 main.go:131] failed to execute component: exit status 1
"""


def failed(name: str, *children: str, state: str = "FAILED") -> dict[str, Any]:
    return task(name, state, 2, child_tasks=[{"pod_name": child} for child in children])


@pytest.mark.parametrize("by_ui", [False, True])
def test_the_reason_comes_from_the_log_of_the_failed_task(api: KfpApi, package: Path, by_ui: bool) -> None:
    # As Kubeflow Pipelines 2.17 lists them: which container belongs to which task is not in it.
    tasks = [
        failed("trainer", "digits-x-1"),
        failed("trainer(0)", "digits-x-2"),
        failed("executor", "digits-x-3"),
        failed("ingest", "digits-x-4"),
        failed("ingest(0)", "digits-x-5"),
        failed("executor", "digits-x-6"),
    ]
    # The run has ended before its tasks have.
    api.script = [("FAILED", [failed("trainer", state="RUNNING")]), ("FAILED", tasks)]
    logs = {
        "digits-x-6": LOG.format(node="Ingest", reason="data.path: no such folder"),
        "digits-x-3": LOG.format(node="Trainer to Pusher", reason="the loss is not a number"),
    }
    if by_ui:  # which reads them by the pod's name
        logs = {name.replace("-x-", "-x-system-container-impl-"): log for name, log in logs.items()}
        api.ui_logs = logs
    else:
        api.logs = logs
    result = as_json(submit(api.host, package, "--json", code=1))
    messages = {name: one["message"] for name, one in result["tasks"].items()}
    assert messages == {
        "Trainer": "the loss is not a number (attempt 2 of 2)",
        "Ingest": "data.path: no such folder (attempt 2 of 2)",
    }


@pytest.mark.parametrize(
    ("ending", "said"),
    [("signal: terminated", "submit the package again"), ("exit status 137", "for want of memory")],
)
def test_a_task_that_was_ended_before_it_could_say_why_has_a_reason(
    api: KfpApi, package: Path, ending: str, said: str
) -> None:
    def reason(log: str) -> str:
        last = f"F1130 06:09:56.1  1 main.go:131] failed to execute component: {ending}\n"
        api.logs = {"digits-x-1": log + last}
        api.script = [("FAILED", [failed("trainer", "digits-x-1")])]
        return str(as_json(submit(api.host, package, "--json", code=1))["tasks"]["Trainer"]["message"])

    assert said in reason("")
    # An attempt that failed before did not end the task.
    before = "mirante: attempt 1 of 3 failed: no server\nmirante: the next begins in 30 s\n"
    assert said in reason(before)
    # A task's own reason comes first: Kubernetes' signal has ended the shell that started it.
    own = "interrupted; the task continues"
    assert reason(f"{before}mirante: {own}\n") == own


@pytest.mark.parametrize(("driver", "name"), [("trainer-driver", "Trainer"), ("root-driver", "root-driver")])
def test_a_failed_driver_is_named_with_what_it_says(
    api: KfpApi, package: Path, driver: str, name: str
) -> None:
    api.script = [("FAILED", [task("ingest", "SUCCEEDED", 2), failed(driver, "digits-x-1")])]
    api.logs = {"digits-x-1": "I1130 06:09:56.0 1 main.go:5] hm\nF1130 06:09:56.1  1 main.go:9] no server\n"}
    result = as_json(submit(api.host, package, "--json", code=1))
    assert f"the run failed at {name}:" in result["error"]
    said = result["tasks"][name]["message"]
    assert said.startswith("the driver failed, with which Kubeflow prepares a task; usually its metadata")
    assert said.endswith("(no server)")
    api.logs = {}
    assert "metadata-grpc-service" in submit(api.host, package, code=1).output


@pytest.mark.parametrize(
    ("looked", "told"),
    [
        (["RUNNING", "away", "RUNNING", *["SUCCEEDED"] * 4], 0),
        # It says the same once, however often the server is away.
        ([*["RUNNING"] * 5, "away", *["RUNNING"] * 5, *["SUCCEEDED"] * 4], 1),
    ],
)
def test_a_server_that_was_away_is_given_time_to_learn_of_started_pods(
    looked: list[str], told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubeflow import follow
    from kubeflow.server import UnreachableError

    clock, said = [0.0], list[str]()
    monkeypatch.setattr(follow.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(follow.time, "sleep", lambda _: clock.append(clock.pop() + 100.0))
    pod = types.SimpleNamespace(
        display_name="executor(0)", state="PENDING", start_time=None, create_time=None
    )
    states = {
        state: types.SimpleNamespace(
            state=state, state_history=None, error=None, run_details=types.SimpleNamespace(task_details=[pod])
        )
        for state in ("RUNNING", "SUCCEEDED")
    }
    looks = iter(looked)

    def look(_: str) -> Any:
        if (state := next(looks)) == "away":
            raise UnreachableError("no answer")
        return states[state]

    server: Any = types.SimpleNamespace(run=look, namespace=None)
    assert follow.follow(server, "run-1", {}, said.append).state == "SUCCEEDED"
    assert sum("the pod has not started" in line for line in said) == told


def test_a_pod_that_does_not_start_is_told_once(
    api: KfpApi, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubeflow import follow

    monkeypatch.setattr(follow, "WAITING_SECS", 0.0)
    waiting = ("RUNNING", [task("trainer", "RUNNING"), task("executor(0)", "PENDING")])
    api.script = [waiting] * 4 + [("SUCCEEDED", [task("trainer", "SUCCEEDED", 2)])]
    done = submit(api.host, package)
    assert done.output.count("Trainer: the pod has not started for 0 s; is its image, claim or") == 1
    assert "      -l pipeline/runid=run-1\n" in done.output


def test_a_run_that_was_ended_by_others_or_never_began(api: KfpApi, package: Path) -> None:
    api.script = [("CANCELED", [task("ingest", "CANCELED", 2)])]
    assert "the run canceled:\n" in submit(api.host, package, code=1).output
    api.script = [("FAILED", [])]
    assert "the run failed:\n" in (said := submit(api.host, package, code=1).output)
    assert "\n  workflow failed\n" in said


def test_not_followed(api: KfpApi, package: Path) -> None:
    api.script = [("RUNNING", [])]
    result = as_json(submit(api.host, package, "--no-follow", "--json"))
    assert result["url"] == f"{api.host}/#/runs/details/run-1"
    assert (result["state"], result["error"]) == (None, None)
    assert not [line for line in api.requests if line.startswith("GET /apis/v2beta1/runs/")]


def test_a_server_that_is_away_for_a_while_is_waited_for(
    api: KfpApi, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubeflow import follow, server

    start = server.Server.start_run

    def start_then_down(self: Any, **what: Any) -> str:
        run_id = start(self, **what)
        api.down = 3
        return run_id

    monkeypatch.setattr(server.Server, "start_run", start_then_down)
    submit(api.host, package)

    api.down = 0
    monkeypatch.setattr(follow, "PATIENCE_SECS", -1.0)
    done = submit(api.host, package, code=1)
    assert "lost sight of the run, which continues without us" in done.output
    assert "cannot answer now (503): upstream connect error" in done.output
    assert f"The run continues: {api.host}/#/runs/details/run-2" in done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_the_run_going(api: KfpApi, package: Path, number: int) -> None:
    api.script = [("RUNNING", [task("ingest", "RUNNING")])]
    arguments = [str(package), "--host", api.host, "--param", "data=/data", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.commands", "submit", *arguments],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not any("/runs/run-1" in line for line in api.requests):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"mirante: interrupted; the run continues: {api.host}/#/runs/details/run-1" in stderr
    assert json.loads(stdout.splitlines()[-1])["run_id"] == "run-1"
    assert not any(":terminate" in line or line.startswith("DELETE") for line in api.requests)


@pytest.mark.parametrize(
    ("param", "said"),
    [
        ("epoch=3", "has no parameter 'epoch': did you mean 'epochs'? Known here: overrides, epochs,"),
        ("epochs=3.5", "expected a whole number (the parameter's type is NUMBER_INTEGER), got '3.5'"),
        ("epochs=true", "expected a whole number"),
        ("rate=fast", "expected a number"),
        ("rate=NaN", "expected a finite number"),
        ("cached=yes", "expected true or false"),
        ("overrides=a=b", "expected a list as JSON"),
        ("epochs", "--param epochs: expected name=value"),
        ("data=/other", "data is given twice"),
    ],
)
def test_a_parameter_is_checked_before_anything_is_sent(
    api: KfpApi, package: Path, param: str, said: str
) -> None:
    done = submit(api.host, package, "--param", param, code=2)
    assert said in done.output
    assert api.requests == []


def test_a_parameter_that_is_missing(api: KfpApi, package: Path) -> None:
    done = CliRunner().invoke(main, ["submit", str(package), "--host", api.host])
    assert done.exit_code == 2
    assert "no value for data, which the pipeline needs: give it with --param data=..." in done.output
    assert api.requests == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pipeline.yaml", None, "cannot be read: No such file or directory; make one with: mirante compile"),
        ("pipeline.yaml", "a: [", "no Kubeflow Pipelines package: no YAML"),
        ("pipeline.yaml", "name: digits\n", "expected pipelineInfo.name and root.dag.tasks"),
        ("pipeline.yaml", "", "expected pipelineInfo.name and root.dag.tasks"),
        ("pipeline.yaml", "kind: Workflow\n", "an Argo workflow, as Kubeflow Pipelines 1 compiles it"),
        ("pipeline.txt", PACKAGE, "expected a file named .yaml"),
    ],
)
def test_a_file_that_is_no_package(
    api: KfpApi, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert said in submit(api.host, tmp_path / name, code=2).output
    assert api.requests == []


def test_the_token_goes_with_every_request_and_nowhere_else(
    api: KfpApi, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.token = TOKEN
    submit(api.host, package, "--token", TOKEN)
    (tmp_path / "token").write_text(TOKEN + "\n")
    submit(api.host, package, "--token", f"@{tmp_path / 'token'}")
    monkeypatch.setenv("MIRANTE_KFP_TOKEN", TOKEN)
    submit(api.host, package)
    assert len(api.runs) == 3

    api.token = "another"
    done = submit(api.host, package, code=2)
    assert "refuses to tell how it is (401): bad credentials: Bearer ***. Give a token of" in done.output
    monkeypatch.delenv("MIRANTE_KFP_TOKEN")
    assert "(401)" in submit(api.host, package, code=2).output
    assert len(api.runs) == 3


@pytest.mark.parametrize("token", ["", "two words", "line\nline"])
def test_a_token_that_is_none(api: KfpApi, package: Path, token: str) -> None:
    done = submit(api.host, package, "--token", token, code=2)
    assert "--token: expected one word" in done.output
    assert "two words" not in done.output
    assert "the file cannot be read" in submit(api.host, package, "--token", "@/nowhere", code=2).output


def test_who_may_not_is_told_so(api: KfpApi, package: Path) -> None:
    api.forbidden = ("POST /apis/v2beta1/runs",)
    done = submit(api.host, package, code=2)
    assert "refuses to start a run (403): PermissionDenied: User 'me@example.com'" in done.output


def test_a_namespace_where_there_are_several_users(api: KfpApi, package: Path) -> None:
    done = submit(api.host, package, "--namespace", "me")
    assert f"warning: {api.host} is for one user" in done.output
    assert "namespace" not in next(iter(api.pipelines.values()))

    api.multi_user = True
    api.pipelines.clear()
    api.experiments.clear()
    assert "--namespace: " in submit(api.host, package, code=2).output
    api.pipelines["theirs"] = {"pipeline_id": "theirs", "display_name": "digits2", "namespace": "them"}
    result = as_json(submit(api.host, package, "--namespace", "me", "--json"))
    assert api.pipelines[result["pipeline_id"]]["namespace"] == "me"
    assert next(iter(api.experiments.values()))["namespace"] == "me"
    api.script = [("FAILED", [task("ingest", "FAILED", 1)])]
    assert "kubectl -n me get workflows" in submit(api.host, package, "--namespace", "me", code=1).output


@dataclasses.dataclass
class Other:
    """A server of something else."""

    status: int
    body: Any
    requests: list[str] = dataclasses.field(default_factory=list)

    def answer(self, request: Request) -> tuple[int, Any]:
        return self.status, self.body


@pytest.mark.parametrize(
    ("other", "code", "said"),
    [
        (Other(404, "<h1>no</h1>"), 2, "it knows no /apis/v2beta1/healthz"),
        (
            Other(200, "<h1>Log in</h1>"),
            2,
            "answered by text/html; a login page, perhaps: is a --token needed?",
        ),
        (Other(200, {"status": "fine"}), 2, "there is no API of Kubeflow Pipelines 2 there"),
        (Other(500, {"error": "broken"}), 1, "to tell how it is failed (500): broken"),
        (Other(503, "<h1>later</h1>"), 1, "cannot answer now (503)"),
    ],
)
def test_a_server_of_something_else(package: Path, other: Other, code: int, said: str) -> None:
    with serving(other) as host:
        assert said in submit(host, package, code=code).output
    assert len(other.requests) == 1


def test_an_authority_of_older_form_is_accepted(
    api: KfpApi, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificate(tmp_path, "server", make_certificate(tmp_path, "ca"))
    make_certificate(tmp_path, "other")
    make_strict(monkeypatch)
    with serving(api, tmp_path / "server") as host:
        submit(host, package, "--ca-cert", str(tmp_path / "ca.crt"))
        done = submit(host, package, "--ca-cert", str(tmp_path / "other.crt"), code=1)
        assert "certificate verify failed" in " ".join(done.output.split())


def test_nobody_answers(package: Path) -> None:
    with serving(KfpApi()) as host:
        pass
    done = submit(host, package, "--json", code=1)
    assert f"{host} cannot be reached (" in as_json(done)["error"]
    assert "Connection refused" in done.stderr
    assert "0x" not in done.stderr
    assert "expected an address" in submit("kubeflow.example.com", package, code=2).output
    assert TOKEN not in submit(f"https://me:{TOKEN}@example.com", package, code=2).output


def test_a_schedule_is_made_once(api: KfpApi, package: Path) -> None:
    options = ("--cron", "0 3 * * *", "--run-name", "nightly", "--service-account", "trainer")
    result = as_json(submit(api.host, package, *options, "--json"))
    assert result["url"] == f"{api.host}/#/recurringrun/details/recurringrun-1"
    assert result["run_id"] is None
    (made,) = api.recurring_runs.values()
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert made["max_concurrency"] == "1"
    assert made["no_catchup"] is True
    assert made["mode"] == "ENABLE"
    assert made["display_name"] == "nightly"
    assert made["runtime_config"] == {"parameters": {"data": "/data"}}
    assert made["service_account"] == "trainer"
    assert api.runs == {}

    assert "is there already" in submit(api.host, package, *options).output
    assert list(api.recurring_runs) == ["recurringrun-1"]


def test_another_schedule_of_that_name_is_not_put_beside_it(api: KfpApi, package: Path) -> None:
    submit(api.host, package, "--cron", "0 3 * * *")
    done = submit(api.host, package, "--cron", "0 4 * * *", code=2)
    assert "has a recurring run 'digits' with another schedule (0 0 3 * * *)" in done.output
    api.recurring_runs["recurringrun-0"] = api.recurring_runs.pop("recurringrun-1") | {
        "recurring_run_id": "recurringrun-0"
    }
    assert "in place of" in submit(api.host, package, "--cron", "0 4 * * *", "--replace").output
    (made,) = api.recurring_runs.values()
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * *"}}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cron", "0 3 * *"), "expected five fields"),
        (("--cron", "0 24 * * *"), "hour '24': expected *, a value of 0 to 23"),
        (("--cron", "0 3 * * 7"), "day of the week '7': expected *, a value of 0 to 6"),
        (("--cron", "0 5-3 * * *"), "the range ends before it begins"),
        (("--cron", "*/0 * * * *"), "expected a step of 1 or more"),
        (("--cron", "0 3 * FOO *"), "month 'FOO'"),
        (("--cron", "0 3 * * *", "--follow"), "there is nothing to follow with --cron"),
        (("--replace",), "--replace: it is for a recurring run"),
        (("--ca-cert", "/nowhere"), "--ca-cert /nowhere: no such file"),
    ],
)
def test_options_that_cannot_be(api: KfpApi, package: Path, options: tuple[str, ...], said: str) -> None:
    assert said in submit(api.host, package, *options, code=2).output
    assert api.requests == []


@pytest.mark.parametrize(
    ("cron", "six"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("*/15 9-17 1,15 JAN-jun MON-FRI", "0 */15 9-17 1,15 JAN-jun MON-FRI"),
        ("30 0 3 ? * 2-6", "30 0 3 ? * 2-6"),
    ],
)
def test_five_fields_become_six(cron: str, six: str) -> None:
    from kubeflow.cron import six_fields

    assert six_fields(cron) == six


def test_help_does_not_import_the_client() -> None:
    script = (
        "import sys; from pipeline.commands.main import main\n"
        "try: main(['submit', '--help'])\n"
        "finally: print([name for name in ('kfp', 'kfp_server_api', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MIRANTE_KFP_TOKEN": TOKEN},
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert TOKEN not in done.stdout


# Without `from __future__ import annotations`, which kfp's decorators do not read.
COMPILED = """
import sys
from kfp import compiler, dsl

@dsl.component(base_image="mirante:1", install_kfp_package=False)
def ingest(overrides: list, epochs: int, data: str) -> str:
    return data

@dsl.component(base_image="mirante:1", install_kfp_package=False)
def trainer(data: str, rate: float):
    pass

@dsl.pipeline(name="digits")
def pipeline(data: str, overrides: list = [], epochs: int = 3, rate: float = 0.1):
    done = ingest(overrides=overrides, epochs=epochs, data=data).set_display_name("Ingest it")
    trainer(data=done.output, rate=rate)

compiler.Compiler().compile(pipeline, sys.argv[1])
"""


@pytest.mark.slow
def test_a_package_of_kfps_compiler_is_read_as_it_was_meant(tmp_path: Path) -> None:
    if importlib.util.find_spec("kfp") is None:
        pytest.skip("kfp itself is not installed")
    from kubeflow.package import arguments, read_package

    path = tmp_path / "pipeline.yaml"
    (tmp_path / "definition.py").write_text(COMPILED)
    subprocess.run([sys.executable, str(tmp_path / "definition.py"), str(path)], check=True)
    package = read_package(path)
    assert package.name == "digits"
    assert package.tasks == {"ingest": "Ingest it", "trainer": "trainer"}
    assert {name: parameter.required for name, parameter in package.parameters.items()} == {
        "data": True,
        "overrides": False,
        "epochs": False,
        "rate": False,
    }
    assert arguments(package, ["data=/data", 'overrides=["a=1"]', "epochs=5", "rate=1"]) == {
        "data": "/data",
        "overrides": ["a=1"],
        "epochs": 5,
        "rate": 1,
    }
