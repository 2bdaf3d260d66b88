"""Trainer: fits the recipe's network on what Transform makes, and exports it with its signatures.

strategy.py     where it runs: one device, several, several machines, a TPU
task.py         what a network is trained for; classification.py, and components/tasks/detection/trainer.py
input.py        examples of a split by their number, through the Transform graph, to batches
augment.py      what is done to training batches; rand_augment.py: one of its options
levels.py       what black and white are in normalised images
pictures.py     a grid of what the network sees
optimizer.py    rates, optimisers, losses
fit.py          the stages: frozen backbone, then fine-tuning
loop.py         one stage: steps, epochs, evaluations
step.py         what is done to one batch
checkpoints.py  what is kept, so that a killed training goes on
warm_start.py   weights that it starts from, which weights_source.py finds and reads;
                object_detection_api.py: names of others' checkpoints
guard.py        stops what learns nothing; classification_guard.py, and components/tasks/detection/guard.py
evidence.py     what is certain of a mean, and of a share of right answers
tracking/       who is told of the course: TensorBoard, Weights & Biases, MLflow
cluster.py      one training in several processes
job.py          one training as data; runs it
export.py       the SavedModel: Transform graph and network behind the serving signatures
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: FnArgs) -> None:
    """TFX's entry point: trains on the `train` split, steers by `eval`, writes the model.

    Args:
        fn_args: `custom_config` holds `transform`, `model` and `training`, the recipe's parts as dicts, and
            `checkpoints`, the folder of all trainings' checkpoints. `hyperparameters`, where there are any,
            come before what is in these.

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
