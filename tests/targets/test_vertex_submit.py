"""`mirante submit` of a job for Vertex AI, against a server on this machine that speaks its REST API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.auth.exceptions import RefreshError

from components.base.errors import UsageError
from kubeflow import vertex_submit
from pipeline.commands.main import main
from tests.vertex_api import VertexApi, run_api, write_credentials

JOB = {
    "displayName": "mine",
    "pipelineSpec": {
        "pipelineInfo": {"name": "mine"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "tfx-1.16.0",
        "components": {},
        "deploymentSpec": {},
        "root": {"dag": {"tasks": {"Trainer": {}, "Pusher": {}}}},
    },
    "runtimeConfig": {"gcsOutputDirectory": "gs://example/größe", "parameterValues": {}},
    "labels": {},
}
WHERE = ("--project", "example", "--region", "europe-west4")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexApi]:
    """The server, and a service account's key file; the job is in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vertex_submit, "POLL_SECS", 0.0)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mine.json").write_text(json.dumps(JOB), encoding="utf-8")
    write_credentials(tmp_path / "key.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with run_api() as server:
        yield server


def submit(api: VertexApi | str, *more: str, package: str = "mine.json") -> Result:
    url = api if isinstance(api, str) else api.url
    return CliRunner().invoke(main, ["submit", package, *WHERE, "--endpoint", url, *more])


@pytest.mark.slow  # Google's SDK takes seconds of CPU to import
def test_a_job_is_sent_and_followed(api: VertexApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.states = [
        ("RUNNING", {"Trainer": "RUNNING", "Trainer-driver": "SUCCEEDED"}),
        # In the middle Vertex AI is asked too often, and then fails.
        429,
        503,
        ("RUNNING", {"Trainer": "RUNNING"}),
        ("SUCCEEDED", {"Trainer": "SUCCEEDED", "Pusher": "SKIPPED"}),
    ]
    done = submit(
        api, "--service-account", "sa@example.iam.gserviceaccount.com", "--run-name", "größer", "--json"
    )
    assert done.exit_code == 0, done.output
    ((_, path, sent),) = (call for call in api.calls if call[0] == "POST")
    assert path.startswith("/v1/projects/example/locations/europe-west4/pipelineJobs")
    assert sent["pipelineSpec"]["root"] == JOB["pipelineSpec"]["root"]  # type: ignore[index]
    assert sent["runtimeConfig"]["gcsOutputDirectory"] == "gs://example/größe"
    assert (sent["displayName"], sent["serviceAccount"]) == ("größer", "sa@example.iam.gserviceaccount.com")
    (authorization,) = api.authorizations
    assert authorization.startswith("Bearer ")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["state"] == "SUCCEEDED"
    assert told["tasks"] == {
        "Trainer": {"state": "SUCCEEDED", "seconds": 90.0, "message": None},
        "Pusher": {"state": "SKIPPED", "seconds": 90.0, "message": None},
    }
    assert told["url"].endswith(f"{told['job'].rpartition('/')[2]}?project=example")
    lines = [line.split() for line in done.stderr.splitlines()]
    assert lines[2:5] == [
        ["Trainer", "running"],
        ["Trainer", "completed", "90.0", "s"],
        ["Pusher", "kept", "90.0", "s"],
    ]
    assert authorization.split()[1] not in done.output
    # A task that fails, and a job that is only sent.
    api.states = [("FAILED", {"Trainer": "FAILED"})]
    failed = submit(api)
    assert failed.exit_code == 1
    assert "the job has ended as FAILED" in failed.stderr
    assert "Trainer: exit status 4" in failed.stderr
    # Following ends with a refusal; the job does not.
    api.states = [400]
    lost = submit(api)
    assert lost.exit_code == 1
    assert "The job continues: https://console.cloud.google.com/" in lost.stderr
    with monkeypatch.context() as impatient:
        impatient.setattr(vertex_submit, "PATIENCE_SECS", 0.0)
        api.states = [429]
        lost = submit(api)
    assert (lost.exit_code, "no quota left" in lost.stderr) == (1, True)
    assert "The job continues: https://console.cloud.google.com/" in lost.stderr
    # A job that ends well and pushes nothing, and one that pushes.
    for api.pushed, code, said in ((0, 4, "but nothing was pushed"), (1, 0, "job succeeded")):
        api.states = [("SUCCEEDED", {"Pusher": "SUCCEEDED"})]
        ended = submit(api)
        assert (ended.exit_code, said in " ".join(ended.output.split())) == (code, True), ended.output
    api.calls.clear()
    assert submit(api, "--no-follow").exit_code == 0
    assert [call[0] for call in api.calls if "pipelineJobs" in call[1]] == ["POST"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "code", "said"),
    [
        (
            (403, "PERMISSION_DENIED", "Permission 'aiplatform.pipelineJobs.create' denied on resource."),
            2,
            "Vertex AI refuses to make the job (403): Permission 'aiplatform.pipelineJobs.create' denied on "
            "resource. Is the project's name right, is aiplatform.googleapis.com enabled",
        ),
        ((404, "NOT_FOUND", "Project example was not found."), 2, "(404): Project example was not found. Is"),
        (
            (429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Pipeline jobs'."),
            1,
            "Vertex AI has no quota left for this (429): Quota exceeded for quota metric 'Pipeline jobs'",
        ),
        (
            (401, "UNAUTHENTICATED", "Request had invalid credentials."),
            2,
            "refuses the credentials; renew them",
        ),
        ((400, "INVALID_ARGUMENT", "No such machine type: n1."), 2, "(400): No such machine type: n1"),
        (
            (503, "UNAVAILABLE", "The service is down."),
            1,
            "Vertex AI cannot answer now (503): The service is",
        ),
    ],
)
def test_a_refusal_is_explained_and_tells_no_secret(
    refusal: tuple[int, str, str], code: int, said: str, api: VertexApi, tmp_path: Path
) -> None:
    api.refusal = refusal
    secret = json.loads((tmp_path / "key.json").read_text())["private_key"].splitlines()[1]
    done = submit(api, "--json")
    assert done.exit_code == code, done.output
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    assert ("If the job was made all the same, it is at https://console" in done.stderr) == (
        refusal[0] == 503
    )
    for hidden in (secret, *(each.split()[1] for each in api.authorizations)):
        assert hidden not in done.output


@pytest.mark.slow
def test_a_machine_without_credentials_or_network_is_told_so(
    api: VertexApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = submit("http://127.0.0.1:9", "--no-follow")
    assert done.exit_code == 1
    assert "http://127.0.0.1:9 cannot be reached (ConnectionError)" in " ".join(done.stderr.split())
    odd = json.dumps({**JOB, "tasks": []})
    (tmp_path / "other.json").write_text(odd)
    done = submit(api, package="other.json")
    assert done.exit_code == 2
    assert (
        'other.json: no job of Vertex AI: Message type "google.cloud.aiplatform.v1.PipelineJob" has'
        in " ".join(done.stderr.split())
    )
    (tmp_path / "key.json").write_text('{"type": "service_account", "private_key": "hidden"}')
    done = submit(api)
    assert done.exit_code == 2
    assert "no credentials for Google Cloud: expected `gcloud auth application-default login`" in done.stderr
    assert "hidden" not in done.output
    assert api.calls == []
    # Following waits for a server of credentials that fails, and not for credentials that it refuses.
    wanted = vertex_submit.VertexSubmission(tmp_path / "mine.json", "example", "europe-west4")
    for retryable, kind in ((True, vertex_submit._UnreachableError), (False, UsageError)):
        with pytest.raises(kind), vertex_submit._explained(wanted, "to show the job"):
            raise RefreshError("Internal failure.", retryable=retryable)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine.json"], "--project: expected with a job for Vertex AI, got none"),
        (["mine.json", "--project", "p"], "--region: expected with a job for Vertex AI, got none"),
        (["mine.yaml"], "--host: expected with a package for Kubeflow, got none"),
        (
            ["mine.json", *WHERE, "--host", "http://x"],
            "--host: expected options for Vertex AI, got one for Kubeflow",
        ),
        (
            ["mine.json", *WHERE, "--param", "a=1"],
            "--param: expected options for Vertex AI, got one for Kubeflow",
        ),
        (
            ["mine.yaml", "--host", "http://x", *WHERE],
            "--project: expected options for Kubeflow, got one for Vert",
        ),
        (["mine.json", *WHERE], "mine.json: it cannot be read: No such file"),
        (["mine.json", *WHERE, "--token", "t"], "--token: expected options for Vertex AI, got one for Kub"),
        (
            ["mine.json", *WHERE, "--project", "projects/example"],
            "--project: expected an ID as my-project, or a number, got 'projects/example'",
        ),
        (
            ["mine.json", *WHERE, "--region", "europe-west4/x"],
            "--region: expected a name as europe-west4, got 'europe-west4/x'",
        ),
        (["odd.json", *WHERE], "odd.json: no job of Vertex AI: expected pipelineSpec.root.dag.tasks"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_sdk_is_imported(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.json").write_text('{"pipelineSpec": []}')
    # It is for Kubeflow: only the option is refused with a job.
    monkeypatch.setenv("MIRANTE_KFP_TOKEN", "of Kubeflow")
    done = CliRunner().invoke(main, ["submit", *words])
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.split())
