"""A pushed model from pixels on: what exports have in them.

A pushed model takes image files. Devices have pixels, from a camera or a decoder of their own, and their
runtimes have no decoder. So an export begins where the Transform graph has decoded and resized an image:

    images    uint8 [N, height, width, channels]   RGB, or gray with one channel, of the network's size

What comes after is inside: normalisation, the network, and what makes answers of its outputs. The graph of
the signature `serving_tf_examples` is cut there, so that models of every version can be exported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from components.base.arrays import Array
from components.base.errors import UsageError
from components.base.saved_model import class_names_of, task_of
from components.base.task import part
from components.exporter.protocol import TaskExport

SIGNATURE = "serving_tf_examples"
INPUT = "images"
_WHOLE = (0.0, 0.0, 1.0, 1.0)


class PixelModel:
    """A pushed model, cut where images are pixels.

    Args:
        folder: The SavedModel.

    Attributes:
        folder: As given.
        task: The recipe's task.
        class_names: All classes, in the order of their labels.
        shape: Height, width and channels of the pixels.
        outputs: Names of the outputs.

    Raises:
        UsageError: It is not a model that a run pushed, or its pixels are not found.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._loaded = tf.saved_model.load(str(folder))
        if SIGNATURE not in self._loaded.signatures:
            raise UsageError(f"{folder}: the model has no signature {SIGNATURE}: was it pushed by a run?")
        signature = self._loaded.signatures[SIGNATURE]
        self.task = task_of(str(folder))
        self.class_names = tuple(class_names_of(str(folder)) or ())
        asked: TaskExport = part(self.task, "export")
        self.outputs = asked.OUTPUTS
        # Outputs of a signature are in the order of their names.
        names = sorted(signature.structured_outputs)
        self._frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False)
        fetched = dict(zip(names, self._frozen.outputs, strict=True))
        self._pixels, frames = _find_pixels(folder, self._frozen.graph)
        self._fetches = [fetched[name] for name in self.outputs]
        self.shape: tuple[int, int, int] = tuple(self._pixels.shape[1:])
        self._read = self._frozen.prune(self._frozen.inputs, [self._pixels, *frames])
        self._answer = self._frozen.prune([self._pixels, *frames], self._fetches)
        self._has_frame = bool(frames)

    @property
    def signatures(self) -> Mapping[str, Any]:
        """The functions that servers serve, by their names."""
        return dict(self._loaded.signatures)

    def read_pixels(self, records: Sequence[bytes]) -> tuple[Array, Array | None]:
        """Return what a device would have of serialized examples.

        Returns:
            The pixels, uint8 [N, H, W, C]; and where the images are in them, without padding, float32 [N, 4]
            as shares (xmin, ymin, xmax, ymax), None if the answers do not depend on it.
        """
        pixels, *frames = self._read(tf.constant(list(records)))
        rounded = tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)
        return rounded.numpy(), frames[0].numpy() if frames else None

    def answer_records(self, records: Sequence[bytes]) -> dict[str, Array]:
        """Return the outputs of the model itself for serialized examples."""
        found = self._loaded.signatures[SIGNATURE](examples=tf.constant(list(records)))
        return {name: found[name].numpy() for name in self.outputs}

    def answer(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs for pixels, float32 [N, H, W, C] in 0..255, in a graph."""
        given = [pixels]
        if self._has_frame:
            # No padding: boxes are shares of the pixels that come in.
            given.append(tf.tile(tf.constant([_WHOLE]), [tf.shape(pixels)[0], 1]))
        return dict(zip(self.outputs, self._answer(*given), strict=True))

    def make_function(self, count: int | None, dtype: Any = tf.uint8) -> Any:
        """Return a `tf.function` from `images` to the outputs.

        Args:
            count: The number of images that it takes; any when None.
            dtype: Of the images: uint8 or float32, 0..255.
        """

        def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
            found = self.answer(tf.cast(images, tf.float32))
            # Not `tf.ensure_shape`, which LiteRT does not have.
            return {
                name: tf.reshape(value, [count or -1, *value.shape[1:]], name=name)
                for name, value in found.items()
            }

        spec = tf.TensorSpec([count, *self.shape], dtype, name=INPUT)
        return tf.function(answer, input_signature=[spec], autograph=False)


def _find_pixels(folder: Path, graph: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return where the images are decoded and resized, and where their frames are if the answers need them.

    Transform maps over images, and stacks what it gets of each.
    """
    stacks = [node.outputs[0] for node in graph.get_operations() if node.type == "TensorListStack"]
    pixels = [each for each in stacks if each.dtype == tf.float32 and each.shape.rank == 4]
    frames = [each for each in stacks if each.dtype == tf.float32 and each.shape.as_list()[1:] == [4]]
    if len(pixels) != 1 or None in pixels[0].shape.as_list()[1:] or len(frames) > 1:
        raise UsageError(
            f"{folder}: expected a model with one stack of decoded images in it, got {len(pixels)}; "
            "a model with a Transform graph of its own cannot be exported"
        )
    return pixels[0], frames
