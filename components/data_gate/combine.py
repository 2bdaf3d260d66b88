"""Beam combiners of DataGate: problems, a task's facts, and the records to draw."""

# ruff: noqa: D102 - Beam describes the methods of a combiner

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import apache_beam as beam

from components.base.example import parse_example
from components.base.task import part
from components.data_gate.images import Problem
from components.data_gate.protocol import Facts, TaskDataGate, Values
from schemas import features

# Problems that are named per split; all of them are counted.
MAX_NAMED = 10
# Records that are drawn.
MAX_DRAWN = 25

# Images, bad images, the first of these by name.
Count = tuple[int, int, list[Problem]]
# A record and its digest, by which it is chosen.
Candidate = tuple[bytes, bytes]


class CountProblems(beam.CombineFn):  # type: ignore[misc]
    """Counts records and keeps the first `MAX_NAMED` problems by name."""

    def create_accumulator(self) -> Count:
        return 0, 0, []

    def add_input(self, accumulator: Count, element: Problem | None) -> Count:
        images, bad, named = accumulator
        if element is None:
            return images + 1, bad, named
        return images + 1, bad + 1, sorted([*named, element])[:MAX_NAMED]

    def merge_accumulators(self, accumulators: Iterable[Count]) -> Count:
        images, bad, named = zip(*accumulators, strict=True)
        return sum(images), sum(bad), sorted(item for part in named for item in part)[:MAX_NAMED]

    def extract_output(self, accumulator: Count) -> Count:
        return accumulator


def find_problem(record: bytes, task: str) -> tuple[Problem | None, Values]:
    """Ask the task about a serialized example.

    Returns:
        The file name and the problem, or None if there is none; and the record's features without the image.
    """
    asked: TaskDataGate = part(task, "data_gate")
    values = parse_example(record)
    values.pop(features.ENCODED, None)
    reason = asked.find_problem(values)
    if reason is None:
        return None, values
    name = b"".join(values.get(features.FILENAME, [])).decode(errors="replace") or "(unnamed)"
    return (name, reason), values


class CountFacts(beam.CombineFn):  # type: ignore[misc]
    """Counts the facts of the records without a problem, and the problems as `CountProblems` does."""

    def __init__(self, task: str):
        self._task = task

    def create_accumulator(self) -> tuple[Count, Facts]:
        return (0, 0, []), part(self._task, "data_gate").Facts()

    def add_input(
        self, accumulator: tuple[Count, Facts], element: tuple[Problem | None, Values]
    ) -> tuple[Count, Facts]:
        count, facts = accumulator
        problem, values = element
        if problem is None:
            facts.add(values)
        return CountProblems().add_input(count, problem), facts

    def merge_accumulators(self, accumulators: Iterable[tuple[Count, Facts]]) -> tuple[Count, Facts]:
        counts, facts = zip(*accumulators, strict=True)
        _, whole = self.create_accumulator()
        for each in facts:
            whole.merge(each)
        return CountProblems().merge_accumulators(counts), whole

    def extract_output(self, accumulator: tuple[Count, Facts]) -> dict[str, object]:
        (_, bad, named), facts = accumulator
        return {"bad": bad, "named": named, "facts": facts.report()}


def rank(record: bytes) -> Candidate:
    """Return a record behind its digest; the records with the lowest digests are drawn.

    They are the same ones on every machine, and no class is preferred.
    """
    # The digest leaves out the order of the features, which another writer of the same records may change.
    values = parse_example(record)
    shown = values.get(features.FILENAME), values.get(features.ENCODED)
    return hashlib.sha256(repr(shown).encode()).digest(), record


class ChooseRecords(beam.CombineFn):  # type: ignore[misc]
    """Chooses the `MAX_DRAWN` serialized records of the lowest rank."""

    def create_accumulator(self) -> list[Candidate]:
        return []

    def add_input(self, accumulator: list[Candidate], element: Candidate) -> list[Candidate]:
        return sorted([*accumulator, element])[:MAX_DRAWN]

    def merge_accumulators(self, accumulators: Iterable[list[Candidate]]) -> list[Candidate]:
        return sorted(each for accumulator in accumulators for each in accumulator)[:MAX_DRAWN]

    def extract_output(self, accumulator: list[Candidate]) -> list[bytes]:
        return [record for _, record in accumulator]
