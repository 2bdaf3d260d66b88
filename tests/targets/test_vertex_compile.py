"""`mirante compile --target vertex`: the PipelineJob, as TFX's Kubeflow V2 runner writes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from components.base.errors import DataRefusedError, UsageError
from components.ingest.manifest import FORMAT_VERSION, Manifest, Split, write_manifest
from pipeline.commands.checkout import import_kubeflow
from pipeline.recipe.load import load_recipe
from pipeline.steps import node_ids
from pipeline.targets.vertex import container as vertex_task
from tests.make.tables import table_of_job

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CLOUD = str(GOLDEN / "vertex.yaml")
IMAGE = "europe-docker.pkg.dev/example-project/mirante/mirante:0.1.0"
WHERE = (
    "vertex.project=example-project",
    "vertex.region=europe-west4",
    "vertex.pipeline_root=gs://example-pipelines/digits",
    "vertex.data_root=gs://example-data/digits",
)


def write_data(folder: Path, class_names: list[str], counts: dict[str, int], *, boxes: bool = False) -> Path:
    """A data folder's manifest alone, as it is where the records are in a bucket; returns the folder."""
    folder.mkdir(parents=True)
    splits = {
        name: Split(count * len(class_names), dict.fromkeys(class_names, count), ())
        for name, count in counts.items()
    }
    manifest = Manifest(FORMAT_VERSION, "csv", {}, class_names, splits, 0, "", 0, [])
    if boxes:
        manifest = Manifest(
            FORMAT_VERSION, "voc", {}, class_names, splits, 0, "", 0, [], task="detection", max_boxes=7
        )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", ["admiral", "peacock"], {"train": 80, "eval": 10, "test": 10})


def compiled(recipe: str, data: Path | None, output: Path, *overrides: str, image: str | None = IMAGE) -> str:
    loaded = load_recipe(recipe, overrides, str(data) if data else None, elsewhere=True)
    import_kubeflow("vertex").compile_recipe(loaded, image, output)
    return output.read_text(encoding="utf-8")


def masked(text: str) -> str:
    """Without what changes with TFX, with Python, and with every change of the code that trains."""
    text = re.sub(r'"(tfx_version|tfx_py_version|sdkVersion)": "[^"]*"', r'"\1": "masked"', text)
    text = re.sub(
        r'("(?:code|content)_sha256": \{\s*"runtimeValue": \{\s*"constant": )"[0-9a-f]{64}"',
        r'\1"masked"',
        text,
    )
    return re.sub(r'\\"code_sha256\\": \\"[0-9a-f]{64}\\"', r'\\"code_sha256\\": \\"masked\\"', text)


def task(job: Any, name: str) -> Any:
    return job["pipelineSpec"]["root"]["dag"]["tasks"][name]


def parameter(job: Any, name: str, key: str) -> Any:
    return task(job, name)["inputs"]["parameters"][key]["runtimeValue"]["constant"]


def container(job: Any, name: str) -> Any:
    return job["pipelineSpec"]["deploymentSpec"]["executors"][f"{name}_executor"]["container"]


@pytest.mark.parametrize(
    ("recipe", "overrides", "name"), [("digits", WHERE, "digits"), (CLOUD, (), "butterflies")]
)
def test_the_tasks_are_the_golden_ones(
    recipe: str, overrides: tuple[str, ...], name: str, data: Path, tmp_path: Path
) -> None:
    table = table_of_job(masked(compiled(recipe, data, tmp_path / "job.json", *overrides)))
    golden = GOLDEN / f"{name}.vertex.yaml"
    if os.environ.get("MIRANTE_WRITE_GOLDEN"):
        golden.write_text(table, encoding="utf-8")
    expected = yaml.safe_load(golden.read_text(encoding="utf-8"))
    assert yaml.safe_load(table) == expected, "read the difference; `make golden` writes it anew"


@pytest.mark.slow
def test_the_command_writes_equal_bytes_elsewhere_and_loads_no_sdk(data: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pipeline.commands.main import main\n"
        "try: main()\n"
        "finally: print('google.cloud.aiplatform' in sys.modules)"
    )
    # The manifest alone, from another folder, by another process with another order of sets.
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes((data / "manifest.json").read_bytes())
    output = tmp_path / "one.json"
    arguments = ["digits", "--target", "vertex", "--image", IMAGE, "--data", str(manifest), "-o", str(output)]
    for override in WHERE:
        arguments += ["--set", override]
    done = subprocess.run(
        [sys.executable, "-c", program, "compile", *arguments],
        cwd=GOLDEN.parents[1],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert output.read_text(encoding="utf-8") == compiled("digits", data, tmp_path / "two.json", *WHERE)


def test_nodes_are_what_vertex_can_run(data: Path, tmp_path: Path) -> None:
    job = json.loads(compiled("digits", data, tmp_path / "job.json", *WHERE))
    spec = job["pipelineSpec"]
    tasks = set(spec["root"]["dag"]["tasks"])
    # TFX makes two of a resolver.
    resolvers = {"Resolver-model-blessing-resolver", "Resolver-model-resolver"}
    assert tasks == set(node_ids()) - {"Resolver"} | resolvers
    assert "Resolver-model-resolver" in task(job, "Evaluator")["dependentTasks"]
    assert job["runtimeConfig"] == {"gcsOutputDirectory": "gs://example-pipelines/digits"}
    assert parameter(job, "ImportExampleGen", "input_base") == "gs://example-data/digits"
    # No task reads a file of this machine.
    assert str(tmp_path) not in json.dumps(job)
    assert 'value: "peacock"' in parameter(job, "ImportSchemaGen", "text")
    destination = json.loads(parameter(job, "Pusher", "push_destination"))
    assert destination == {"filesystem": {"base_directory": "gs://example-pipelines/digits/serving"}}
    for name in tasks - resolvers:
        assert container(job, name)["image"] == IMAGE
        assert container(job, name)["command"] == ["python", "-m", "pipeline.vertex_task"]
    hook = container(job, "ImportExampleGen")["lifecycle"]["preCacheCheck"]
    assert hook["command"] == ["python", "-m", "pipeline.vertex_task"]


def test_detection_is_compiled_from_its_manifest(tmp_path: Path) -> None:
    counts = {"train": 80, "eval": 10, "test": 10}
    data = write_data(tmp_path / "data", ["cat"], counts, boxes=True)
    weights = "model.weights=gs://example-models/ssd.h5"
    job = json.loads(compiled("voc", data, tmp_path / "job.json", *WHERE, weights, "model.alpha=1.0"))
    arguments = container(job, "Evaluator")["args"]
    assert arguments[1] == "components.evaluator.component.ReportingExecutor"
    assert json.loads(parameter(job, "Transform", "custom_config"))["max_boxes"] == 7
    assert parameter(job, "DataGate", "task") == "detection"


def test_training_and_deployment_are_vertex_own(data: Path, tmp_path: Path) -> None:
    job = json.loads(compiled(CLOUD, data, tmp_path / "job.json"))
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "butterflies-cloud"
    extension = "tfx.extensions.google_cloud_ai_platform"
    assert container(job, "Trainer")["args"][1] == f"{extension}.trainer.executor.GenericExecutor"
    config = json.loads(parameter(job, "Trainer", "custom_config"))
    account = "trainer@example-project.iam.gserviceaccount.com"
    assert config["ai_platform_enable_vertex"] is True
    assert config["ai_platform_vertex_region"] == "europe-west4"
    assert config["ai_platform_training_args"] == {
        "project": "example-project",
        "job_spec": {
            "service_account": account,
            "worker_pool_specs": [
                {
                    "machine_spec": {
                        "machine_type": "n1-standard-16",
                        "accelerator_type": "NVIDIA_TESLA_T4",
                        "accelerator_count": 2,
                    },
                    "replica_count": 1,
                    "container_spec": {"image_uri": IMAGE},
                }
            ],
        },
    }
    assert container(job, "Pusher")["args"][1] == f"{extension}.pusher.executor.Executor"
    config = json.loads(parameter(job, "Pusher", "custom_config"))
    assert config["ai_platform_serving_args"] == {
        "project": "example-project",
        "endpoint_name": "butterflies",
        "machine_type": "n1-standard-4",
        "min_replica_count": 1,
        "max_replica_count": 3,
        "service_account": account,
    }
    # TFX's runner forgets ExampleGen's.
    assert container(job, "ImportExampleGen")["resources"] == {"cpuLimit": 8.0, "memoryLimit": 32.0}
    assert container(job, "Tuner")["resources"]["accelerator"] == {"type": "NVIDIA_TESLA_T4", "count": "1"}
    assert container(job, "Evaluator")["resources"] == {"cpuLimit": 4.0, "memoryLimit": 16.0}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["vertex=null"], "vertex: --target vertex needs to know where: give the recipe's part vertex"),
        (["vertex={project: example-project}"], "vertex.region: required, but not set"),
        (["vertex.project=null"], "vertex.project: expected a text"),
        (["vertex.pipeline_root=/mnt/root"], "vertex.pipeline_root: expected a text that"),
        (["vertex.data_root=gs://"], "vertex.data_root: expected a text that"),
        (["vertex.region=Europe"], "vertex.region: expected a text that"),
        (["vertex.regoin=europe-west4"], "unknown key 'vertex.regoin': did you mean 'region'?"),
        (
            ["vertex.training={accelerator: {type: NVIDIA_T4}}"],
            "vertex.training.accelerator.type: expected 'NVIDIA_TESLA_P4'",
        ),
        (
            ["vertex.training={accelerator: {type: NVIDIA_L4, count: 3}}"],
            "vertex.training.accelerator.count: expected 1, 2, 4",
        ),
        (["vertex.training={machine_type: 8 cores}"], "vertex.training.machine_type: expected a text that"),
        (["vertex.deployment={min_replicas: 1}"], "vertex.deployment.endpoint: required, but not set"),
        (
            ["vertex.deployment={endpoint: e, min_replicas: 3}"],
            "vertex.deployment.max_replicas: expected min_replicas (3) or more, got 1",
        ),
        (
            ["vertex.deployment={endpoint: e}", "push.destination=gs://models/digits"],
            "push.destination: with vertex.deployment models go to an endpoint",
        ),
        (["vertex.tasks={Trayner: {cpu: 2}}"], "vertex.tasks: there is no task 'Trayner': did you mean"),
        (["vertex.tasks={Resolver: {cpu: 2}}"], "vertex.tasks: there is no task 'Resolver'"),
        (["vertex.tasks={Trainer: {cpu: many}}"], "vertex.tasks.Trainer.cpu: expected a number"),
        (["push.destination=/models"], "push.destination: expected gs://..., which all containers see"),
        (["vertex.data_root=gs://example-data/{SPAN}"], "vertex.data_root: expected a text that"),
        (["training.strategy=multi_worker"], "training.strategy: multi_worker needs other machines"),
        (["beam={engine: spark, endpoint: 'h:1'}"], "beam.engine: expected in_memory, a prism without"),
        (["bulk_inference.input=test"], "bulk_inference: expected none with --target vertex"),
        (["export={formats: [saved_model_fp16, onnx]}"], "whose image has none, got onnx; leave them out"),
    ],
)
def test_what_vertex_could_not_run_is_refused_by_the_fields_name(
    overrides: list[str], said: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        compiled("digits", data, tmp_path / "job.json", *WHERE, *overrides)
    assert said in str(refused.value)
    assert not (tmp_path / "job.json").exists()


@pytest.mark.parametrize(
    ("labels", "is_kept"),
    [("cat\ndog\n", True), ("dog\nemu\ncat\n", True), ("cat\nowl\n", False), (None, False)],
)
def test_a_baseline_that_is_asked_something_else_is_none(
    labels: str | None, is_kept: bool, tmp_path: Path
) -> None:
    for name, text in (("mine", "cat\ndog\n"), ("theirs", labels)):
        extra = tmp_path / name / "Format-Serving" / "assets.extra"
        extra.mkdir(parents=True)
        if text is not None:
            (extra / "labels.txt").write_text(text)
    artifacts = {
        key: {"artifacts": [{"uri": str(tmp_path / name)}]}
        for key, name in (("model", "mine"), ("baseline_model", "theirs"))
    }
    assert vertex_task._is_other_baseline(artifacts) is not is_kept
    assert not vertex_task._is_other_baseline({**artifacts, "baseline_model": {"artifacts": []}})


def test_nodes_on_dataflow_have_addresses_in_buckets(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataflow = "{engine: dataflow, project: p, region: r, temp_location: 'gs://b/t', container_image: i}"
    text = compiled("digits", data, tmp_path / "job.json", *WHERE, f"beam.nodes={{statistics: {dataflow}}}")
    job = json.loads(text)
    runners = {
        name: [argument for argument in container(job, name)["args"] if argument.startswith("--runner=")]
        for name in node_ids()
        if name != "Resolver"
    }
    on_dataflow = {name for name, found in runners.items() if found == ["--runner=DataflowRunner"]}
    assert on_dataflow == {"StatisticsGen", "DataGate"}
    assert {name for name, found in runners.items() if not found} == set(node_ids()) - {
        "ImportExampleGen", "StatisticsGen", "DataGate", "Transform", "Evaluator", "Resolver",
    }  # fmt: skip
    invocation = {
        "inputs": {"artifacts": {"examples": {"artifacts": [{"uri": "gs://b/examples"}]}}},
        "outputs": {"outputFile": "gs://b/out.json", "artifacts": {}},
    }
    argv = ["--executor_class_path", "E", "--json_serialized_invocation_args", json.dumps(invocation)]
    ran: list[Any] = []
    monkeypatch.setattr(vertex_task, "_run", lambda module, argv: ran.append(argv) or 0)
    assert vertex_task.main([*argv, *runners["StatisticsGen"]]) == 0
    assert json.loads(ran[0][3]) == invocation


@pytest.mark.parametrize("image", [None, "two words"])
def test_an_image_that_is_none_is_refused(image: str | None, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--image .*: expected the reference of an image"):
        compiled("digits", data, tmp_path / "job.json", *WHERE, image=image)


def test_a_file_of_another_kind_and_data_without_a_manifest_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a \.json file for --target vertex"):
        compiled("digits", data, tmp_path / "job.yaml", *WHERE)
    for folder in (None, tmp_path):
        with pytest.raises(UsageError, match=r"--data .*: expected the folder that `mirante ingest` made"):
            compiled("digits", folder, tmp_path / "job.json", *WHERE)
    without = write_data(tmp_path / "without", ["a", "b"], {"train": 9, "eval": 1})
    with pytest.raises(DataRefusedError, match="no examples in split test"):
        compiled("digits", without, tmp_path / "job.json", *WHERE)
