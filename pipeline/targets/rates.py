"""`mirante lr-find`: the nodes of a run up to Transform, and a training of few steps with rising rates."""

from __future__ import annotations

import datetime
import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from components.base.outcome import RunResult
from components.schema_gen.schema_file import write_schema
from pipeline.recipe.recipe import Recipe
from pipeline.run.console import quiet_libraries, show_working
from pipeline.run.nodes import prepare_data, run_nodes
from pipeline.run.plain_paths import plain_path
from pipeline.storage.metadata_copy import pass_over_numbers
from pipeline.storage.metadata_store import METADATA_FILE, sqlite_store
from pipeline.storage.root_lock import lock_root
from pipeline.targets.local import redirect_temporary_files

if TYPE_CHECKING:
    from components.trainer.rate_finder import Sweep

_LAST = "Transform"


def find_rates(recipe: Recipe, root: Path, console: Console, low: float, high: float, steps: int) -> Sweep:
    """Prepare the data of a recipe as its run does, and try learning rates on them.

    Nodes keep their results, so a run afterwards, with the same data and transform, does not repeat them.

    Raises:
        MiranteError: The data cannot be trained on, or the loss falls with none of the rates.
    """
    run_id = datetime.datetime.now().strftime("%Y%m%dT%H%M%S.%f")[:-3]
    result = RunResult(recipe.name, run_id, str(root))
    log = root / "logs" / f"{run_id}.log"
    result.log = str(log)
    plain_root = plain_path(root)
    recipe = recipe.model_copy(update={"tuner": None, "export": None, "bulk_inference": None})
    with lock_root(root), quiet_libraries(log, console), redirect_temporary_files(plain_root):
        examples = prepare_data(recipe, root, console)
        schema_file = write_schema(examples.class_names, plain_root / "schema", examples.task)
        with show_working(console, "loading TFX"):
            from components.trainer.job import Job
            from components.trainer.rate_finder import find_rate
            from pipeline.definition import compile_pipeline
            from pipeline.run.node import NodeRunner
            from pipeline.target import Target
            from pipeline.training import training_config

        intermediate = compile_pipeline(recipe, examples, str(schema_file), str(plain_root))
        nodes = NodeRunner(intermediate, sqlite_store(plain_root), run_id)
        only = nodes.node_ids[: nodes.node_ids.index(_LAST) + 1]
        nodes.clear_unfinished(only)
        pass_over_numbers(plain_root / METADATA_FILE)
        pushed_to = recipe.push_destination(str(root))
        run_nodes(nodes, result, console, examples.class_names, pushed_to, only)
        shards = glob.escape(nodes.results["ImportExampleGen"].outputs["examples"].uri)
        job = Job(
            train_files=[os.path.join(shards, "Split-train", "*")],
            eval_files=[os.path.join(shards, "Split-eval", "*")],
            transform_output=nodes.results[_LAST].outputs["transform_graph"].uri,
            schema_path=str(schema_file),
            custom_config=training_config(recipe, examples, str(plain_root), Target()),
            serving_model_dir="",
            model_run_dir="",
        )
        with show_working(console, "trying learning rates"):
            return find_rate(job, low, high, steps)
