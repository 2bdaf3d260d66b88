"""Tasks that run at the same time on one metadata store: real MariaDB and PostgreSQL servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from components.base.errors import MiranteError
from pipeline import task
from pipeline.recipe.load import load_recipe
from pipeline.storage.config import MetadataConfig
from pipeline.storage.metadata_store import require_store
from tests.make.quick import quick_python
from tests.servers import LIMITED, SERVERS, free_port
from tests.targets.test_task import COMPLETE, OUTCOMES, end, html

pytestmark = pytest.mark.services

REPOSITORY = Path(__file__).resolve().parents[2]
CACHED = metadata_store_pb2.Execution.State.Value("CACHED")
# With what a connection string, SQL and a shell take for something of their own.
USER, PASSWORD = "mirante", "it's \\quite secret"
ENVIRONMENT = {"MIRANTE_METADATA_USER": USER, "MIRANTE_METADATA_PASSWORD": PASSWORD}
PROGRAM = """
import sys
from pathlib import Path
from tests.targets.test_task import run
run(Path(sys.argv[1]), sys.argv[3], run_id=sys.argv[2])
"""
# Nodes that run at once, and what they leave in the store.
STEPS = {
    "mysql": (
        ("ImportExampleGen", "ImportSchemaGen"),
        ("StatisticsGen",),
        ("DistributionValidator", "ExampleValidator"),
        ("DataGate",),
    ),
    "postgresql": (("ImportExampleGen", "ImportSchemaGen"), ("StatisticsGen",)),
}
ARTIFACTS = {
    "mysql": [
        *("ExampleAnomalies", "ExampleAnomalies", "ExampleStatistics", "Examples", "Schema", "Statistics")
    ],
    "postgresql": ["ExampleStatistics", "Examples", "Schema"],
}


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[MetadataConfig]:
    """A running server without Mirante's database."""
    with SERVERS[request.param](USER, PASSWORD) as port:
        yield MetadataConfig(type=request.param, host="127.0.0.1", port=port)


def at_once(root: Path, run_id: str, *names: str) -> dict[str, str]:
    """Runs each node in a process of its own, all at the same time; what became of each."""
    processes = [
        subprocess.Popen(
            [quick_python(), "-c", PROGRAM, str(root), run_id, name],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    ]
    logs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(names), "\n".join(logs)[-5000:]
    return dict(pair for log in logs for pair in OUTCOMES.findall(log))


def test_two_nodes_at_once_write_to_one_server(
    server: MetadataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_metadata.metadata_store import MetadataStore

    root = tmp_path / "root"
    where = [f"kubeflow.metadata.{key}={getattr(server, key)}" for key in ("type", "host", "port")]
    recipe = load_recipe("digits", where, elsewhere=True).model_dump_json()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # In the first run both find no types in the store, and make them.
    for run_id, status in (("first", "completed"), ("second", "cached")):
        task.ingest(recipe, {"data.path": ""}, {}, str(root), run_id, html(tmp_path / "ingest.html"))
        for names in STEPS[server.type]:
            assert at_once(root, run_id, *names) == dict.fromkeys(names, status)
        end(root, run_id, require_store(server, str(root), ENVIRONMENT))

    store = MetadataStore(require_store(server, str(root), ENVIRONMENT))
    states = [execution.last_known_state for execution in store.get_executions()]
    nodes = sum(len(names) for names in STEPS[server.type])
    assert sorted(states) == [COMPLETE] * nodes + [CACHED] * nodes
    # Each artifact once, though both runs name it.
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    artifacts = sorted(kinds[artifact.type_id] for artifact in store.get_artifacts())
    assert artifacts == ARTIFACTS[server.type]
    # Nothing of the server's password is left next to the run.
    for path in filter(Path.is_file, (root / "runs").rglob("*")):
        assert PASSWORD.encode() not in path.read_bytes()
        assert b"quite secret" not in path.read_bytes()


def refusal(config: MetadataConfig, environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and message of a store that does not open."""
    with pytest.raises(MiranteError) as refused:
        require_store(config, "/nowhere", environment)
    assert PASSWORD not in str(refused.value)
    return refused.value.exit_code, str(refused.value)


def test_a_server_that_cannot_be_used_is_refused_with_the_reason(
    server: MetadataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TFX tries ten times, and waits in between.
    monkeypatch.setattr("tfx.orchestration.metadata._MAX_INIT_RETRY", 1)
    said = f"kubeflow.metadata: the {server.type} server 127.0.0.1:{server.port} "

    code, message = refusal(server, {**ENVIRONMENT, "MIRANTE_METADATA_PASSWORD": "wrong\n"})
    assert code == 2
    assert message.startswith(
        f"{said}does not let in the user 'mirante' (password: given). Check the Secrets"
    )
    assert message.endswith("The password begins or ends with a space or a line.")

    # Who may sign in, and neither make the database nor, where another made it, use it.
    require_store(server, "/nowhere", ENVIRONMENT)
    for database in ("missing", server.database):
        config = server.model_copy(update={"database": database})
        code, message = refusal(config, {**ENVIRONMENT, "MIRANTE_METADATA_USER": LIMITED})
        assert code == 2
        assert message.startswith(
            f"{said}has no database '{database}' that the user 'limited' may use, or make"
        )
        assert f"CREATE DATABASE {database}" in message
        assert "denied" in message

    code, message = refusal(server.model_copy(update={"port": free_port()}), ENVIRONMENT)
    assert code == 1
    assert "cannot be reached: Connection refused. Does it run" in message
    code, message = refusal(server.model_copy(update={"host": "nowhere.invalid"}), ENVIRONMENT)
    assert "the " + server.type + " server nowhere.invalid:" in message
    assert "cannot be reached: " in message
