"""Trainer: fits the recipe's network on what Transform makes, and exports it with its signatures.

job.py          one training, as data
material.py     what it is made from: examples, classes, the Transform graph
train.py        trains a job's network and exports it
run.py          what the parts below hand on: what learns, from what, and where
fit.py          the stages: frozen backbone, then fine-tuning
stage.py        one stage; progress.py: how far it is; loop.py runs it; step.py: one step, one evaluation
trainee.py      what the Trainer asks of a task (components/tasks/*/trainer.py)
input/          examples of a split by their number, through the Transform graph, in an order, to batches
augment/        varies training batches
class_balance.py  weights of the loss for classes of different size
strategy.py     where a training runs: one device, several, several machines, a TPU
optimizers/     learning rates and optimisers, and the moving average of the weights
checkpoints.py  what a killed training resumes from
warm_start/     the weights that a training starts from
guard.py        stops a training that learns nothing; evidence.py: what a mean or a share proves
tracking/       where metrics are sent: TensorBoard, Weights & Biases, MLflow
cluster/        one training in several processes
export.py       the SavedModel: Transform graph and network behind the serving signatures
class_module.py what the SavedModels for whole images share; heat.py: where they look
fields.py       fields of the recipe by name, for a search
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: FnArgs) -> None:
    """Train on the `train` split, steer by `eval`, and write the model: TFX's entry point.

    Args:
        fn_args: `custom_config` holds the recipe's `task`, its parts `transform`, `model` and `training` as
            dicts, and `checkpoints`, the folder of all trainings' checkpoints. `hyperparameters`, if there
            are any, replace values of these parts.

    Raises:
        MiranteError: The network cannot be built as configured, a split is empty, the machine does not have
            what `training.strategy` asks for, `training.warm_start` does not fit, or nothing is learned.
    """
    from components.trainer.cluster.pods.config import requested_workers
    from components.trainer.cluster.processes import run_as_chief, run_with_worker_pods
    from components.trainer.config import TrainingConfig
    from components.trainer.job import Job
    from components.trainer.strategy import is_cluster
    from components.trainer.train import run_job

    job = Job.of(fn_args)
    training = TrainingConfig.model_validate(job.custom_config["training"])
    workers = requested_workers()
    takes_cluster = training.strategy in ("auto", "multi_worker")
    if takes_cluster and is_cluster():
        run_as_chief(job)
    elif takes_cluster and workers:
        run_with_worker_pods(job, workers)
    else:
        run_job(job, training)
