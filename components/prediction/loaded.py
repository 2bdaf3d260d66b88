"""A pushed model in this process: its answers, and where it looks. Imports TensorFlow when it loads one."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.base.errors import UsageError
from components.base.imports import without_collector
from components.base.saved_model import class_names_of
from components.base.task import TASKS, part
from components.infra_validator.protocol import TaskAnswers
from components.pictures.heat import HeatMap
from components.prediction.language import translate_classes


class LoadedModel:
    """A pushed model, loaded.

    Args:
        folder: The SavedModel.
        bit_depth: `data.bit_depth` of the images that it was trained on.
        language: Of the class names in its answers; their own when None.

    Attributes:
        task: Its task's module `answers`.
        bit_depth: As given.
        folder: As given.
        class_names: The classes, in the order of their labels; empty for models of early versions.

    Raises:
        UsageError: It is not one of Mirante's, or has no names in the language.
    """

    def __init__(self, folder: Path, bit_depth: str, language: str | None = None):
        self.bit_depth, self.folder = bit_depth, folder
        self.class_names = tuple(class_names_of(str(folder)) or ())
        self._names: dict[bytes, bytes] = {}
        if language is not None:
            names = translate_classes(str(folder), self.class_names, language)
            self.class_names = tuple(names.values())
            self._names = {name.encode(): alias.encode() for name, alias in names.items()}
        with without_collector():
            import tensorflow as tf

        loaded = tf.saved_model.load(str(folder))
        if "serving_default" not in loaded.signatures:
            raise UsageError(f"{folder}: the model has no signature serving_default: was it pushed by a run?")
        self._loaded = loaded
        self._signature = loaded.signatures["serving_default"]
        if "image_bytes" not in self._signature.structured_input_signature[1]:
            raise UsageError(
                f"{folder}: serving_default takes no image_bytes: was the model pushed by a run?"
            )
        task = _find_task(self._signature.structured_outputs)
        if task is None:
            gives = ", ".join(sorted(self._signature.structured_outputs))
            raise UsageError(
                f"{folder}: serving_default gives {gives}, as no task's models do: was the model pushed by a "
                "run?"
            )
        self.task = task
        # Models of earlier versions neither rotate images nor refuse alpha.
        self._takes_files = hasattr(loaded, "canonical")

    def ask(self, batch: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield the signature's outputs for each image, and why its file had to be converted, else "".

        Args:
            batch: The file of each image, and its canonical form, which is sent if the model refuses it.
        """
        import tensorflow as tf

        from components.transform.canonical_graph import reason_of

        if not self._takes_files:
            yield from self._answers([canonical for _, canonical in batch])
            return
        try:
            answers = list(self._answers([data for data, _ in batch]))
        except tf.errors.InvalidArgumentError as e:
            if len(batch) > 1:
                for each in batch:
                    yield from self.ask([each])
                return
            why = reason_of(e).partition(";")[0].removeprefix("image: ")
            answers = [(outputs, why) for outputs, _ in self._answers([batch[0][1]])]
        yield from answers

    def _answers(self, encoded: list[bytes]) -> Iterator[tuple[dict[str, Any], str]]:
        import tensorflow as tf

        outputs = {
            name: value.numpy() for name, value in self._signature(image_bytes=tf.constant(encoded)).items()
        }
        if self._names:
            for name, values in outputs.items():
                if values.dtype == object:
                    named = [self._names.get(text, text) for text in values.ravel()]
                    outputs[name] = np.array(named, object).reshape(values.shape)
        for row in range(len(encoded)):
            yield {name: value[row] for name, value in outputs.items()}, ""

    @property
    def can_explain(self) -> bool:
        """True if it has heat maps for its answers."""
        return hasattr(self._loaded, "explain") and bool(self.class_names)

    def explain(self, encoded: Sequence[bytes], labels: Sequence[int]) -> list[HeatMap]:
        """Return for each image where the model looks for a class, given by its label.

        Args:
            encoded: Images, in canonical form or as files.
            labels: The class that each map is about.
        """
        import tensorflow as tf

        found = self._loaded.explain(
            image_bytes=tf.constant(list(encoded)), labels=tf.constant(list(labels), tf.int64)
        )
        heat, frames = found["heat"].numpy(), found["frame"].numpy()
        return [HeatMap(values, tuple(frame.tolist())) for values, frame in zip(heat, frames, strict=True)]


def is_refusal(error: Exception) -> bool:
    """Return whether a model's error is about the image that it got."""
    import tensorflow as tf

    return isinstance(error, tf.errors.InvalidArgumentError)


def _find_task(outputs: Collection[str]) -> TaskAnswers | None:
    """Return the answers of the task whose models give the most of these outputs; None if no task's do."""
    asked: list[TaskAnswers] = [part(name, "answers") for name in TASKS]
    fitting = [answers for answers in asked if set(answers.OUTPUTS) <= set(outputs)]
    # One task's outputs may be a part of another's.
    return max(fitting, key=lambda answers: len(answers.OUTPUTS), default=None)
