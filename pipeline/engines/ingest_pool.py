"""Has Beam's workers do the work of an ingest, instead of processes of this machine. Imports Beam late.

A task and its answer are what they are in `components.ingest.workers`. Both are files: a task that an engine
does twice, or begins again, gives one answer, and the engine moves the files' paths alone, however large the
tasks are.
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
from pipeline.engines.failures import find_worker_error
from pipeline.steps import INGEST

# Tasks of one Beam pipeline: few enough for the memory, enough to make its start a small part of the time.
_TASKS_AT_ONCE = 5000


def do_task(path: str) -> None:
    """Do the task of a file, and write its answer next to it, all of it or nothing.

    Raises:
        MiranteError: The file is not there: this worker does not see it, or comes too late.
    """
    try:
        function, arguments = pickle.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise MiranteError(
            f"{path}: expected a task of the ingest, got no such file; mount the pipeline root and the "
            "images on the workers' machines, under the same paths"
        ) from None
    answer = answer_task(function, arguments, lambda count: None)
    write_atomically(_answer_path(path), pickle.dumps(answer))


def _answer_path(task: str) -> Path:
    return Path(task).with_suffix(".answer")


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
        folder: For the files of tasks and answers, and for nothing else; the workers see it too.
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
            MiranteError: The function raised it, the engine lost a task, or its workers do not see the files.
        """
        waiting = iter(tasks)
        while given := list(itertools.islice(waiting, _TASKS_AT_ONCE)):
            # What is there is left of a run that was killed. A worker of it, or one that does a task a second
            # time, may still be at work: it must not find a place for its answer.
            shutil.rmtree(self._folder, ignore_errors=True)
            folder = self._folder / uuid.uuid4().hex
            folder.mkdir(parents=True)
            try:
                paths = []
                for number, (_, arguments) in enumerate(given):
                    paths.append(str(folder / f"{number}.task"))
                    write_atomically(Path(paths[-1]), pickle.dumps((function, arguments)))
                keys = [key for key, _ in given]
                del given  # the engine may take long, and tasks may be large
                self._run(paths)
                for key, path in zip(keys, paths, strict=True):
                    kind, value = self._read(key, _answer_path(path))
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

    def _run(self, tasks: list[str]) -> None:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        try:
            with beam.Pipeline(options=PipelineOptions(self._arguments)) as pipeline:
                _ = pipeline | beam.Create(tasks) | beam.Reshuffle() | beam.Map(do_task)
        except Exception as e:
            if found := find_worker_error(e):
                raise found from e
            raise
