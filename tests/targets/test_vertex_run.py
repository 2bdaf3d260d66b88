"""The compiled job of Vertex AI: read by its SDK, and its tasks run as their containers would be."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from components.base.saved_model import CARD_FILES
from components.ingest import IngestConfig, ingest
from tests.targets.test_vertex_compile import CLOUD, IMAGE, WHERE, compiled, container, data, parameter
from tests.vertex import ROOT, Vertex

__all__ = ["data"]  # the fixture
pytestmark = [pytest.mark.long, pytest.mark.slow]


def test_the_sdk_reads_the_job_without_an_account(data: Path, tmp_path: Path) -> None:
    from google.cloud import aiplatform
    from google.cloud.aiplatform_v1 import PipelineJob
    from google.cloud.aiplatform_v1.types.custom_job import CustomJob

    path = tmp_path / "job.json"
    job = json.loads(compiled(CLOUD, data, path))
    # As `mirante submit` reads it: nothing is lost on the way to the service.
    read = PipelineJob.from_json(path.read_text(encoding="utf-8"))
    assert read.runtime_config.gcs_output_directory == "gs://example-pipelines/butterflies"
    sent = json.loads(PipelineJob.to_json(read))
    assert sent["pipelineSpec"] == job["pipelineSpec"]
    assert (sent["displayName"], sent["labels"]) == (job["displayName"], job["labels"])
    # What TFX's extensions hand on are fields of the API, and arguments of the SDK.
    args = json.loads(parameter(job, "Trainer", "custom_config"))["ai_platform_training_args"]
    pool = CustomJob(job_spec=args["job_spec"]).job_spec.worker_pool_specs[0]
    assert pool.machine_spec.accelerator_type.name == "NVIDIA_TESLA_T4"
    serving = json.loads(parameter(job, "Pusher", "custom_config"))["ai_platform_serving_args"]
    known = inspect.signature(aiplatform.Model.deploy).parameters
    assert set(serving) - set(known) == {"project", "endpoint_name"}


def test_digits_runs_task_by_task_as_its_containers_would(tmp_path: Path) -> None:
    mount = tmp_path / "gcs"
    folder = mount / "example-data" / "digits"
    ingest("digits", None, folder, IngestConfig())
    overrides = ("training.epochs=4", "evaluation.thresholds.accuracy=0.5", "vertex.training={}")
    job = json.loads(compiled("digits", folder, tmp_path / "job.json", *WHERE, *overrides))
    custom_job = tmp_path / "custom_job.json"
    service = str(ROOT / "tests" / "vertex_service")
    vertex = Vertex(mount, PYTHONPATH=f"{service}:{ROOT}", CUSTOM_JOB_FILE=str(custom_job))
    made = vertex.run(job, "digits-1")

    # The Trainer's container asked Vertex for another one, which trained in the same image.
    asked = json.loads(custom_job.read_text(encoding="utf-8"))
    assert asked["endpoint"] == "europe-west4-aiplatform.googleapis.com"
    assert asked["parent"] == "projects/example-project/locations/europe-west4"
    pool = asked["job"]["job_spec"]["worker_pool_specs"][0]
    assert pool["container_spec"]["image_uri"] == IMAGE == container(job, "Trainer")["image"]
    assert pool["container_spec"]["command"][:3] == ["python", "-m", "tfx.scripts.run_executor"]
    # Artifacts have the addresses that Vertex gave them, and are there.
    for artifact in vertex.artifacts:
        assert artifact["uri"].startswith("gs://example-pipelines/digits/123456789/digits-1/")
        if "tfx.PushedModel" not in artifact["type"]["instanceSchema"]:  # which names a place alone
            assert any(vertex.path(artifact["uri"]).iterdir()), artifact["uri"]
    examples = made["ImportExampleGen"]["examples"][0]["metadata"]
    assert json.loads(examples["split_names"]) == ["train", "eval", "test"]
    assert made["Resolver-model-resolver"]["model"] == []
    model = made["Trainer"]["model"][0]
    blessing = made["Evaluator"]["blessing"][0]["metadata"]
    assert blessing["blessed"] == 1
    assert blessing["current_model_id"] == model["name"]
    assert made["InfraValidator"]["blessing"][0]["metadata"]["blessed"] == 1
    pushed = made["Pusher"]["pushed_model"][0]["metadata"]["pushed_destination"]
    assert pushed.startswith("gs://example-pipelines/digits/serving/")
    version = vertex.path(pushed)
    assert int(version.name) > 1_700_000_000
    exported = vertex.path(model["uri"]) / "Format-Serving"
    names = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    pushed_names = {str(path.relative_to(version)) for path in version.rglob("*") if path.is_file()}
    assert pushed_names == names | {*CARD_FILES}
    card = json.loads((version / CARD_FILES[1]).read_text(encoding="utf-8"))
    assert card["model_details"]["version"] == version.name
    assert 0.0 <= card["quantitative_analyses"]["overall"]["accuracy"] <= 1.0
    assert "saved_model.pb" in names
    # Checkpoints go where a training that is tried again looks for them.
    assert (mount / "example-pipelines" / "digits" / "checkpoints").is_dir()

    # The next run's baseline is this model.
    blessings = "Resolver-model-blessing-resolver", "Resolver-model-resolver"
    tasks = {name: job["pipelineSpec"]["root"]["dag"]["tasks"][name] for name in blessings}
    spec = {**job["pipelineSpec"], "root": {"dag": {"tasks": tasks}}}
    again = vertex.run({**job, "pipelineSpec": spec}, "digits-2")
    assert again["Resolver-model-resolver"]["model"] == [model]
