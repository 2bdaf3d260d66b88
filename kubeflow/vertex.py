"""Compiles a recipe to a PipelineJob of Vertex AI, by TFX's own Kubeflow V2 runner.

What that leaves out is put into its JSON here: the entry point of ExampleGen's driver, and what the tasks ask
for. Needs no project, no bucket and no network.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.base.imports import without_collector
from components.base.paths import GCS, write_atomically
from components.exporter.formats import FORMATS
from components.ingest import is_manifest
from components.schema_gen.schema_file import write_schema
from kubeflow.compile import check_image
from pipeline.data.examples import Examples, describe
from pipeline.engines import places
from pipeline.recipe.paths import list_files
from pipeline.recipe.recipe import Recipe
from pipeline.run.console import make_console, quiet_libraries
from pipeline.targets.vertex.config import VertexConfig, VertexTaskConfig
from schemas import features

# In the image. `pipeline.vertex_task` tells executors and drivers apart.
COMMAND = ("python", "-m", "pipeline.vertex_task")
_REQUIRED = ("project", "region", "pipeline_root", "data_root")


def compile_recipe(recipe: Recipe, image: str | None, output: Path) -> None:
    """Write the PipelineJob of a recipe as JSON; equal arguments give equal bytes.

    Args:
        recipe: Loaded with `elsewhere=True`. `data.path` is here all the same: what `mirante ingest` made, or
            its manifest alone; the records are read from `vertex.data_root`.
        image: Holds Mirante, as kubeflow/Dockerfile makes it.
        output: A .json file; appears by atomic rename.

    Raises:
        UsageError: Something is missing or cannot be on Vertex AI.
        DataRefusedError: From `pipeline.data.describe`.
    """
    reference = check_image(image)
    if output.suffix != ".json":
        raise UsageError(f"-o {output}: expected a .json file for --target vertex")
    config = _require_config(recipe)
    _check(recipe, config)
    examples = _describe_examples(recipe)
    # From here on they are where the tasks find them, wherever the manifest was.
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": config.data_root})})
    job = _build_job(recipe, config, examples, reference)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, json.dumps(job, indent=1, sort_keys=True) + "\n")


def _require_config(recipe: Recipe) -> VertexConfig:
    if recipe.vertex is None:
        raise UsageError(
            f"vertex: --target vertex needs to know where: give the recipe's part vertex with "
            f"{', '.join(_REQUIRED)}, or each by --set, e.g. --set vertex.region=europe-west4"
        )
    return recipe.vertex


def _check(recipe: Recipe, config: VertexConfig) -> None:
    """Refuse what Vertex AI, or TFX's runner for it, would take and then not do."""
    if recipe.training.strategy == "multi_worker":
        raise UsageError(
            "training.strategy: multi_worker needs other machines, and the Trainer has one on Vertex AI: "
            "take one with several accelerators (vertex.training.accelerator.count) and leave it at auto"
        )
    if recipe.bulk_inference is not None:
        raise UsageError(
            "bulk_inference: expected none with --target vertex, whose cache does not see changed images; "
            "leave it out, and ask the pushed model: mirante predict MODEL --batch INPUT -o OUT"
        )
    needing = [name for name in (recipe.export.formats if recipe.export else ()) if FORMATS[name].needs]
    if needing:
        raise UsageError(
            f"export.formats: expected formats without packages besides TensorFlow with --target vertex, "
            f"whose image has none, got {', '.join(needing)}; leave them out, and export the pushed model: "
            "mirante export"
        )
    if config.deployment and recipe.push.destination:
        raise UsageError(
            "push.destination: with vertex.deployment models go to an endpoint and nowhere else: leave one "
            "out"
        )
    places.check_vertex(recipe.beam)
    for key, path in list_files(recipe).items():
        # The data are ingested already; Beam's files are in the image.
        is_elsewhere = key in ("data.path", "data.label_map", "data.images") or key.startswith("beam.")
        if not is_elsewhere and not path.startswith(GCS):
            raise UsageError(
                f"{key}: expected gs://..., which all containers see, got {path}: copy it to a bucket "
                "(gcloud storage cp) and give that address"
            )


def _describe_examples(recipe: Recipe) -> Examples:
    """Describe the data in the bucket by its manifest."""
    path = Path(recipe.data.path) if recipe.data.path else None
    if path is not None and path.name == features.MANIFEST:
        path = path.parent
    if path is None or not is_manifest(path):
        raise UsageError(
            f"--data {recipe.data.path or ''}: expected the folder that `mirante ingest` made here, or its "
            f"{features.MANIFEST} alone: classes and splits are read from it, records from vertex.data_root"
        )
    return describe(path, recipe.data, recipe.task, shards=False)


def _build_job(recipe: Recipe, config: VertexConfig, examples: Examples, image: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        schema = write_schema(examples.class_names, Path(folder), examples.task)
        with quiet_libraries(Path(folder) / "libraries.log", make_console(to_stderr=True)):
            # Seconds of TensorFlow and TFX.
            with without_collector():
                from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as v2

                from pipeline.definition import create_pipeline
                from pipeline.targets.vertex.target import Vertex

            target = Vertex(config, image)
            pipeline = create_pipeline(recipe, examples, str(schema), config.pipeline_root, target)
            runner = v2.KubeflowV2DagRunner(
                v2.KubeflowV2DagRunnerConfig(
                    display_name=recipe.name,
                    default_image=image,
                    default_commands=list(COMMAND),
                    # As kfp's own packages have it; TFX's other one is for kfp-pipeline-spec below 0.1.14.
                    use_pipeline_spec_2_1=True,
                )
            )
            job: dict[str, Any] = runner.run(pipeline, write_out=False)
    for label, executor in job["pipelineSpec"]["deploymentSpec"]["executors"].items():
        if "container" in executor:
            _set_up_container(executor["container"], config.task(label.removesuffix("_executor")))
    return job


def _set_up_container(container: dict[str, Any], asks: VertexTaskConfig) -> None:
    """Set what the container asks for (TFX's runner forgets ExampleGen's), and its driver's entry point."""
    resources: dict[str, Any] = {}
    if asks.cpu:
        resources["cpuLimit"] = asks.cpu
    if asks.memory_gb:
        resources["memoryLimit"] = asks.memory_gb
    if asks.accelerator:
        # An int64 is a text in the JSON of protocol buffers.
        resources["accelerator"] = {"type": asks.accelerator.type, "count": str(asks.accelerator.count)}
    if resources:
        container["resources"] = resources
    if "lifecycle" in container:
        container["lifecycle"]["preCacheCheck"]["command"] = list(COMMAND)
