"""A SavedModel in a session of TensorFlow, as TensorFlow Serving runs it: fed and fetched by tensor names.

The session takes any shape that the graph can compute, whatever the signature says, and any SavedModel, of
TensorFlow 1 too.
"""

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError, from_tensorflow, invalid

DEFAULT_SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True)
class SessionOptions:
    """Options of sessions.

    Attributes:
        tags: Of the graph in the SavedModel.
        intra_op_threads: Threads of one operation; 0 for as many as there are cores.
        inter_op_threads: Operations at a time; 0 for as many as there are cores.
        gpu_memory_fraction: Share of the GPU's memory to take at once; 0 to take what is needed.
        config: A ConfigProto that these options change; None for TensorFlow's defaults.
    """

    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    config: Any = None

    def make_config(self) -> Any:
        """Return a session's ConfigProto."""
        config = tf.compat.v1.ConfigProto()
        config.gpu_options.allow_growth = not self.gpu_memory_fraction
        if self.config is not None:
            config.MergeFrom(self.config)
        if self.intra_op_threads:
            config.intra_op_parallelism_threads = self.intra_op_threads
        if self.inter_op_threads:
            config.inter_op_parallelism_threads = self.inter_op_threads
        if self.gpu_memory_fraction:
            config.gpu_options.per_process_gpu_memory_fraction = self.gpu_memory_fraction
        return config


class SavedModel:
    """A loaded SavedModel.

    Args:
        folder: The SavedModel.
        options: How it computes.

    Raises:
        ServingError: It cannot be loaded.
    """

    def __init__(self, folder: str, options: SessionOptions):
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=options.make_config())
        try:
            with self._graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, list(options.tags), folder)
        except tf.errors.OpError as e:
            self._session.close()
            raise from_tensorflow(e) from e
        except (OSError, RuntimeError, ValueError) as e:
            self._session.close()
            code = "NOT_FOUND" if isinstance(e, OSError) or "tags" in str(e) else "INVALID_ARGUMENT"
            raise ServingError(code, str(e)) from e
        self.signatures: dict[str, Any] = dict(meta_graph.signature_def)
        self._session._extend_graph()
        self._tensors: dict[str, Any] = {}
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0) -> list[Array]:
        """Compute tensors.

        Args:
            feeds: By the names of tensors.
            fetches: Names of tensors.
            timeout_ms: Give up after this time; 0 for never.

        Returns:
            An array for each of `fetches`; strings are arrays of bytes objects.

        Raises:
            ServingError: As the session words it.
        """
        # `Session.run` compares shapes first, which servers of TensorFlow do not.
        try:
            given = {self._tensor(name): value for name, value in feeds.items()}
            wanted = [self._tensor(name) for name in fetches]
            options = _run_options(timeout_ms) if timeout_ms else None
            outputs = self._session._call_tf_sessionrun(options, given, wanted, [], None)
        except tf.errors.OpError as e:
            raise from_tensorflow(e) from e
        except UnicodeDecodeError as e:
            # TensorFlow quotes what it was given, which Python cannot read as a message; the code is lost.
            raise invalid(e.object.decode("utf-8", "surrogateescape")) from e
        # Strings without dimensions come as bytes.
        return [
            np.array(each, dtype=object) if isinstance(each, bytes) else np.asarray(each) for each in outputs
        ]

    def close(self) -> None:
        """Free what the session holds."""
        self._session.close()
        self._tensors.clear()

    def _tensor(self, name: str) -> Any:
        found = self._tensors.get(name)
        if found is None:
            try:
                element = self._graph.as_graph_element(name if ":" in name else f"{name}:0")
            except (KeyError, ValueError, TypeError) as e:
                raise invalid(
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the "
                    "Graph"
                ) from e
            found = self._tensors[name] = element._as_tf_output()
        return found


_kept_options: dict[int, Any] = {}


def _run_options(timeout_ms: int) -> Any:
    # Rounded up, so that few are made; they are never freed, since runs may still use them.
    rounded = timeout_ms if timeout_ms <= 16 else -(-timeout_ms // 16) * 16
    found = _kept_options.get(rounded)
    if found is None:
        options = tf.compat.v1.RunOptions(timeout_in_ms=rounded)
        found = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        if len(_kept_options) < 4096:
            _kept_options[rounded] = found
    return found
