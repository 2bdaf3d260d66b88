"""Heat maps that show where a network looks for a class, computed in the graph of the served model.

The features are the maps nearest to the logits that come from a convolution. What a place adds to the class's
logit is the sum over the channels of feature times gradient. Where the maps are averaged over the image, as
all built-in networks but LeNet do, the gradient is the same at all places, and this is Grad-CAM. LeNet's head
tells places apart: the mean gradient, which Grad-CAM takes, loses them there, and its map can be empty.

Sources: Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization,
2017; Draelos and Carin, Use HiResCAM instead of Grad-CAM for faithful explanations, 2020.
"""

import tensorflow as tf

# Types of TensorFlow's operations; the last one is a transposed convolution.
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput")


class NoFeaturesError(Exception):
    """The network has no convolution of which a map could be made."""


def make_heat_maps(pixels: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return how much each place of an image speaks for a class: float32 [N, h, w] in 0..1.

    The highest value of a map is 1; a map is all 0 where nothing in the image speaks for the class.

    Args:
        pixels: What the network took, [N, H, W, C], in the graph that is being traced.
        logits: What it gave for them, [N, classes].
        labels: The class that each map is about, int64 [N].

    Raises:
        NoFeaturesError: There is no convolution between pixels and logits, or no gradient.
    """
    features = _find_features(pixels, logits)
    chosen = tf.gather(logits, labels, axis=1, batch_dims=1)
    (gradients,) = tf.gradients(chosen, features)
    if gradients is None:
        raise NoFeaturesError("the logits have no gradient with respect to the last convolution")
    features, gradients = (tf.cast(each, tf.float32) for each in (features, gradients))
    heat = tf.nn.relu(tf.reduce_sum(gradients * features, axis=-1))
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True))


def _find_features(pixels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the maps [N, h, w, C] after a convolution that are nearest to the logits."""
    convolved = _find_convolved(pixels)
    waiting, seen = [logits], {logits.ref()}
    for tensor in waiting:  # grows: a search in breadth, backwards
        if tensor.op.outputs[0].ref() not in convolved:
            continue
        if _is_map(tensor):
            return tensor
        new = [each for each in tensor.op.inputs if each.ref() not in seen]
        seen.update(each.ref() for each in new)
        waiting += new
    raise NoFeaturesError("the network has no convolution whose maps are larger than one pixel")


def _find_convolved(pixels: tf.Tensor) -> set[object]:
    """Return all tensors that are computed from a convolution of the pixels."""
    convolved: set[object] = set()
    waiting = [(pixels, False)]
    seen: set[tuple[object, bool]] = set()
    for tensor, is_convolved in waiting:
        for operation in tensor.consumers():
            after = is_convolved or operation.type in _CONVOLUTIONS
            new = [each for each in operation.outputs if (each.ref(), after) not in seen]
            seen.update((each.ref(), after) for each in new)
            waiting += [(each, after) for each in new]
            if after:
                convolved.update(each.ref() for each in new)
    return convolved


def _is_map(tensor: tf.Tensor) -> bool:
    if not tensor.dtype.is_floating or tensor.shape.rank != 4:
        return False
    return all(size is not None and size > 1 for size in tensor.shape.as_list()[1:3])
