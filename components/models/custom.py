"""Custom networks: a function by its import path, and checks that its network can be trained."""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from components.base.errors import MiranteError
from components.models import BACKBONE, HEAD
from components.models.config import ModelConfig
from components.models.user_code import not_found

NETWORK = "network"
_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
# Softmax in 16 bits sums up to 1 within this.
_SUM_TOLERANCE = 0.02
_CONTRACT = "(backbone, head), two keras.Model, or one keras.Model that gives logits"


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, ...]:
    """Call the function that `config.name` names, and check what it returns.

    Returns:
        Backbone `[N, H, W, C]` to `[N, D]` and head `[N, D]` to logits; or all of it as one.

    Raises:
        MiranteError: The function is not available, fails, or returns something else.
    """
    where = f"model.name: {config.name}"
    parts = _parts(_function(config), where, config, input_shape, num_classes)
    if len(parts) == 1:
        if config.weights is not None:
            raise MiranteError(
                f"{where}: with model.weights the head is trained first, alone: return (backbone, head) "
                "instead of one model"
            )
        network, logits = _part(parts[0], "the network", NETWORK, input_shape, where, is_last=True)
        checked: tuple[keras.Model, ...] = (network,)
    else:
        backbone, features = _part(parts[0], "the backbone", BACKBONE, input_shape, where)
        if len(features.shape) != 2 or None in features.shape[1:]:
            raise MiranteError(
                f"{where}: the backbone must give features [N, D], got {_shape(features)}: end it with "
                "keras.layers.GlobalAveragePooling2D() or Flatten()"
            )
        head, logits = _part(parts[1], "the head", HEAD, features.shape[1:], where, is_last=True)
        checked = (backbone, head)
    if tuple(logits.shape) != (None, num_classes):
        raise MiranteError(
            f"{where}: expected logits [N, {num_classes}], one for each class, got {_shape(logits)}; "
            "num_classes is the function's third argument, and the batch size must be left open"
        )
    _check_logits(parts[-1], checked, input_shape, where)
    for part in checked:
        _check_can_be_saved(part, where)
    return checked


def _function(config: ModelConfig) -> Callable[..., Any]:
    module_name, name = config.builder or ("", "")
    where = f"model.name: {config.name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name and (module_name == e.name or module_name.startswith(f"{e.name}.")):
            raise MiranteError(not_found(config)) from e
        raise MiranteError(
            f"{where}: {module_name} imports {e.name}, which is not there: install it for {sys.executable}"
        ) from e
    except Exception as e:
        raise MiranteError(f"{where}: importing {module_name} failed: {type(e).__name__}: {e}") from e
    function = getattr(module, name, None)
    if not callable(function):
        functions = sorted(
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module_name
        )
        what = "is no function" if hasattr(module, name) else "is not there"
        raise MiranteError(
            f"{where}: {name} {what} in {module.__file__}; it defines {', '.join(functions) or 'no function'}"
        )
    return function


def _parts(
    function: Callable[..., Any],
    where: str,
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    num_classes: int,
) -> tuple[keras.Model, ...]:
    try:
        returned = function(config, input_shape, num_classes)
    except MiranteError:
        raise
    except Exception as e:
        raise MiranteError(
            f"{where}: the call (config, {input_shape}, {num_classes}) failed: {type(e).__name__}: {e}"
        ) from e
    parts = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
    is_pair = isinstance(returned, (tuple, list))
    if len(parts) != (2 if is_pair else 1) or not all(isinstance(part, keras.Model) for part in parts):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise MiranteError(f"{where}: expected {_CONTRACT}, got {f'({kinds})' if is_pair else kinds}")
    return parts


def _part(
    model: keras.Model,
    what: str,
    name: str,
    input_shape: tuple[int, ...],
    where: str,
    *,
    is_last: bool = False,
) -> tuple[keras.Model, keras.KerasTensor]:
    """Return the part under its name in every network, and its output; the last part gives float32."""
    inputs = keras.Input(input_shape)
    try:
        outputs = model(inputs)
    except Exception as e:
        raise MiranteError(
            f"{where}: {what} does not take [N, {', '.join(str(size) for size in input_shape)}]: "
            f"{type(e).__name__}: {e}"
        ) from e
    if not isinstance(outputs, keras.KerasTensor):
        raise MiranteError(f"{where}: {what} must give one tensor, got {type(outputs).__name__}")
    is_graph = isinstance(model, keras.Sequential) or hasattr(model, "outputs")
    if is_graph and not (is_last and outputs.dtype != "float32"):
        model.name = name
        return model, outputs
    logits = keras.layers.Activation("linear", dtype="float32")(outputs) if is_last else outputs
    return keras.Model(inputs, logits, name=name), outputs


def _check_logits(
    last_part: keras.Model, checked: tuple[keras.Model, ...], input_shape: tuple[int, ...], where: str
) -> None:
    """Refuse probabilities: the loss and the served model take logits."""
    last = _last_layer(last_part)
    kind = getattr(getattr(last, "activation", None), "__name__", type(last).__name__).lower()
    if kind not in _PROBABILITIES:
        if not _gives_probabilities(checked, last, input_shape):
            return
        kind = "softmax"
    raise MiranteError(
        f"{where}: expected logits, got probabilities: the last layer, {last.name!r} "
        f"({type(last).__name__}), ends in {kind}: leave it out, the loss and the served model apply softmax "
        "themselves"
    )


def _last_layer(model: keras.Model) -> Any:
    """Return the operation that gives the output, inside nested models and before changes of type."""
    last: Any = model
    while True:
        if isinstance(last, keras.Sequential) and last.layers:
            last = last.layers[-1]
        elif isinstance(last, keras.Model) and hasattr(last, "outputs"):
            last = last.outputs[0]._keras_history.operation
        elif isinstance(last, keras.layers.Activation) and last.activation is keras.activations.linear:
            last = last.input._keras_history.operation
        else:
            return last


def _gives_probabilities(parts: tuple[keras.Model, ...], last: Any, input_shape: tuple[int, ...]) -> bool:
    """Return whether the outputs of a custom last layer look like those of softmax."""
    if type(last).__module__.startswith("keras.") and not isinstance(last, keras.layers.Lambda):
        return False
    values: Any = np.random.default_rng(0).uniform(size=(3, *input_shape)).astype(np.float32)
    for part in parts:
        values = part(values, training=False)
    values = keras.ops.convert_to_numpy(values)
    return bool((values >= 0).all() and (np.abs(values.sum(axis=-1) - 1) < _SUM_TOLERANCE).all())


def _check_can_be_saved(part: keras.Model, where: str) -> None:
    """Refuse a part that could be trained but not saved."""
    try:
        json.dumps(keras.saving.serialize_keras_object(part))
    except Exception as e:
        raise MiranteError(
            f"{where}: the {part.name} cannot be saved: give each layer of your own a get_config that "
            f"returns what its constructor takes. Keras says: {str(e).strip().splitlines()[0]}"
        ) from e


def _shape(tensor: keras.KerasTensor) -> str:
    return f"[{', '.join('N' if size is None else str(size) for size in tensor.shape)}]"
