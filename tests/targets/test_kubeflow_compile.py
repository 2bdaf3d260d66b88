"""`mirante compile`: the package for Kubeflow Pipelines, as kfp's SDK writes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from components.base.errors import UsageError
from components.schema_gen.schema_file import write_schema
from pipeline.commands.checkout import import_kubeflow
from pipeline.recipe.load import load_recipe, recipe_names
from pipeline.recipe.recipe import Recipe
from pipeline.steps import STEPS, list_upstream, node_ids, producer_of, step_named
from pipeline.targets.kubeflow.config import KubeflowConfig
from tests.kfp_check import check_packages
from tests.make.commands import mirante
from tests.make.packages import compile_package
from tests.make.records import CLASS_NAMES
from tests.make.tables import table_of_package

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CLUSTER = str(GOLDEN / "cluster.yaml")
IMAGE = "registry.example.org/mirante:0.1.0"


def packaged(recipe: Recipe, folder: Path, image: str | None = IMAGE) -> str:
    """The package of a recipe, as `text_of` reads it; Kubeflow's own compiler has accepted it."""
    return text_of(compile_package(recipe, folder / "package.yaml", image))


def text_of(package: Path) -> str:
    """A package without the version of kfp's SDK and what newer ones write of defaults."""
    text = package.read_text(encoding="utf-8")
    text = re.sub(r"^ *optional: false\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^sdkVersion: kfp-[\d.]+$", "sdkVersion: masked", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The package of the recipe with everything in it.

    Made by the command: kfp looks for the caller of each setting among all modules that are loaded, which
    takes seconds where TensorFlow is.
    """
    package = tmp_path_factory.mktemp("cluster") / "package.yaml"
    done = mirante("compile", CLUSTER, "--image", IMAGE, "-o", str(package), cwd=GOLDEN.parents[1])
    assert done.returncode == 0, done.stderr
    check_packages(package)
    return text_of(package)


def elsewhere(recipe: str, *overrides: str) -> Recipe:
    return load_recipe(recipe, overrides, elsewhere=True)


def documents(text: str) -> tuple[Any, Any]:
    """The pipeline, and what kfp-kubernetes adds, by the label of the executor."""
    spec, platform = yaml.safe_load_all(text)
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def dependencies(spec: Any) -> dict[str, set[str]]:
    """Return what each task waits for, without the one that runs if nothing was pushed."""
    tasks = {
        label: task for label, task in spec["root"]["dag"]["tasks"].items() if "triggerPolicy" not in task
    }
    by_label = {label: task["taskInfo"]["name"] for label, task in tasks.items()}
    return {
        by_label[label]: {by_label[other] for other in task.get("dependentTasks", ())}
        for label, task in tasks.items()
    }


def compare_with_golden(text: str, name: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("MIRANTE_WRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    expected = golden.read_text(encoding="utf-8")
    assert list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(expected)), (
        "read the difference; `make golden` writes it anew"
    )


@pytest.mark.parametrize("name", ["digits", "cluster"])
def test_the_tasks_are_the_golden_ones(name: str, cluster: str, tmp_path: Path) -> None:
    text = cluster if name == "cluster" else packaged(elsewhere(name), tmp_path)
    compare_with_golden(table_of_package(text), f"{name}.kubeflow.yaml")


def test_a_small_package_is_the_golden_one(tmp_path: Path) -> None:
    together = elsewhere("digits", f"kubeflow.together=[[Ingest, {', '.join(node_ids())}]]")
    compare_with_golden(packaged(together, tmp_path), "together.package.yaml")


@pytest.mark.slow
def test_the_command_writes_equal_bytes_and_loads_no_tensorflow(tmp_path: Path) -> None:
    def compiled(name: str) -> bytes:
        program = (
            "import sys; from pipeline.commands.main import main\n"
            "try: main()\n"
            "finally: print(sorted({'tensorflow', 'tfx', 'apache_beam'} & set(sys.modules)))"
        )
        command = [sys.executable, "-c", program, "compile", "digits", "--image", IMAGE, "-o", name]
        secret = "hunter2-in-the-environment"
        done = subprocess.run(
            command,
            cwd=GOLDEN.parents[1],
            env={**os.environ, "MIRANTE_METADATA_PASSWORD": secret, "WANDB_API_KEY": secret, "HOME": secret},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
        assert secret not in Path(name).read_text(encoding="utf-8")
        return Path(name).read_bytes()

    assert compiled(str(tmp_path / "one.yaml")) == compiled(str(tmp_path / "two.yaml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.yaml", "two.yaml"]
    check_packages(tmp_path / "one.yaml")


@pytest.mark.parametrize("recipe", ["digits", CLUSTER])
def test_the_order_of_the_tasks_is_that_of_the_pipeline(recipe: str, tmp_path: Path) -> None:
    from pipeline.data.examples import Examples
    from pipeline.definition import compile_pipeline

    loaded = elsewhere(
        recipe, "model.weights=null", "training.fine_tune_epochs=0", "bulk_inference.input=test",
        "export={formats: [onnx]}",
    )  # fmt: skip
    examples = Examples(tmp_path, {split: f"{split}-*" for split in ("train", "eval", "test")}, CLASS_NAMES)
    schema = write_schema(CLASS_NAMES, tmp_path / "schema")
    nodes = [
        node.pipeline_node for node in compile_pipeline(loaded, examples, str(schema), str(tmp_path)).nodes
    ]
    assert tuple(node.node_info.id for node in nodes) == node_ids(loaded.optional_steps)
    assert {node.node_info.id: set(node.upstream_nodes) for node in nodes} == {
        node: set(others) for node, others in list_upstream(loaded.optional_steps).items()
    }
    for node in nodes:
        step = step_named(node.node_info.id)
        given = {artifact.channel for artifact in step.gives}
        assert given == ({"model"} if step.is_resolver else set(node.outputs.outputs))
        read = {
            (channel.producer_node_query.id, channel.output_key)
            for inputs in node.inputs.inputs.values()
            for channel in inputs.channels
            if channel.producer_node_query.id
        }
        names = {(up.id, artifact.channel): artifact.name for up in STEPS for artifact in up.gives}
        takes = {name for name in step.takes if producer_of(name) in node.upstream_nodes}
        assert {names[place] for place in read} == takes, step.id


def artifacts(spec: Any, way: str) -> dict[str, dict[str, str]]:
    """Return the types of each task's inputs or outputs by name, without those that the UI draws."""
    found = {}
    for task in spec["root"]["dag"]["tasks"].values():
        definitions = spec["components"][task["componentRef"]["name"]].get(f"{way}Definitions", {})
        found[task["taskInfo"]["name"]] = {
            name: artifact["artifactType"]["schemaTitle"].removeprefix("system.")
            for name, artifact in definitions.get("artifacts", {}).items()
            if not name.startswith(("view", "metrics", "classification"))
        }
    del found["if nothing was pushed"]
    return found


def test_nodes_share_two_tasks_the_second_begun_by_what_may_refuse_the_data(tmp_path: Path) -> None:
    spec, _ = documents(packaged(elsewhere("digits", "kubeflow.together=null"), tmp_path))
    data, model = "Ingest to ExampleValidator", "DataGate to Pusher"
    assert dependencies(spec) == {data: set(), model: {data}}
    assert artifacts(spec, "output") == {
        data: {
            "data": "Dataset",
            "curated_schema": "Artifact",
            "examples": "Dataset",
            "schema": "Artifact",
            "statistics": "Artifact",
            "drift": "Artifact",
            "anomalies": "Artifact",
        },
        model: {
            "data_blessing": "Artifact",
            "transform_graph": "Artifact",
            "model": "Model",
            "model_run": "Artifact",
            "infra_blessing": "Artifact",
            "baseline": "Model",
            "evaluation": "Artifact",
            "blessing": "Artifact",
            "pushed_model": "Model",
        },
    }
    outputs = spec["components"]["comp-datagate-to-pusher"]["outputDefinitions"]["artifacts"]
    assert {name.partition("_")[2] for name in outputs if name.startswith("view_")} == {
        *("DataGate", "Transform", "Trainer", "InfraValidator", "Resolver", "Evaluator", "Pusher")
    }
    assert {"metrics_Trainer", "metrics_Evaluator", "classification_Evaluator"} < set(outputs)


def test_digits_are_one_task_so_that_they_take_a_minute(tmp_path: Path) -> None:
    spec, _ = documents(packaged(elsewhere("digits"), tmp_path))
    assert dependencies(spec) == {"Ingest to Pusher": set()}


def test_the_tasks_of_each_recipe_take_all_optional_nodes() -> None:
    plan_tasks = import_kubeflow("tasks").plan_tasks
    optional = {step.optional for step in STEPS if step.optional}
    for name in recipe_names():
        recipe: Any = SimpleNamespace(kubeflow=elsewhere(name).kubeflow, optional_steps=optional)
        planned = [node for task in plan_tasks(recipe) for node in task.nodes]
        assert planned == ["Ingest", *node_ids(optional)], name


@pytest.mark.parametrize("together", ["null", "[]"])
def test_a_run_that_pushes_nothing_fails_in_a_task_of_its_own(together: str, tmp_path: Path) -> None:
    spec, _ = documents(packaged(elsewhere("digits", f"kubeflow.together={together}"), tmp_path))
    (group,) = (task for task in spec["root"]["dag"]["tasks"].values() if "triggerPolicy" in task)
    assert group["triggerPolicy"]["condition"].endswith("-verdict'] != 'pushed'")
    (pushes,) = group["dependentTasks"]
    assert pushes in ("datagate-to-pusher", "pusher")
    (verdict,) = group["inputs"]["parameters"].values()
    assert verdict["taskOutputParameter"] == {"outputParameterKey": "verdict", "producerTask": pushes}
    read_package = import_kubeflow("package").read_package
    assert read_package(tmp_path / "package.yaml").tasks["refuse"] == "Verdict"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["kubeflow.tasks={Trainer: {gpu: {count: 1}}}"],
            [
                "Ingest to ExampleValidator",
                "DataGate and Transform",
                "Trainer",
                "InfraValidator to Pusher",
            ],
        ),
        (
            ["training.strategy=multi_worker", "kubeflow.workers={replicas: 2}"],
            [
                "Ingest to ExampleValidator",
                "DataGate and Transform",
                "Trainer",
                "InfraValidator to Pusher",
            ],
        ),
        (
            ["kubeflow.tasks={Ingest: {cpu: 4}}"],
            ["Ingest", "ImportExampleGen to ExampleValidator", "DataGate to Pusher"],
        ),
    ],
)
def test_nodes_that_ask_for_other_things_do_not_share_a_task(
    overrides: list[str], expected: list[str], tmp_path: Path
) -> None:
    recipe = elsewhere("digits", "kubeflow.together=null", *overrides)
    spec, _ = documents(packaged(recipe, tmp_path))
    assert list(dependencies(spec)) == sorted(expected, key=str.lower)


def test_with_sqlite_there_is_one_task_at_a_time(tmp_path: Path) -> None:
    spec, _ = documents(packaged(elsewhere("digits", "kubeflow.together=[]"), tmp_path))
    waits_for = dependencies(spec)
    order = ("Ingest", *node_ids())
    done: set[str] = set()
    for node in order:
        reached, found = {node}, set(waits_for[node])
        while found - reached:
            reached |= found
            found = {other for name in found for other in waits_for[name]}
        assert reached - {node} == done, node
        done.add(node)
    # Without the store there is no reason for these two to wait.
    assert waits_for["ImportSchemaGen"] == {"Ingest", "ImportExampleGen"}
    assert waits_for["ExampleValidator"] == {"ImportSchemaGen", "StatisticsGen", "DistributionValidator"}
    assert waits_for["Pusher"] == {"Trainer", "InfraValidator", "Evaluator"}


def test_with_a_server_tasks_wait_for_what_they_need_alone(cluster: str, tmp_path: Path) -> None:
    spec, _ = documents(cluster)
    waits_for = dependencies(spec)
    statistics = "StatisticsGen to ExampleValidator"
    assert waits_for["ImportExampleGen"] == waits_for["ImportSchemaGen"] == {"Ingest"}
    assert waits_for[statistics] == {"ImportExampleGen", "ImportSchemaGen"}
    assert waits_for["DataGate"] == {"ImportExampleGen", statistics}
    assert waits_for["Transform"] == {"ImportExampleGen", "ImportSchemaGen", "DataGate"}
    assert waits_for["InfraValidator"] == {"ImportExampleGen", "Trainer"}
    assert waits_for["Trainer"] >= {"Tuner", "BaseModelResolver", "Transform"}
    assert waits_for["Pusher"] == {"Trainer", "InfraValidator", "Evaluator"}
    assert artifacts(spec, "input")["Trainer"] == {
        "examples": "Dataset",
        "schema": "Artifact",
        "transform_graph": "Artifact",
        "base_model": "Model",
        "best_hyperparameters": "Artifact",
    }
    on_a_volume = elsewhere(
        "digits", "kubeflow.metadata.path=/mirante/digits/metadata.sqlite", "kubeflow.together=[]"
    )
    spec, _ = documents(packaged(on_a_volume, tmp_path))
    assert dependencies(spec)["InfraValidator"] == {"ImportExampleGen", "Trainer"}
    assert dependencies(spec)["DistributionValidator"] == {"StatisticsGen"}


def test_a_task_asks_the_cluster_for_what_the_recipe_says(cluster: str) -> None:
    spec, platform = documents(cluster)
    executors = spec["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {IMAGE}
    trainer = executors["exec-trainer"]["container"]
    assert trainer["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert trainer["resources"]["accelerator"]["resourceCount"] == "4"
    assert trainer["resources"]["resourceMemoryLimit"] == "32Gi"
    assert executors["exec-pusher"]["container"]["resources"]["resourceCpuLimit"] == "2"
    # A task tries again by itself: none of KFP's retries, which would multiply them.
    assert not any("retryPolicy" in task for task in spec["root"]["dag"]["tasks"].values())
    retries = {
        name: json.loads(variable["value"])
        for name, executor in executors.items()
        for variable in executor["container"]["env"]
        if variable["name"] == "MIRANTE_RETRIES"
    }
    assert retries["exec-trainer"]["retries"] == 5
    assert retries["exec-pusher"] == {
        "retries": 2,
        "backoff_secs": 60,
        "backoff_factor": 2.0,
        "backoff_max_secs": 3600,
    }
    assert platform["exec-tuner"]["nodeSelector"]["labels"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "2x2",
    }
    trainer = platform["exec-trainer"]
    assert trainer["activeDeadlineSeconds"] == "86400"
    assert trainer["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    variables = {
        item["envVar"]: (secret["secretName"], item["secretKey"])
        for secret in trainer["secretAsEnv"]
        for item in secret["keyToEnv"]
    }
    assert variables == {
        "WANDB_API_KEY": ("wandb", "api-key"),
        "MIRANTE_METADATA_USER": ("mysql-secret", "username"),
        "MIRANTE_METADATA_PASSWORD": ("mysql-secret", "password"),
    }
    mounts = {mount["mountPath"]: mount["constant"] for mount in platform["exec-ingest"]["pvcMount"]}
    assert mounts == {"/pipelines": "pipelines", "/photos": "photos", "/models": "models"}


def test_the_service_account_is_in_the_package_for_submit(cluster: str, tmp_path: Path) -> None:
    read_package = import_kubeflow("package").read_package
    (tmp_path / "package.yaml").write_text(cluster, encoding="utf-8")
    assert read_package(tmp_path / "package.yaml").service_account == "trainer"
    packaged(elsewhere("digits"), tmp_path)
    assert read_package(tmp_path / "package.yaml").service_account is None


def test_the_knobs_are_parameters_with_the_recipes_values(cluster: str, tmp_path: Path) -> None:
    spec, _ = documents(packaged(elsewhere("digits", "training.epochs=7"), tmp_path))
    assert spec["root"]["inputDefinitions"]["parameters"]["epochs"]["defaultValue"] == 7
    spec, _ = documents(cluster)
    form = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: field["defaultValue"] for name, field in form.items()} == {
        "pipeline_root": "/pipelines/butterflies",
        "data_root": "/photos/butterflies",
        "epochs": 30,
        "fine_tune_epochs": 8,
        "fine_tune_learning_rate": 1e-5,
        "learning_rate": 1e-3,
        "global_batch_size": 256,
        "seed": 0,
        "model_weights": "/photos/weights/mobilenet_v2_1.0_no_top.h5",
        "trials": 4,
        "threshold_accuracy": 0.9,
        "push_destination": "/models/butterflies",
        "use_cache": True,
        "overrides": {},
    }
    assert {
        name: field["parameterType"] for name, field in form.items() if name in ("epochs", "overrides")
    } == {
        "epochs": "NUMBER_INTEGER",
        "overrides": "STRUCT",
    }
    assert form["epochs"]["description"] == "Epochs of training."


def test_a_path_with_placeholders_goes_as_it_is_typed(tmp_path: Path) -> None:
    package = import_kubeflow("package")
    typed = "/mirante/photos/span-{SPAN:3}"
    spec, _ = documents(packaged(elsewhere("folder", f"data.path={typed}"), tmp_path))
    assert spec["root"]["inputDefinitions"]["parameters"]["data_root"]["defaultValue"] == typed
    read = package.read_package(tmp_path / "package.yaml")
    by_day = "/mirante/photos/{YYYY}-{MM}-{DD}"
    assert package.arguments(read, [f"data_root={by_day}"]) == {"data_root": by_day}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["kubeflow.defaults={gpu: {type: nvidia/gpu}}"],
            "kubeflow.defaults.gpu.type: expected 'nvidia.com/",
        ),
        (
            ["kubeflow.tasks={Trainer: {gpu: {count: 3}}}"],
            "kubeflow.tasks.Trainer.gpu.count: expected 1, 2, 4",
        ),
        (
            ["kubeflow.tasks={Trayner: {cpu: 1}}"],
            "kubeflow.tasks: there is no node 'Trayner': did you mean 'Trainer'?",
        ),
        (["kubeflow.volumes=[{mount_path: /mirante}]"], "kubeflow.volumes.0.claim: required, but not set"),
        (["kubeflow.defaults={memory: 4 GB}"], "kubeflow.defaults.memory: expected bytes as 8Gi"),
        (["kubeflow.defaults={retries: many}"], "kubeflow.defaults.retries: expected a whole number"),
        (["kubeflow.defaults={env: {DB_PASSWORD: x}}"], "env.DB_PASSWORD: looks like a secret"),
        (["kubeflow.metadata={type: mysql}"], "kubeflow.metadata.host: mysql needs one"),
        (["kubeflow.metadata={type: oracle}"], "kubeflow.metadata.type: expected 'sqlite'"),
        (["kubeflow.pipelineroot=/x"], "unknown key 'kubeflow.pipelineroot': did you mean 'pipeline_root'?"),
        (["training.epochs=many"], "training.epochs: expected a whole number"),
        (["kubeflow.pipeline_root=/elsewhere"], "kubeflow.pipeline_root: /elsewhere is on no volume"),
        (["kubeflow.volumes=[]"], "(mounted: none)"),
        (
            ["training.strategy=multi_worker"],
            "kubeflow.workers: training.strategy: multi_worker needs to know",
        ),
        (
            ["kubeflow.workers={replicas: 2}"],
            "kubeflow.workers: these are for training.strategy: multi_worker",
        ),
        (["kubeflow.metadata.path=metadata.sqlite"], "kubeflow.metadata.path: expected a text that"),
        (
            ["kubeflow.metadata.path=/elsewhere/metadata.sqlite"],
            "kubeflow.metadata.path: /elsewhere/metadata.sqlite is on no volume",
        ),
        (
            ["kubeflow.metadata={type: mysql, host: 'db:3306'}"],
            "kubeflow.metadata.host: expected a text that",
        ),
        (
            ["kubeflow.metadata={type: postgresql, host: db, database: Mirante}"],
            "kubeflow.metadata.database: small letters only with postgresql, got Mirante",
        ),
        (["kubeflow.pipeline_root=/mirante/../x"], "kubeflow.pipeline_root: /mirante/../x is on no volume"),
        (
            ["kubeflow.volumes=[{claim: a, mount_path: /m}, {claim: b, mount_path: /m/}]"],
            "kubeflow.volumes: two of them have one mount_path",
        ),
        (
            ["kubeflow.defaults={tolerations: [{value: x}]}"],
            "kubeflow.defaults.tolerations.0.key: operator Equal compares one, got none",
        ),
        (
            ["kubeflow.defaults={tolerations: [{key: a, operator: Exists, value: x}]}"],
            "kubeflow.defaults.tolerations.0.value: operator Exists takes none, got 'x'",
        ),
        (["kubeflow.defaults={env: {MYSQL_PWD: x}}"], "env.MYSQL_PWD: looks like a secret"),
        (
            ["kubeflow.defaults={env: {PROXY: 'http://me:hunter2@proxy'}}"],
            "kubeflow.defaults.env.PROXY: expected no secret, got a password",
        ),
        (
            ["kubeflow.together=[[Ingests, ImportExampleGen]]"],
            "kubeflow.together: there is no node 'Ingests': did you mean 'Ingest'?",
        ),
        (
            ["data.source=voc", "data.path=/mirante/photos", "data.label_map=map.pbtxt"],
            "data.label_map: map.pbtxt is relative",
        ),
        (["push.destination=models"], "push.destination: models is relative"),
        (
            ["data.path=hdfs://host/a"],
            "data.path: hdfs://host/a: expected a folder, gs://BUCKET/FOLDER or s3:",
        ),
        (
            ["kubeflow.pipeline_root=s3:///runs"],
            "kubeflow.pipeline_root: s3:///runs: expected a folder, gs://",
        ),
        (
            ["kubeflow.pipeline_root=gs://bucket/runs"],
            "kubeflow.metadata: SQLite's file would be in the bucket of pipeline_root gs://bucket/runs",
        ),
        (
            ["kubeflow.pipeline_root=s3://bucket/runs", "kubeflow.metadata={path: /mirante/metadata.sqlite}"],
            "kubeflow.metadata.path: /mirante/metadata.sqlite is on no volume",
        ),
        (
            [
                "kubeflow.pipeline_root=s3://bucket/runs",
                "kubeflow.metadata={type: mysql, host: mysql}",
                "training.strategy=multi_worker",
                "kubeflow.workers={replicas: 2}",
            ],
            "kubeflow.workers: pods that train together write to one folder, and pipeline_root is s3://bucket/",
        ),
        (
            ["data.source=folder", "data.path=/photos/{VERSION}"],
            "data.path: /photos/{VERSION}: {VERSION} is of",
        ),
        (
            ["kubeflow.together=[[Trainer, Pusher]]"],
            "kubeflow.together: Trainer, Pusher do not follow each other",
        ),
        (
            [
                "kubeflow.together=[[StatisticsGen, DistributionValidator]]",
                "kubeflow.tasks={StatisticsGen: {cpu: 1}, DistributionValidator: {cpu: 2}}",
            ],
            "StatisticsGen and DistributionValidator share a task",
        ),
        (
            ["beam={engine: spark, endpoint: 'spark:8099'}"],
            "beam.environment: expected docker, process or external in a task of Kubeflow",
        ),
    ],
)
def test_what_no_cluster_could_run_is_refused_by_the_fields_name(
    overrides: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        packaged(elsewhere("digits", *overrides), tmp_path)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_root_in_a_bucket_needs_no_volume_but_for_sqlite(tmp_path: Path) -> None:
    server = "kubeflow.metadata={type: mysql, host: mysql}"
    overrides = ["kubeflow.pipeline_root=gs://bucket/digits/", server, "data.path=s3://raw/photos"]
    spec = next(yaml.safe_load_all(packaged(elsewhere("digits", *overrides), tmp_path)))
    form = spec["root"]["inputDefinitions"]["parameters"]
    assert form["pipeline_root"]["defaultValue"] == "gs://bucket/digits"
    assert form["data_root"]["defaultValue"] == "s3://raw/photos"
    assert "pvcMount" not in (tmp_path / "package.yaml").read_text()
    overrides = [
        "kubeflow.pipeline_root=gs://bucket/digits",
        "kubeflow.metadata={path: /mirante/metadata.sqlite}",
        "kubeflow.volumes=[{claim: mirante, mount_path: /mirante}]",
    ]
    assert "pvcMount" in packaged(elsewhere("digits", *overrides), tmp_path)


@pytest.mark.parametrize("image", [None, "", "Registry/UPPER", "two words"])
def test_an_image_that_is_none_is_refused(image: str | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--image .*: expected the reference of an image"):
        packaged(elsewhere("digits"), tmp_path, image)


def test_the_volumes_manifest_is_of_the_claim_that_recipes_take_for_granted() -> None:
    manifest = GOLDEN.parents[1] / "kubeflow" / "manifests" / "volume.yaml"
    claim, pod = yaml.safe_load_all(manifest.read_text(encoding="utf-8"))
    (volume,) = KubeflowConfig().volumes
    assert claim["metadata"]["name"] == volume.claim
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume.claim
    assert pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == volume.mount_path
