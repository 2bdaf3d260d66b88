"""Tuner: searches for better values of some fields of the recipe's `model` and `training`.

component.py    TFX's component, and what it writes
oracles.py      which values are tried next
search.py       the trials, each a training

Every trial is a training by the Trainer's own code (components/trainer/train.py), judged on the eval split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs
    from tfx.components.tuner.component import TunerFnResult


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Return a search that `search()` starts, or resumes after a kill: TFX's entry point.

    Args:
        fn_args: `custom_config` holds what the Trainer's does, with `tuner`, the recipe's part as a dict, and
            as `checkpoints` the folder of all searches.

    Raises:
        MiranteError: A split is empty, or the machine does not have what `training.strategy` asks for.
    """
    from tfx.components.tuner.component import TunerFnResult

    from components.trainer.job import Job
    from components.tuner.search import Search

    job = Job(
        train_files=fn_args.train_files,
        eval_files=fn_args.eval_files,
        # The Trainer's executor calls it `transform_output` too, the Tuner's does not.
        transform_output=fn_args.transform_graph_path,
        schema_path=fn_args.schema_path,
        custom_config=fn_args.custom_config,
        serving_model_dir="",
        model_run_dir="",
        base_model=fn_args.base_model,
    )
    return TunerFnResult(tuner=Search(job), fit_kwargs={})
