"""A SavedModel with weights of 16 bits: half the size, the same signatures, for the same servers.

It computes in 32 bits, since few processors compute convolutions in 16. The function `answer` takes pixels,
as the other formats do; `explain`, by which `mirante predict` makes heat maps, is left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from components.base.arrays import Array
from components.base.saved_model import ASSETS, CARD_FILES, class_aliases_of
from components.exporter.pixel_model import INPUT, PixelModel
from components.exporter.protocol import Ask

# Biases, scales and variances are vectors: they are small, and 16 bits may not have their exponents.
_LEAST_VALUES, _LEAST_RANK = 256, 2
_LARGEST = 65504.0


class _HalfModule(tf.Module):
    """Signatures whose large constants are variables of 16 bits, shared where they are equal."""

    def __init__(self) -> None:
        super().__init__(name="mirante")
        self.weights: dict[str, tf.Variable] = {}

    def halve(self, frozen: Any, inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor]) -> Any:
        """Return a function of the inputs that reads the weights from the variables."""
        constants, keys = [], []
        for node in frozen.graph.get_operations():
            if node.type != "Const" or node.outputs[0].dtype != tf.float32:
                continue
            value = tf.make_ndarray(node.get_attr("value"))
            if (
                value.size < _LEAST_VALUES
                or value.ndim < _LEAST_RANK
                or not np.all(np.abs(value) <= _LARGEST)
            ):
                continue
            key = hashlib.sha256(repr(value.shape).encode() + value.tobytes()).hexdigest()[:16]
            if key not in self.weights:
                self.weights[key] = tf.Variable(value.astype(np.float16), trainable=False)
            constants.append(node.outputs[0])
            keys.append(key)
        pruned = frozen.prune([*inputs, *constants], list(outputs))
        return lambda *given: pruned(*given, *(tf.cast(self.weights[key], tf.float32) for key in keys))


def convert(model: PixelModel, calibration: Iterable[Array], folder: Path) -> None:
    """Write the model with all of its signatures."""
    module = _HalfModule()
    signatures = {}
    for name, signature in model.signatures.items():
        frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False)
        halved = module.halve(frozen, frozen.inputs, frozen.outputs)
        outputs = sorted(signature.structured_outputs)

        def answer(halved: Any = halved, outputs: Any = outputs, **given: tf.Tensor) -> dict[str, tf.Tensor]:
            return dict(zip(outputs, halved(*given.values()), strict=True))

        _, specs = signature.structured_input_signature
        signatures[name] = tf.function(answer, autograph=False).get_concrete_function(**specs)
    frozen = convert_variables_to_constants_v2(
        model.make_function(None).get_concrete_function(), lower_control_flow=False
    )
    halved = module.halve(frozen, frozen.inputs, frozen.outputs)
    spec = tf.TensorSpec([None, *model.shape], tf.uint8, name=INPUT)

    def answer_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(sorted(model.outputs), halved(images), strict=True))

    module.answer = tf.function(answer_pixels, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, str(folder), signatures=signatures)
    copy_assets(model.folder, folder)


def copy_assets(source: Path, folder: Path) -> None:
    """Copy what stands next to a model, if anything does, without the model card.

    Only the classes' names in further languages are taken from the card: its figures are the original's.
    """
    if not (source / ASSETS).is_dir():
        return
    ignored = shutil.ignore_patterns(*(Path(name).name for name in CARD_FILES))
    shutil.copytree(source / ASSETS, folder / ASSETS, ignore=ignored)
    if aliases := class_aliases_of(str(source)):
        content = json.dumps({"model_details": {"class_aliases": aliases}}, ensure_ascii=False, indent=1)
        (folder / CARD_FILES[1]).write_text(f"{content}\n", encoding="utf-8")


def load(folder: Path) -> Ask:
    """Load the folder with TensorFlow."""
    loaded = tf.saved_model.load(str(folder))

    def ask(pixels: Array) -> dict[str, Array]:
        return {name: value.numpy() for name, value in loaded.answer(tf.constant(pixels)).items()}

    return ask
