"""Has Beam's workers do the work of an ingest, instead of processes of this machine. Imports Beam late.

A task and its answer are what they are in `components.ingest.workers`. Answers are files, so a task that an
engine does twice, or begins again, gives one answer.
"""

from __future__ import annotations

import itertools
import pickle
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError
from components.base.paths import write_atomically
from components.ingest.workers import WorkerPool, answer_task
from pipeline.engines.arguments import make_arguments
from pipeline.engines.config import BeamConfig
from pipeline.steps import INGEST

# Tasks of one Beam pipeline: few enough for the memory, enough to make its start a small part of the time.
_TASKS_AT_ONCE = 5000


def do_task(function: str, arguments: tuple[Any, ...], target: str) -> None:
    """Do a task, and write its answer to a file, all of it or nothing."""
    write_atomically(Path(target), pickle.dumps(answer_task(function, arguments, lambda count: None)))


def make_ingest_pool(config: BeamConfig, root: Path) -> BeamPool | None:
    """Return the workers of the engine that a recipe names for its ingest; None for those of this machine."""
    group = INGEST.engine_group
    if group not in config.nodes or config.of(group).engine == "in_memory":
        return None
    return BeamPool(make_arguments(config, INGEST.id, str(root)), root / ".answers")


class BeamPool(WorkerPool):
    """Workers of an engine, which see the files of the ingest under the same paths.

    Args:
        arguments: Beam's.
        folder: For the files of answers, and for nothing else; the workers see it too.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        super().__init__(0)
        self._arguments, self._folder = list(arguments), folder

    def map(
        self,
        function: str,
        tasks: Iterable[tuple[Any, tuple[Any, ...]]],
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (key, function(*arguments, report)) for every task, as `WorkerPool.map` does.

        What a task reports is passed over, so `progress` is not called.

        Raises:
            MiranteError: The function raised it, or the engine lost a task.
        """
        waiting = iter(tasks)
        while given := list(itertools.islice(waiting, _TASKS_AT_ONCE)):
            # What is there is left of a run that was killed. A worker of it, or one that does a task a second
            # time, may still be at work: it must not find a place for its answer.
            shutil.rmtree(self._folder, ignore_errors=True)
            folder = self._folder / uuid.uuid4().hex
            folder.mkdir(parents=True)
            targets = [folder / str(number) for number in range(len(given))]
            try:
                self._run([(function, task[1], str(at)) for task, at in zip(given, targets, strict=True)])
                for (key, _), target in zip(given, targets, strict=True):
                    kind, value = self._read(key, target)
                    if kind == "error":
                        raise value
                    yield key, value
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, key: Any, target: Path) -> tuple[str, Any]:
        try:
            answer: tuple[str, Any] = pickle.loads(target.read_bytes())
        except FileNotFoundError:
            raise MiranteError(
                f"{key}: the engine has ended without an answer to this task; do its workers see "
                f"{self._folder}? Otherwise run the same command again"
            ) from None
        return answer

    def _run(self, tasks: list[tuple[str, tuple[Any, ...], str]]) -> None:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        with beam.Pipeline(options=PipelineOptions(self._arguments)) as pipeline:
            _ = pipeline | beam.Create(tasks) | beam.Reshuffle() | beam.MapTuple(do_task)
