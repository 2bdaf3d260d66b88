"""A version of a model that answers requests: Predict, Classify, Regress, MultiInference and its metadata."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.models import signatures
from pipeline.serving.models.images import are_png, check_images
from pipeline.serving.models.running import compute
from pipeline.serving.models.saved_model import DEFAULT_SIGNATURE
from pipeline.serving.models.tensors import read_tensor


class Runner(Protocol):
    """Computes tensors away from the event loop: a session in threads, or a queue that makes batches."""

    async def run(
        self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0
    ) -> list[Array]:
        """Return an array for each name in `fetches`."""

    def close(self) -> None:
        """Free what it holds."""


class RuntimeRecorder(Protocol):
    """Keeps the times of runs."""

    def record_runtime(self, model: str, api: str, seconds: float) -> None:
        """Keep the time of one run."""

    def record_examples(self, model: str, count: int) -> None:
        """Keep the number of examples of one request."""


@dataclasses.dataclass(frozen=True)
class Servable:
    """A version of a model in memory.

    Attributes:
        name: The model's name.
        version: The number of the version.
        folder: Its SavedModel.
        signatures: SignatureDefs by their names.
        runner: Computes.
        recorder: Keeps times.
        check_methods: Refuse signatures whose `method_name` is made for another call.
        max_tensor_bytes: Refuse larger tensors.
        max_pixels: Refuse images with more pixels in inputs whose name ends in `_bytes`; 0 for no limit.
        class_names: What texts in answers are replaced by: classes' names in another language by their own.
        held: What is freed when it is unloaded.
    """

    name: str
    version: int
    folder: str
    signatures: Mapping[str, Any]
    runner: Runner
    recorder: RuntimeRecorder
    check_methods: bool = False
    max_tensor_bytes: int = 2**31
    max_pixels: int = 0
    class_names: Mapping[bytes, bytes] = dataclasses.field(default_factory=dict)
    held: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    async def predict(
        self, signature_name: str, given: Mapping[str, Array], wanted: Sequence[str], timeout_ms: int
    ) -> dict[str, Array]:
        """Answer Predict.

        Args:
            signature_name: Empty for the default.
            given: The inputs.
            wanted: The outputs; empty for all.
            timeout_ms: 0 for none.

        Returns:
            The outputs in the order of `wanted`, or of their names.

        Raises:
            ServingError: As TensorFlow Serving words it.
        """
        signature = self._predict_signature(signature_name)
        signatures.match_inputs(signature, given)
        if self.max_pixels:
            # Pillow may read all of a file for its size.
            if are_png(given):
                check_images(given, self.max_pixels)
            else:
                await asyncio.to_thread(check_images, given, self.max_pixels)
        feeds = {}
        for alias, info in signature.inputs.items():
            if alias in given:
                feeds[info.name] = given[alias]
            else:
                feeds[info.name] = read_tensor(signature.defaults[alias], alias, self.max_tensor_bytes)
        aliases = signatures.pick_outputs(signature, wanted)
        names = [signature.outputs[alias].name for alias in aliases]
        return dict(zip(aliases, await self._run("Predict", feeds, names, timeout_ms), strict=True))

    def check_inputs(self, signature_name: str, given: Iterable[str]) -> None:
        """Check that there is a signature for Predict, with these inputs.

        Raises:
            ServingError: As TensorFlow Serving words it.
        """
        signatures.match_inputs(self._predict_signature(signature_name), given)

    async def classify(self, signature_name: str, given: Any, result: Any, timeout_ms: int) -> None:
        """Answer Classify: fill a ClassificationResult for an Input.

        Raises:
            ServingError: As TensorFlow Serving words it.
        """
        signature = self._example_signature(signature_name, signatures.CLASSIFY)
        feed, fetches = signatures.classify_tensors(signature)
        count, tensors = await self._run_examples("Classify", given, feed, fetches, timeout_ms)
        signatures.fill_classes(signature, count, tensors, result)

    async def regress(self, signature_name: str, given: Any, result: Any, timeout_ms: int) -> None:
        """Answer Regress: fill a RegressionResult for an Input.

        Raises:
            ServingError: As TensorFlow Serving words it.
        """
        signature = self._example_signature(signature_name, signatures.REGRESS)
        feed, fetches = signatures.regress_tensors(signature)
        count, tensors = await self._run_examples("Regress", given, feed, fetches, timeout_ms)
        signatures.fill_values(signature, count, tensors, result)

    async def infer_all(self, request: Any, response: Any, timeout_ms: int) -> None:
        """Answer MultiInference: all tasks by one run.

        Raises:
            ServingError: As TensorFlow Serving words it.
        """
        seen: set[str] = set()
        feed = ""
        fetches: list[str] = []
        for task in request.tasks:
            if not task.model_spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if task.model_spec.name != request.tasks[0].model_spec.name:
                raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in seen:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            seen.add(name)
            if name not in self.signatures:
                raise invalid(f"Requested signature not found in model graph: {name}")
            task_feed, task_fetches = self._task_tensors(task.method_name, self.signatures[name])
            if feed and feed != task_feed:
                raise invalid("Input tensor must be the same for all Signatures.")
            feed = task_feed
            fetches += [each for each in task_fetches if each not in fetches]
        count, tensors = await self._run_examples("MultiInference", request.input, feed, fetches, timeout_ms)
        self.recorder.record_examples(self.name, count)
        for task in request.tasks:
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            result = response.results.add()
            self.describe(result.model_spec, name)
            if task.method_name == signatures.CLASSIFY:
                signatures.fill_classes(self.signatures[name], count, tensors, result.classification_result)
            else:
                signatures.fill_values(self.signatures[name], count, tensors, result.regression_result)

    def describe(self, model_spec: Any, signature_name: str) -> None:
        """Fill a ModelSpec with the name, the version and the signature that answered."""
        model_spec.name = self.name
        model_spec.version.value = self.version
        model_spec.signature_name = signature_name

    def _predict_signature(self, name: str) -> Any:
        return signatures.find_predict_signature(
            self.signatures, name or DEFAULT_SIGNATURE, self.check_methods
        )

    def _example_signature(self, name: str, method: str) -> Any:
        return signatures.find_example_signature(
            self.signatures, name or DEFAULT_SIGNATURE, method, self.check_methods
        )

    def _task_tensors(self, method: str, signature: Any) -> tuple[str, list[str]]:
        if method not in (signatures.CLASSIFY, signatures.REGRESS):
            raise ServingError("UNIMPLEMENTED", f"Unsupported signature method_name: {method}")
        if self.check_methods:
            signatures.check_method_name(signature, method)
        if method == signatures.CLASSIFY:
            return signatures.classify_tensors(signature)
        return signatures.regress_tensors(signature)

    async def _run_examples(
        self, api: str, given: Any, feed: str, fetches: list[str], timeout_ms: int
    ) -> tuple[int, dict[str, Array]]:
        examples = await compute(given.ByteSize(), _serialize, given)
        outputs = await self._run(api, {feed: examples}, fetches, timeout_ms)
        return len(examples), dict(zip(fetches, outputs, strict=True))

    async def _run(
        self, api: str, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int
    ) -> list[Array]:
        begin = time.perf_counter()
        outputs = await self.runner.run(feeds, fetches, timeout_ms)
        self.recorder.record_runtime(self.name, api, time.perf_counter() - begin)
        return [_rename(output, self.class_names) for output in outputs] if self.class_names else outputs


def _rename(output: Array, names: Mapping[bytes, bytes]) -> Array:
    """Return an output whose texts are replaced; numbers stay."""
    if output.dtype != object:
        return output
    renamed = np.empty(output.shape, dtype=object)
    renamed.ravel()[:] = [names.get(text, text) for text in output.ravel()]
    return renamed


def _serialize(given: Any) -> Array:
    """Return the serialized examples of an Input; a context is put before each, which merges them."""
    kind = given.WhichOneof("kind")
    examples = getattr(given, kind).examples if kind else ()
    if not examples:
        raise invalid("Input is empty.")
    context = given.example_list_with_context.context.SerializeToString() if "context" in kind else b""
    array = np.empty(len(examples), dtype=object)
    array[:] = [context + each.SerializeToString() for each in examples]
    return array
