"""Trainer: fits the recipe's network on what Transform makes, and exports it with its signatures.

input.py    records of a split, through the Transform graph, to batches
fit.py      the optimiser, the stages (frozen backbone, then fine-tuning), the callbacks
export.py   the SavedModel: Transform graph and network behind the serving signatures
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: FnArgs) -> None:
    """TFX's entry point: trains on the `train` split, steers by `eval`, writes the model.

    Args:
        fn_args: `custom_config` holds `transform`, `model` and `training`, the recipe's parts as dicts.

    Raises:
        MiranteError: The network cannot be built as configured, or a split is empty.
    """
    import keras
    import tensorflow_data_validation as tfdv
    import tensorflow_transform as tft

    from components.config import ModelConfig, TrainingConfig, TransformConfig
    from components.models import build_model
    from components.trainer import export, fit
    from components.trainer.input import SplitInput
    from schemas import features
    from schemas.curated import class_names_of

    transform = TransformConfig.model_validate(fn_args.custom_config["transform"])
    training = TrainingConfig.model_validate(fn_args.custom_config["training"])
    model_config = ModelConfig.model_validate(fn_args.custom_config["model"])
    class_names = class_names_of(tfdv.load_schema_text(fn_args.schema_path))

    keras.backend.clear_session()
    keras.utils.set_random_seed(training.seed)
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    train = SplitInput(features.TRAIN, fn_args.train_files, tft_output)
    evaluation = SplitInput(features.EVAL, fn_args.eval_files, tft_output)
    model = build_model(
        model_config, (transform.height_px, transform.width_px, transform.channels), len(class_names)
    )
    fit.fit(
        model,
        train,
        evaluation,
        training,
        pretrained=model_config.weights is not None,
        log_dir=fn_args.model_run_dir,
    )
    export.save_model(model, tft_output, class_names, fn_args.serving_model_dir)
    model.save(f"{fn_args.model_run_dir}/model.keras")
