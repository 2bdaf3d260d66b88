"""The readers on changed inputs: a few of each here, tens of thousands by `make fuzz`."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from pathlib import Path

import pytest

from components.ingest import source_names
from tests.fuzz.mutate import change
from tests.fuzz.seeds import TARGETS, recipe_target
from tests.fuzz.try_inputs import try_inputs, write_files

pytestmark = pytest.mark.stack_free

READERS = [*TARGETS, "recipe"]
INPUTS = 100


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "folder"])
def test_the_inputs_are_sound_before_they_are_changed(reader: str, tmp_path: Path) -> None:
    target = recipe_target() if reader == "recipe" else TARGETS[reader]
    write_files(tmp_path / "in", target.files)
    target.read(tmp_path / "in", tmp_path / "out")


def test_every_source_that_reads_files_is_there() -> None:
    missing = set(source_names()) - {reader.split()[0] for reader in READERS}
    # tfds reads what a library has prepared.
    assert missing == {"digits", "tfds"}


def test_the_same_number_gives_the_same_input() -> None:
    from random import Random

    data = bytes(range(100))
    assert [change(Random(7), data) for _ in range(2)] == [change(Random(7), data)] * 2
    assert len({change(Random(seed), data) for seed in range(50)}) > 40


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_readers_take_or_refuse_whatever_they_are_given(reader: str) -> None:
    # A process of its own for each, forked from one that has the imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fuzz.try_inputs"])
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        tried = pool.submit(try_inputs, reader, INPUTS, 7).result()
    assert tried.inputs == INPUTS
    assert not tried.findings, str(tried)
