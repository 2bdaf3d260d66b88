"""The arguments that Beam gets of an engine. Imports no Beam."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from components.base.owned import find_root_id
from pipeline.engines.config import DATAFLOW, BeamConfig, EngineConfig
from pipeline.steps import INGEST, step_named

# There is no image and none is needed. Without this TFX packs itself up for remote workers at each node that
# uses Beam: 2.4 s of CPU and 53 MB of temporary files, for nothing.
_NO_PACKAGE = "--sdk_container_image=none"
# Beam's in-process runner, asked for by name: since 2.68 the DirectRunner tries to download another one.
IN_MEMORY = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--direct_running_mode=in_memory",
    _NO_PACKAGE,
)
# Beam documents it as the limit of a request, but it limits the stream of a job's states too: by default
# every job fails after 5 minutes.
_NO_JOB_LIMIT = "--job_server_timeout=31536000"
# An executor ends a worker with each stage of a job, and a new one imports all libraries again. A worker that
# is kept this long after its last work does all stages.
_KEEP_WORKERS = "--environment_cache_millis=60000"
DATAFLOW_RUNNER = "--runner=DataflowRunner"


def make_arguments(config: BeamConfig, node_id: str, root: str) -> list[str]:
    """Return Beam's arguments for a node.

    Args:
        config: The recipe's part `beam`.
        node_id: A node with an engine group, or the ingest.
        root: The pipeline root, whose ID the job's name has: roots on other machines may have its path, and
            jobs that are left of a name are cancelled (`pipeline.engines.runner`).
    """
    step = INGEST if node_id == INGEST.id else step_named(node_id)
    engine = config.of(step.engine_group)
    if engine.engine == "in_memory":
        return list(IN_MEMORY)
    if engine.engine == DATAFLOW:
        return [*_name_dataflow(engine), *_ship_code(config)]
    if engine.engine == "prism" and engine.endpoint is None:
        where = ["--runner=pipeline.engines.prism.PrismRunner", "--prism_log_level=warn"]
        if config.prism_location:
            where.append(f"--prism_location={config.prism_location}")
    else:
        owner = find_root_id(Path(root)) or root
        name = f"mirante-{node_id.lower()}-{hashlib.sha256(owner.encode()).hexdigest()[:12]}"
        where = ["--runner=pipeline.engines.runner.PortableRunner", f"--job_endpoint={engine.endpoint}"]
        where.append(f"--job_name={name}")
    shipped = [] if engine.has_near_workers else _ship_code(config)
    return [*where, _NO_JOB_LIMIT, *_name_workers(engine), *(shipped or [_NO_PACKAGE])]


def _name_dataflow(engine: EngineConfig) -> Iterator[str]:
    yield DATAFLOW_RUNNER
    yield f"--project={engine.project}"
    yield f"--region={engine.region}"
    yield f"--temp_location={engine.temp_location}"
    if engine.container_image:
        yield f"--sdk_container_image={engine.container_image}"
    if engine.parallelism:
        yield f"--max_num_workers={engine.parallelism}"


def _name_workers(engine: EngineConfig) -> Iterator[str]:
    yield f"--environment_type={engine.environment.upper()}"
    if not engine.has_near_workers:
        yield _KEEP_WORKERS
    if engine.environment == "docker":
        yield f"--environment_config={engine.container_image}"
    elif engine.environment == "process":
        yield f"--environment_config={json.dumps({'command': engine.worker_command})}"
    elif engine.environment == "external":
        yield f"--environment_config={engine.worker_pool}"
    if engine.parallelism:
        option = "parallelism" if engine.engine == "flink" else "sdk_worker_parallelism"
        yield f"--{option}={engine.parallelism}"


def _ship_code(config: BeamConfig) -> list[str]:
    given = {"setup_file": config.setup_file, "extra_package": config.extra_package}
    return [f"--{option}={path}" for option, path in given.items() if path]
