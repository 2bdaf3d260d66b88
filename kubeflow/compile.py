"""Compiles a recipe to a package for Kubeflow Pipelines 2: tasks that run a node each, or a few.

Needs no cluster, no credentials and no TensorFlow: what TFX has to do with the pipeline it does in the tasks.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.base.object_store import parse_url
from components.base.paths import is_remote, replace_file
from kubeflow.components import VERDICT, build_component, build_refusal
from kubeflow.package import RUNS_AS
from kubeflow.parameters import Parameter, parameters
from kubeflow.tasks import plan_tasks
from pipeline.data.window import check_window
from pipeline.engines import places
from pipeline.recipe.paths import list_files
from pipeline.recipe.recipe import Recipe
from pipeline.steps import INGEST, producer_of
from pipeline.storage.config import PASSWORD_VARIABLE, USER_VARIABLE
from pipeline.targets.kubeflow.attempts import RETRIES, Retries
from pipeline.targets.kubeflow.config import KubeflowConfig, TaskConfig
from pipeline.targets.kubeflow.verdict import PUSHED

# The task that ends a run which pushed nothing, as users see it.
_REFUSAL = "Verdict"
# What an image is called: registry, path, tag or digest; no spaces, no capitals in the path.
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")


def compile_recipe(recipe: Recipe, image: str | None, output: Path) -> None:
    """Write the package of a recipe; equal arguments give equal bytes.

    Args:
        recipe: Loaded with `elsewhere=True`: its paths are those of the tasks.
        image: Holds Mirante, as kubeflow/Dockerfile makes it.
        output: A .yaml file; appears by atomic rename.

    Raises:
        UsageError: The image is missing, the tasks could not find a path, or nodes cannot share a task.
    """
    reference = check_image(image)
    if output.suffix not in (".yaml", ".yml"):
        raise UsageError(f"-o {output}: expected a .yaml file")
    if recipe.training.strategy == "multi_worker" and recipe.kubeflow.workers is None:
        raise UsageError(
            "kubeflow.workers: training.strategy: multi_worker needs to know how many pods train, e.g. "
            "{replicas: 2}"
        )
    root = pipeline_root(recipe)
    _check_paths(recipe)
    places.check_tasks(recipe.beam, root, recipe.images)
    check_window(recipe.data, root)
    define = _build_pipeline(recipe, parameters(recipe, root), reference)

    from kfp import compiler

    output.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(output) as temporary:
        compiler.Compiler().compile(define, str(temporary))


def check_image(image: str | None) -> str:
    """Return the reference of an image, as `--image` gives it.

    Raises:
        UsageError: It is not one.
    """
    if not image or not _IMAGE.fullmatch(image):
        raise UsageError(
            f"--image {image or ''}: expected the reference of an image with Mirante in it, such as "
            "registry.example.org/mirante:0.1.0 (`make image` builds it)"
        )
    return image


def pipeline_root(recipe: Recipe) -> str:
    """Return where a recipe's tasks write.

    Raises:
        UsageError: That is on no volume and in no bucket, or SQLite would have to be in the bucket.
    """
    config = recipe.kubeflow
    root = config.pipeline_root or f"{config.volumes[0].mount_path if config.volumes else ''}/{recipe.name}"
    config.check_root(root)
    if not is_remote(root) and not config.is_on_volume(root):
        mounted = ", ".join(volume.mount_path for volume in config.volumes) or "none"
        raise UsageError(
            f"kubeflow.pipeline_root: {root} is on no volume that the tasks share (mounted: {mounted}): give "
            "a folder below one, add the volume to kubeflow.volumes, or give gs://BUCKET/... or s3://BUCKET/..."
        )
    return root.rstrip("/")


def _check_paths(recipe: Recipe) -> None:
    """Refuse paths that mean something on this machine only."""
    metadata_file = recipe.kubeflow.metadata.path
    if metadata_file is not None and not recipe.kubeflow.is_on_volume(metadata_file):
        raise UsageError(
            f"kubeflow.metadata.path: {metadata_file} is on no volume: every task would have a store of its "
            "own. Give a file below a mount_path of kubeflow.volumes"
        )
    for key, path in list_files(recipe).items():
        try:
            in_bucket = parse_url(path) is not None
        except UsageError as e:
            raise UsageError(f"{key}: {e}") from e
        if not in_bucket and not path.startswith("/"):
            raise UsageError(
                f"{key}: {path} is relative, and the tasks have no such folder: give it as they see it, e.g. "
                f"{pipeline_root(recipe)}/{path}"
            )


def _build_pipeline(recipe: Recipe, form: Sequence[Parameter], image: str) -> Any:
    from kfp import dsl

    config = recipe.kubeflow
    recipe_json = recipe.model_dump_json()

    def define(*channels: Any) -> None:
        values = {p.name: channel for p, channel in zip(form, channels, strict=True)}
        made: dict[str, Any] = {}
        for task in plan_tasks(recipe):
            given = values if INGEST.id in task.nodes else {"pipeline_root": values["pipeline_root"]}
            if INGEST.id in task.nodes:
                given = {**given, "recipe": recipe_json}
            taken = {a.name: made[producer_of(a.name)].outputs[a.name] for a in task.takes}
            built = build_component(task, form, image)(**given, **taken, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
            _set_up_task(built, task.name, task.asks, config)
            built.after(*(made[node] for node in task.waits_for))
            made.update(dict.fromkeys(task.nodes, built))
            if task.pushes:
                with dsl.If(built.outputs[VERDICT] != PUSHED, name="if nothing was pushed"):
                    refusal = build_refusal(image)(**{VERDICT: built.outputs[VERDICT]})
                    # It says a word: what it needs to start, but none of the work's resources and retries.
                    kept = config.defaults.model_dump(
                        include={"node_selector", "tolerations", "env", "secrets"}
                    )
                    _set_up_task(refusal, _REFUSAL, TaskConfig.model_validate(kept), config)

    define.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                p.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=p.default, annotation=p.kind
            )
            for p in form
        ]
    )
    told = "".join(f"\n    {p.name}: {p.description}" for p in form)
    # kfp has no other place for it in a package; `mirante submit` reads it there.
    runs_as = f" {RUNS_AS}{config.service_account}." if config.service_account else ""
    define.__doc__ = f"Mirante's pipeline {recipe.name}.{runs_as}\n\nArgs:{told}\n"
    return dsl.pipeline(name=recipe.name.replace("_", "-"), display_name=recipe.name)(define)


def _set_up_task(task: Any, name: str, asks: TaskConfig, config: KubeflowConfig) -> None:
    """Give a task its name and what it asks of the cluster."""
    from kfp import kubernetes

    task.set_display_name(name)
    # Whether something has to run again is TFX's to say: it knows the inputs, their contents and the code.
    task.set_caching_options(False)
    if asks.cpu:
        task.set_cpu_request(asks.cpu).set_cpu_limit(asks.cpu)
    if asks.memory:
        task.set_memory_request(asks.memory).set_memory_limit(asks.memory)
    if asks.gpu:
        task.set_accelerator_type(asks.gpu.type).set_accelerator_limit(asks.gpu.count)
    if asks.tpu:
        task.set_accelerator_type("google.com/tpu").set_accelerator_limit(asks.tpu.chips)
        kubernetes.add_node_selector(task, "cloud.google.com/gke-tpu-accelerator", asks.tpu.type)
        kubernetes.add_node_selector(task, "cloud.google.com/gke-tpu-topology", asks.tpu.topology)
    for key, value in asks.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in asks.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    if asks.retries:
        # Not by KFP, whose retries are what Argo's administrator makes of them: see the module of attempts.
        retries = Retries(asks.retries, asks.backoff_secs, asks.backoff_factor, asks.backoff_max_secs)
        task.set_env_variable(RETRIES, json.dumps(dataclasses.asdict(retries)))
    if asks.timeout_secs:
        kubernetes.set_timeout(task, asks.timeout_secs)
    for variable, value in asks.env.items():
        task.set_env_variable(variable, value)
    secrets = dict(asks.secrets)
    for variable, secret in (
        (USER_VARIABLE, config.metadata.user),
        (PASSWORD_VARIABLE, config.metadata.password),
    ):
        if secret is not None:
            secrets[variable] = secret
    for variable, secret in secrets.items():
        kubernetes.use_secret_as_env(task, secret.secret, {secret.key: variable})
    for volume in config.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.mount_path)
