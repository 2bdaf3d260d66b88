"""The first Kubeflow task of a run: checks the parameters, ingests and plans the run.

It builds the pipeline and leaves what TFX compiles it to under the pipeline root; every other task takes its
node from there. So all tasks of a run agree, and each imports only what its node needs.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.base.imports import without_collector
from components.base.outcome import Output
from components.base.owned import MARK, root_id
from components.base.paths import is_remote, write_atomically
from components.base.redact import redact
from pipeline.data.examples import Examples
from pipeline.data.window import check_window
from pipeline.engines import places
from pipeline.recipe.best import BEST_FILE
from pipeline.recipe.recipe import Recipe
from pipeline.run.plain_paths import is_plain
from pipeline.run.unchanged import find_unchanged, fingerprint_run
from pipeline.steps import INGEST, STEPS, node_ids
from pipeline.storage.mirror import Mirror
from pipeline.storage.root_lease import RootLease
from pipeline.targets.kubeflow.artifacts import write_artifacts
from pipeline.targets.kubeflow.kept import is_as_left
from pipeline.targets.kubeflow.log import log_task
from pipeline.targets.kubeflow.plan import Plan, read_plan, run_folder, write_plan
from schemas import features

_IN_THE_PACKAGE = (
    "which tasks there are, and what each asks of the cluster, is in the package; "
    "`mirante compile --set` makes another"
)


def ingest(
    recipe: str,
    settings: Mapping[str, Any],
    overrides: Mapping[str, Any],
    pipeline_root: str,
    run_id: str,
    view: Any,
    artifacts: Mapping[str, Any] | None = None,
) -> None:
    """Check a run's parameters, ingests what it reads, and plans it under the pipeline root.

    Args:
        recipe: As JSON, all keys of it.
        settings: What the run's parameters say, by recipe key; an empty text is as if not given.
        overrides: More of them, by recipe key.
        pipeline_root: A folder on a volume, or gs://BUCKET/... or s3://BUCKET/...
        run_id: Names the run; a task that is tried again has the same.
        view: Gets the page; kfp's `Output[HTML]`.
        artifacts: Get the data and the schema; kfp's `Output[...]` by name.

    Raises:
        SystemExit: The task failed; the last line of its log says why.
    """
    mirror = Mirror(os.environ)
    with (
        log_task(INGEST.id, run_id, pipeline_root, mirror) as (console, attempts),
        contextlib.ExitStack() as held,
    ):
        from components.model_stores.store import check_can_publish
        from components.schema_gen.schema_file import write_schema
        from pipeline.data import prepare
        from pipeline.recipe.load import list_keys, override, resolve
        from pipeline.run.console import print_row
        from pipeline.run.nodes import prepare_data
        from pipeline.storage import metadata_store
        from pipeline.storage.node_files import check_can_push, fetch_versions
        from pipeline.targets.kubeflow.inputs import fetch_raw, leave_ingested, take_weights

        values = json.loads(recipe)
        packaged = resolve(json.loads(recipe), "the package", elsewhere=True)
        has_tasks = node_ids(packaged.optional_steps)
        for key, value in settings.items():
            override(values, key, None if value == "" else value, f"parameter for {key}")
        for key, value in overrides.items():
            if str(key).strip().partition(".")[0] == "kubeflow":
                raise UsageError(f"overrides: {key}: {_IN_THE_PACKAGE}")
            override(values, str(key), value, f"overrides: {key}")
        # As the tasks see it: files in buckets are not here yet.
        asked = resolve(copy.deepcopy(values), "the run's parameters", elsewhere=True)
        if added := set(node_ids(asked.optional_steps)).symmetric_difference(has_tasks):
            raise UsageError(
                f"overrides: with them the pipeline's nodes are others ({', '.join(sorted(added))}): "
                f"{_IN_THE_PACKAGE}"
            )
        kubeflow = asked.kubeflow
        # Places that cannot be written to are reported before anything is read.
        kubeflow.check_root(pipeline_root)
        places.check_tasks(asked.beam, pipeline_root, asked.images)
        check_window(asked.data, pipeline_root)
        root = mirror.local(pipeline_root)
        folder = run_folder(root, run_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(
                f"pipeline_root: user {os.getuid()} cannot write to {pipeline_root}: {e.strerror}. Is a "
                "volume of kubeflow.volumes mounted there, and is it this user's? The log of the "
                "pod mirante-data (kubeflow/manifests/volume.yaml) says what to do"
            ) from e
        write_atomically(folder / "recipe.json", asked.model_dump_json(indent=1).encode())
        mirror.send(str(folder))
        connection = metadata_store.require_store(kubeflow.metadata, root, os.environ)
        lease = RootLease(connection, pipeline_root, run_id, INGEST.id)
        held.enter_context(lease.held(tried_again_after=attempts.wait_after))
        weights = take_weights(values, mirror)
        resolved = resolve(values, "the run's parameters")
        fetch_raw(mirror, resolved.data)
        bulk = resolved.bulk_inference
        images = [bulk.path] if bulk is not None and bulk.path is not None else []
        for path in images:
            mirror.fetch(path)
        # Another span may arrive any time: from here on it is this one.
        resolved = resolved.model_copy(update={"data": prepare.choose_newest_span(resolved.data)})
        if asked.data.path is not None and is_remote(asked.data.path) and prepare.find_ready(resolved.data):
            places.check_copies(asked.beam, "examples", asked.data.path)
        prepare.check_config(resolved.data, resolved.task)
        prepare.check_effect(resolved.data, list_keys(overrides), "overrides: ")
        mirror.fetch(str(Path(root) / MARK))
        root_id(Path(root))
        mirror.send(str(Path(root) / MARK))
        # Files that a killed task had sent are not taken up: shards and manifest may not belong together.
        ingested = prepare.ingest_folder(resolved.data, Path(root))
        mirror.fetch(str(ingested), unless_missing=features.MANIFEST)
        pushed_to = resolved.push_destination(root)
        check_can_push(mirror, pushed_to)
        check_can_publish(resolved.push.also)
        # The served model says which classes the data must have.
        fetch_versions(mirror, pushed_to)
        # Copies of a bucket's objects are new files in each pod, and have the objects' times.
        read = [path for path in (resolved.data.path, resolved.data.images) if path]
        copied = bool(read) and all(map(mirror.copies, read))
        examples = prepare_data(resolved, Path(root), console, trust_times=copied)
        if examples.folder == ingested:
            leave_ingested(mirror, ingested, Path(root))
        for key, path in (("pipeline_root", root), ("data_root", str(examples.folder))):
            if not is_plain(path):
                raise UsageError(
                    f"{key}: {path}: expected a path without *, ?, [, ] and \\, which TFX reads as patterns; "
                    "rename the folder"
                )
        schema_file = write_schema(examples.class_names, Path(root) / "schema", examples.task)
        mirror.send(str(schema_file))
        print_row(console, "will run", " > ".join(node_ids(resolved.optional_steps)))

        fingerprint = fingerprint_run(resolved, examples, schema_file, root, pushed_to)
        nodes = node_ids(resolved.optional_steps)
        same_as = find_unchanged(
            root, run_id, fingerprint, lambda kept: is_as_left(kept, nodes, mirror), mirror
        )
        if same_as is not None:
            console.print(f"  unchanged   every node keeps its result of run {same_as}", soft_wrap=True)
            _, compiled = read_plan(run_folder(root, same_as), mirror)
            if (best := run_folder(root, same_as) / BEST_FILE).is_file():
                shutil.copyfile(best, folder / BEST_FILE)
        else:
            compiled = _compile(resolved, examples, str(schema_file), root)
        files = {"shards": [str(examples.folder)], "schema": [str(schema_file)], "weights": weights}
        files["images"] = images
        reads = {step.id: files[step.reads] for step in STEPS if step.reads}
        plan = Plan(
            resolved.name,
            resolved.task,
            list(examples.class_names),
            kubeflow.metadata.model_dump(),
            kubeflow.workers.model_dump() if kubeflow.workers else None,
            {node: [mirror.shown(path) for path in paths] for node, paths in reads.items()},
            mirror.shown(pushed_to),
            node_ids(resolved.optional_steps)[-1],
            fingerprint,
            same_as,
        )
        write_plan(folder, plan, compiled)
        write_atomically(folder / "recipe.json", mirror.shown(resolved.model_dump_json(indent=1)).encode())
        mirror.send(str(folder))

        from pipeline.pages import make_page

        about = {"span": str(examples.span)} if examples.span else {}
        data = {"data": Output(str(examples.folder), about)}
        page = make_page(INGEST.id, data, resolved.task, examples.class_names)
        given = {**data, "schema": Output(str(schema_file), {})}
        write_artifacts(INGEST, given, artifacts or {}, mirror.shown)
        Path(view.path).write_text(redact(mirror.shown(page.html)), encoding="utf-8")


def _compile(recipe: Recipe, examples: Examples, schema_file: str, root: str) -> bytes:
    """Return the pipeline as TFX compiles it."""
    with without_collector():
        from pipeline.definition import compile_pipeline

    compiled = compile_pipeline(recipe, examples, schema_file, root)
    return bytes(compiled.SerializeToString(deterministic=True))
