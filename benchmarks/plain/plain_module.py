"""The user module of the plain arrangement: preprocessing_fn and run_fn as TFX's image examples write them.

Transform materialises its pixels, and the Trainer reads them back by `fn_args.data_accessor`. The network,
the optimiser, the loss and the operations on pixels are Mirante's own, so that both sides compute the same.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx_bsl.public import tfxio

from components.models import BACKBONE, build_model
from components.models.config import ModelConfig
from components.tasks.classification.trainer import cross_entropy
from components.trainer.config import TrainingConfig
from components.trainer.optimizers.make import learning_rate, make_optimizer
from components.trainer.step import count_steps
from components.transform import pixels as pixels
from components.transform.config import TransformConfig
from schemas import features

IMAGE = "image_xf"
LABEL = "label_xf"


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Decodes one image after the other, then resizes and normalises."""
    config = TransformConfig.model_validate(custom_config["transform"])
    images = tf.map_fn(
        lambda encoded: pixels.resize(pixels.decode(encoded[0], config.channels), config),
        inputs[features.ENCODED],
        fn_output_signature=tf.TensorSpec((config.height_px, config.width_px, config.channels), tf.float32),
    )
    return {IMAGE: pixels.normalize(images, config), LABEL: inputs[features.LABEL]}


def input_fn(
    files: list[str],
    accessor: tfx.components.DataAccessor,
    tft_output: tft.TFTransformOutput,
    batch_size: int,
) -> tf.data.Dataset:
    """Batches of `(pixels, label)` without end, from the materialised examples."""
    dataset = accessor.tf_dataset_factory(
        files,
        tfxio.TensorFlowDatasetOptions(batch_size=batch_size, label_key=LABEL),
        tft_output.transformed_metadata.schema,
    )
    return dataset.map(lambda examples, label: (examples[IMAGE], tf.reshape(label, (-1,)))).repeat()


class Served(tf.Module):
    """The network behind the Transform graph."""

    def __init__(self, model: keras.Model, tft_output: tft.TFTransformOutput):
        super().__init__()
        self.model = model
        self.tft_layer = tft_output.transform_features_layer()
        self.raw_spec = {features.ENCODED: tft_output.raw_feature_spec()[features.ENCODED]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> tf.Tensor:
        """Serialized examples, string [N], to logits."""
        return self.model(self.tft_layer(tf.io.parse_example(examples, self.raw_spec))[IMAGE], training=False)


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Fits on the materialised examples, with a validation after each epoch like Mirante, and exports."""
    settings = fn_args.custom_config
    size = TransformConfig.model_validate(settings["transform"])
    model_config = ModelConfig.model_validate(settings["model"])
    training = TrainingConfig.model_validate(settings["training"])
    keras.utils.set_random_seed(training.seed)
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    batch_size = training.batch_size(num_replicas=1)
    train, evaluation = (
        input_fn(files, fn_args.data_accessor, tft_output, batch_size)
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    model = build_model(model_config, (size.height_px, size.width_px, size.channels), settings["classes"])
    if model_config.weights is not None:
        model.get_layer(BACKBONE).trainable = False
    steps_per_epoch = count_steps(settings["train_images"], 1, batch_size)
    rate = learning_rate(
        training,
        training.learning_rate,
        training.epochs * steps_per_epoch,
        training.warmup_epochs * steps_per_epoch,
    )
    loss = cross_entropy(training.label_smoothing)
    model.compile(
        optimizer=make_optimizer(training, rate),
        # Keras hands labels over as floats.
        loss=lambda labels, logits: loss(tf.cast(labels, tf.int64), logits),
        metrics=["accuracy"],
        jit_compile=settings["jit_compile"],
    )
    model.fit(
        train,
        epochs=training.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=evaluation,
        validation_steps=count_steps(settings["eval_images"], 1, batch_size),
        callbacks=[keras.callbacks.TensorBoard(fn_args.model_run_dir, update_freq="epoch")],
        verbose=2,
    )
    served = Served(model, tft_output)
    tf.saved_model.save(served, fn_args.serving_model_dir, signatures={"serving_default": served.serve})
