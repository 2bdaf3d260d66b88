"""Tasks that run at the same time on one metadata store: a real MariaDB server, started by the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline import task
from pipeline.config import load_recipe
from tests import mariadb
from tests.test_task import COMPLETE, OUTCOMES, html

pytestmark = pytest.mark.services

REPOSITORY = Path(__file__).resolve().parents[1]
CACHED = metadata_store_pb2.Execution.State.Value("CACHED")
USER, PASSWORD = "mirante", "quite-secret"
PROGRAM = """
import sys
from pathlib import Path
from tests.test_task import run
run(Path(sys.argv[1]), sys.argv[3], run_id=sys.argv[2])
"""


def at_once(root: Path, run_id: str, *names: str) -> dict[str, str]:
    """Runs each node in a process of its own, all at the same time; what became of each."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "MIRANTE_METADATA_USER": USER,
        "MIRANTE_METADATA_PASSWORD": PASSWORD,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root), run_id, name],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    ]
    logs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(names), "\n".join(logs)[-5000:]
    return dict(pair for log in logs for pair in OUTCOMES.findall(log))


def test_two_nodes_at_once_write_to_one_server(tmp_path: Path) -> None:
    from ml_metadata.metadata_store import MetadataStore

    from pipeline import metadata_store
    from pipeline.kubeflow_config import MetadataConfig

    if not mariadb.installed():
        pytest.fail("no MariaDB server to start: on Debian and Ubuntu, apt-get install mariadb-server")
    root = tmp_path / "root"
    with mariadb.server(tmp_path, USER, PASSWORD) as port:
        where = [
            "kubeflow.metadata.type=mysql",
            "kubeflow.metadata.host=127.0.0.1",
            f"kubeflow.metadata.port={port}",
        ]
        recipe = load_recipe("digits", where, elsewhere=True).model_dump_json()
        # In the first run both find no types in the store, and make them.
        for run_id, status in (("first", "completed"), ("second", "cached")):
            task.ingest(recipe, {"data.path": ""}, {}, str(root), run_id, html(tmp_path / "ingest.html"))
            for names in (
                ("ImportExampleGen", "ImportSchemaGen"),
                ("StatisticsGen",),
                ("DistributionValidator", "ExampleValidator"),
                ("DataGate",),
            ):
                assert at_once(root, run_id, *names) == dict.fromkeys(names, status)

        config = MetadataConfig(type="mysql", host="127.0.0.1", port=port)
        environment = {"MIRANTE_METADATA_USER": USER, "MIRANTE_METADATA_PASSWORD": PASSWORD}
        store = MetadataStore(metadata_store.store(config, str(root), environment))
        states = [execution.last_known_state for execution in store.get_executions()]
        assert sorted(states) == [COMPLETE] * 6 + [CACHED] * 6
        # Each artifact once, though both runs name it.
        kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
        artifacts = sorted(kinds[artifact.type_id] for artifact in store.get_artifacts())
        assert artifacts == [
            *(
                "ExampleAnomalies",
                "ExampleAnomalies",
                "ExampleStatistics",
                "Examples",
                "Schema",
                "Statistics",
            )
        ]
    # Nothing of the server's password is left beside the run.
    for path in (root / "runs").glob("*/*"):
        assert PASSWORD.encode() not in path.read_bytes()
