"""The SavedModel: the Transform graph and the network behind the signatures that every pushed model has.

    serving_default       image_bytes  string [N]  encoded images (TF Serving: `{"b64": ...}`)
    serving_tf_examples   examples     string [N]  serialized tf.train.Example of the data contract

What both give is the task's: components/tasks/*/serving.py, which may add signatures. `serving_default`
brings images into canonical form (components/transform/canonical_graph.py); those of examples have it. The
functions `canonical` (image_bytes to the input of the Transform graph) and `transform` (to pixels) are saved
too: they show what the network sees. So is `explain`, where the task and the network have it: it shows where
the network looks. Servers serve signatures alone, so that functions cost them nothing.

Python alone decides what the graphs hold, as in Keras: AutoGraph would first rewrite the code of Keras and of
TensorFlow Transform, which takes four times as long as the rest of an export.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.base import files
from components.base.saved_model import WARM_UP_FILE, describe_answers
from components.trainer.checkpoints import unique_paths
from components.trainer.warm_up import write_warm_up
from components.transform.canonical_graph import canonical
from components.transform.pixels import IMAGE
from schemas import features


class ServingModule(tf.Module):
    """Everything from encoded images to answers, as it is saved.

    Args:
        model: The network.
        tft_output: The Transform graph.
        class_names: In the order of the labels.
    """

    # The recipe's `task`.
    task: str
    # `data.bit_depth` of what it was trained on, if that is not the default.
    bit_depth: str | None = None
    # Height and width that images are padded to, where `transform.resize` is `pad`.
    padded_to: tuple[int, int] | None = None

    def __init__(self, model: keras.Model, tft_output: tft.TFTransformOutput, class_names: list[str]):
        super().__init__(name="mirante")
        self.model = model
        # Under this name, the shortest, the variables are in the SavedModel's checkpoint, so that they can
        # be read one by one (components/trainer/warm_start/source.py). Keras' own objects: the variables of
        # TensorFlow below them would count as others, and be written again.
        self.weights = unique_paths(model.variables)
        # A Keras 2 layer: as an attribute its variables and assets are saved, and it is called in a graph.
        self.transform_layer = _without_functions(tft_output.transform_features_layer())
        self.class_names = tf.constant(class_names)
        self.names = tuple(class_names)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False)
    def transform(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Turn images, string [N], into float32 [N, H, W, C]: exactly the pixels that training saw."""
        return self.apply_transform(self.canonical(image_bytes))[IMAGE]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False)
    def canonical(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Turn encoded images, string [N], into the form in which ingest stores them, pixel by pixel."""
        return canonical(image_bytes, self.bit_depth)

    def trace_shared(self) -> None:
        """Trace what other functions call once, instead of for each of them and to save it."""
        for name in ("canonical", "transform"):
            setattr(self, name, getattr(self, name).get_concrete_function())

    def apply_transform(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Apply the Transform graph to canonical images, string [N], without labels."""
        return dict(self.transform_layer({features.ENCODED: tf.reshape(encoded, (-1, 1))}))

    def predict(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the output of both signatures for canonical images, string [N]."""
        raise NotImplementedError

    def make_explainer(self) -> Any:
        """Return the function `explain` to save; None where the task or the network has none."""
        return None

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False)
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for encoded images, string [N]."""
        return self.predict(self.canonical(image_bytes))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def serving_tf_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for serialized examples, string [N]; only `image/encoded` is read."""
        parsed = tf.io.parse_example(examples, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)})
        return self.predict(parsed[features.ENCODED])

    def list_signatures(self) -> dict[str, Any]:
        """Return the functions to serve by their names."""
        return {"serving_default": self.serving_default, "serving_tf_examples": self.serving_tf_examples}

    def list_files(self) -> Mapping[str, str]:
        """Return the contents of more files of the model, by their paths in its folder."""
        return {}


def _without_functions(layer: Any) -> Any:
    """Have a Keras 2 layer be saved with what it tracks, without its own functions: nothing calls them."""
    children = layer._trackable_children
    layer._trackable_children = lambda save_type="checkpoint", **_: children("checkpoint")
    return layer


def save_module(module: ServingModule, folder: str, records: Sequence[bytes] = ()) -> None:
    """Write the SavedModel with its signatures, its class names and its task.

    Args:
        module: The model.
        folder: Where it goes.
        records: Serialized examples, which servers send through every signature before they serve the model
            (components/trainer/warm_up.py); none for no such requests.
    """
    module.trace_shared()
    explain = module.make_explainer()
    if explain is not None:
        module.explain = explain
    signatures = module.list_signatures()
    with _one_node_per_variable():
        tf.saved_model.save(module, folder, signatures=signatures)
    described = describe_answers(module.names, module.task, module.bit_depth)
    for name, content in {**described, **module.list_files()}.items():
        files.write_text(os.path.join(folder, name), content)
    if records:
        write_warm_up(os.path.join(folder, WARM_UP_FILE), list(signatures), records)


@contextlib.contextmanager
def _one_node_per_variable() -> Iterator[None]:
    """Have Keras' variables and TensorFlow's below them share a node of the saved graph.

    Keras gives its own variables other nodes. The graph's restore operation fills those, but the signatures
    read TensorFlow's, which stay empty in servers that restore by the graph, such as TF Serving.
    """
    original = keras.Variable._export_to_saved_model_graph

    def export(self: Any, object_map: Any, tensor_map: Any, options: Any, **others: Any) -> Any:
        resources = self.value._export_to_saved_model_graph(object_map, tensor_map, options, **others)
        object_map[self] = object_map[self.value]
        return resources

    keras.Variable._export_to_saved_model_graph = export
    try:
        yield
    finally:
        keras.Variable._export_to_saved_model_graph = original
