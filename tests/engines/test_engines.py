"""The engines of a recipe: what is refused at load, and the arguments that Beam gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.base.owned import MARK, root_id
from components.base.paths import FOLDER_VARIABLE
from pipeline.api import load_run
from pipeline.engines import places
from pipeline.engines.arguments import IN_MEMORY, make_arguments
from pipeline.engines.config import BeamConfig
from pipeline.engines.failures import find_worker_error
from pipeline.recipe.load import load_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.steps import STEPS

pytestmark = pytest.mark.stack_free

DATAFLOW = "engine: dataflow, project: p, region: europe-west4, temp_location: 'gs://bucket/tmp'"


def load(*overrides: str, elsewhere: bool = True) -> Recipe:
    return load_recipe("digits", overrides, elsewhere=elsewhere)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["beam.engine=sparc"], "beam.engine: expected 'in_memory', 'prism', 'spark'"),
        (["beam.engine=null"], "beam.engine: expected 'in_memory', 'prism', 'spark'"),
        (["beam.endpint=h:1"], "unknown key 'beam.endpint': did you mean 'endpoint'?"),
        (["beam.engine=spark"], "beam.endpoint: expected a value with engine: spark, got null; set it"),
        (["beam.endpoint=h:1"], "beam.endpoint: expected none with engine: in_memory, got h:1"),
        (["beam.engine=spark", "beam.endpoint=http://h"], "expected host:port, such as localhost:8099"),
        (["beam.engine=spark", "beam.endpoint='h:0'"], "expected host:port, such as localhost:8099"),
        (["beam.engine=spark", "beam.endpoint='h:65536'"], "expected host:port"),
        (["beam.engine=prism", "beam.environment=docker"], "leave it out, or take an engine that has it"),
        (["beam.engine=in_memory", "beam.parallelism=4"], "beam.parallelism: expected none with engine"),
        (
            ["beam={engine: spark, endpoint: 'h:1', environment: process}"],
            "beam.worker_command: expected a value with environment: process, got null",
        ),
        (
            ["beam={engine: flink, endpoint: 'h:1', container_image: image}"],
            "beam.container_image: expected none with environment: loopback, got image",
        ),
        (["beam.engine=dataflow"], "beam.project: expected a value with engine: dataflow"),
        ([f"beam={{{DATAFLOW}}}"], "beam.container_image: expected an image with Mirante for dataflow's"),
        ([f"beam={{{DATAFLOW}, container_image: '--a'}}"], "beam.container_image: expected a text that"),
        (
            [f"beam={{{DATAFLOW}, container_image: i}}", "beam.temp_location=/tmp"],
            "beam.temp_location: expected gs://BUCKET/FOLDER, got '/tmp'",
        ),
        (["beam.nodes={statistic: {}}"], "beam.nodes: there is no group 'statistic': did you mean 'statist"),
        (
            ["beam.nodes={transform: {engine: spark}}"],
            "beam.nodes.transform.endpoint: expected a value with engine: spark",
        ),
        (
            ["beam={engine: spark, endpoint: 'h:1'}", "beam.nodes={evaluation: {engine: flink}}"],
            "beam.nodes.evaluation.endpoint: expected a value with engine: flink",
        ),
        (["beam.prism_location=/prism"], "beam.prism_location: expected none where no node starts Prism"),
        (
            ["beam={engine: prism, endpoint: 'h:1', prism_location: /prism}"],
            "beam.prism_location: expected none where no node starts Prism",
        ),
        (["beam.setup_file=/setup.py"], "beam.setup_file: expected none where all workers are in the node's"),
        (
            ["beam={engine: spark, endpoint: 'h:1', extra_package: /m.whl}"],
            "beam.extra_package: expected none where all workers are in the node's process",
        ),
    ],
)
def test_unknown_and_contradictory_options_are_refused_by_name(overrides: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        load(*overrides)
    assert said in str(refused.value)


def arguments(text: str, node_id: str = "StatisticsGen") -> list[str]:
    return make_arguments(load(f"beam={{{text}}}").beam, node_id, "/runs/digits")


def test_in_memory_is_the_default_for_all_groups() -> None:
    nodes = [step.id for step in STEPS if step.engine_group]
    assert len(nodes) == 6
    assert all(make_arguments(BeamConfig(), node_id, "/runs") == list(IN_MEMORY) for node_id in nodes)


def test_arguments_of_each_engine() -> None:
    assert arguments("engine: prism, prism_location: /opt/prism") == [
        "--runner=pipeline.engines.prism.PrismRunner",
        "--prism_log_level=warn",
        "--prism_location=/opt/prism",
        "--job_server_timeout=31536000",
        "--environment_type=LOOPBACK",
        "--sdk_container_image=none",
    ]
    assert arguments("engine: prism, endpoint: 'localhost:8073'")[:2] == [
        "--runner=pipeline.engines.runner.PortableRunner",
        "--job_endpoint=localhost:8073",
    ]
    assert arguments("engine: flink, endpoint: '[::1]:8099', parallelism: 8") == [
        "--runner=pipeline.engines.runner.PortableRunner",
        "--job_endpoint=[::1]:8099",
        "--job_name=mirante-statisticsgen-fe050039cf20",
        "--job_server_timeout=31536000",
        "--environment_type=LOOPBACK",
        "--parallelism=8",
        "--sdk_container_image=none",
    ]
    served = "engine: spark, endpoint: 'h:8099', parallelism: 2, environment: "
    assert arguments(f"{served} process, worker_command: /opt/boot, setup_file: /src/setup.py")[4:] == [
        "--environment_type=PROCESS",
        "--environment_cache_millis=60000",
        '--environment_config={"command": "/opt/boot"}',
        "--sdk_worker_parallelism=2",
        "--setup_file=/src/setup.py",
    ]
    assert arguments(f"{served} docker, container_image: 'r.example/mirante:1'")[4:7] == [
        "--environment_type=DOCKER",
        "--environment_cache_millis=60000",
        "--environment_config=r.example/mirante:1",
    ]
    assert arguments(f"{served} external, worker_pool: 'pool:50000', extra_package: /m.whl")[4:] == [
        "--environment_type=EXTERNAL",
        "--environment_cache_millis=60000",
        "--environment_config=pool:50000",
        "--sdk_worker_parallelism=2",
        "--extra_package=/m.whl",
    ]
    assert arguments(f"{DATAFLOW}, container_image: image, parallelism: 40") == [
        "--runner=DataflowRunner",
        "--project=p",
        "--region=europe-west4",
        "--temp_location=gs://bucket/tmp",
        "--sdk_container_image=image",
        "--max_num_workers=40",
    ]


def test_jobs_of_roots_with_one_path_have_other_names(tmp_path: Path) -> None:
    beam = load("beam={engine: spark, endpoint: 'h:1'}").beam
    names = []
    for _ in range(2):
        root_id(tmp_path)
        first, again = (make_arguments(beam, "Transform", str(tmp_path))[2] for _ in range(2))
        assert first == again
        names.append(first)
        # The root of another machine.
        (tmp_path / MARK).unlink()
    assert names[0] != names[1]
    assert all(name.startswith("--job_name=mirante-transform-") for name in names)


def test_keys_of_a_group_replace_those_of_beam_unless_its_engine_is_another() -> None:
    beam = load(
        "beam={engine: spark, endpoint: 'h:1', parallelism: 2, nodes: {statistics: {parallelism: 8}, "
        "transform: {engine: in_memory}, evaluation: {engine: flink, endpoint: 'f:2'}}}"
    ).beam
    assert [(one.engine, one.endpoint, one.parallelism) for one in beam.engines] == [
        ("spark", "h:1", 2),
        ("spark", "h:1", 2),
        ("spark", "h:1", 8),
        ("in_memory", None, None),
        ("flink", "f:2", None),
        ("spark", "h:1", 2),
    ]
    assert make_arguments(beam, "Transform", "/runs") == list(IN_MEMORY)
    # A package for Kubeflow, and a run's folder, have the recipe as it is dumped.
    again = load("beam={engine: spark, endpoint: 'h:1', nodes: {ingest: {}, statistics: {parallelism: 8}}}")
    assert again.beam.of("ingest").engine == "spark"
    assert Recipe.model_validate_json(again.model_dump_json()).beam.engines == again.beam.engines
    assert Recipe.model_validate(again.model_dump()).beam.engines == again.beam.engines


def test_a_prism_that_is_not_here_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"beam\.prism_location: expected Prism's binary, got .*/no-prism,"):
        load("beam.engine=prism", f"beam.prism_location={tmp_path}/no-prism", elsewhere=False)
    prism = tmp_path / "prism"
    prism.write_text("")
    prism.chmod(0o755)
    assert load("beam.engine=prism", f"beam.prism_location={prism}", elsewhere=False).beam.engine == "prism"


def test_engines_that_do_not_see_the_files_are_refused_where_nodes_run() -> None:
    dataflow = load(f"beam={{{DATAFLOW}, container_image: i}}").beam
    loopback = load("beam={engine: spark, endpoint: 'h:1'}").beam
    far = load("beam={engine: spark, endpoint: 'h:1', environment: docker, container_image: i}").beam
    mixed = load(f"beam.nodes={{statistics: {{{DATAFLOW}, container_image: i}}}}").beam
    with pytest.raises(UsageError, match=r"^beam\.engine: dataflow reads buckets"):
        places.check_this_machine(dataflow)
    with pytest.raises(UsageError, match=r"^beam\.nodes\.statistics\.engine: dataflow reads buckets"):
        places.check_this_machine(mixed)
    places.check_this_machine(loopback)
    with pytest.raises(UsageError, match=r"^beam\.engine: dataflow reads buckets"):
        places.check_tasks(dataflow, "/mnt/runs", {})
    with pytest.raises(UsageError, match=r"^beam\.environment: expected docker, process or external"):
        places.check_tasks(loopback, "/mnt/runs", {})
    places.check_tasks(far, "/mnt/runs", {})
    with pytest.raises(UsageError, match=r"^beam\.engine: spark has workers that do not see a task's copies"):
        places.check_tasks(far, "s3://bucket/runs", {})
    places.check_tasks(BeamConfig(engine="prism"), "s3://bucket/runs", {})
    with pytest.raises(UsageError, match=r"^beam\.endpoint: expected none for prism in a task of Kubeflow"):
        places.check_tasks(BeamConfig(engine="prism", endpoint="h:1"), "/mnt/runs", {})
    places.check_vertex(dataflow)
    for refused in (loopback, far, BeamConfig(engine="prism", endpoint="h:1")):
        with pytest.raises(UsageError, match="expected in_memory, a prism without an endpoint, or dataflow"):
            places.check_vertex(refused)


def test_workers_elsewhere_do_not_see_a_tasks_copies_of_images() -> None:
    far = "engine: spark, endpoint: 'h:1', environment: docker, container_image: i"
    images = ["data.path=s3://b/images", "bulk_inference={input: 's3://b/more'}"]
    asked = load(f"beam={{{far}, nodes: {{ingest: {{}}}}}}", *images)
    for group, path in (("ingest", "images"), ("bulk_inference", "more")):
        said = rf"^beam\.nodes\.{group}\.engine: spark has workers that do not see .* of s3://b/{path};"
        with pytest.raises(UsageError, match=said):
            places.check_tasks(asked.beam, "/mnt/runs", {group: asked.images[group]})
    # Processes of the task ingest, and the task itself asks.
    own = load(f"beam={{{far}, nodes: {{bulk_inference: {{engine: in_memory}}}}}}", *images)
    places.check_tasks(own.beam, "/mnt/runs", own.images)
    places.check_tasks(asked.beam, "/mnt/runs", {"ingest": ["/mnt/images"], "bulk_inference": []})


def test_workers_elsewhere_do_not_see_this_machines_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    far = (
        "beam={engine: spark, endpoint: 'h:1', environment: docker, container_image: i, nodes: {ingest: {}}}"
    )
    with pytest.raises(UsageError) as refused:
        load_run("digits", ["data.source=folder", far], "s3://b/photos", tmp_path / "root")
    assert str(refused.value) == (
        "beam.nodes.ingest.engine: spark has workers that do not see this machine's copies of s3://b/photos; "
        "set MIRANTE_BUCKETS to a folder that they mount too, or take in_memory or prism"
    )


def test_a_workers_error_is_read_from_the_text_of_the_engine() -> None:
    text = (
        "Pipeline job-1 failed in state FAILED: instruction 3: Traceback (most recent call last):\n"
        '  File "a.py", line 3, in copy\n    raise DataRefusedError(\n'
        "components.base.errors.DataRefusedError: /data/train-0, record 3: cut off;\n  get it [while running "
        "'Copy-ptransform-9']\n\nDuring handling of the above exception, another exception occurred:\n"
    )
    found = find_worker_error(RuntimeError(text))
    assert isinstance(found, DataRefusedError)
    assert str(found) == "/data/train-0, record 3: cut off;\n  get it"
    assert find_worker_error(RuntimeError("components.base.errors.Other: x")) is None
    assert find_worker_error(RuntimeError("no such job")) is None
