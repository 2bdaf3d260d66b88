"""What training reads: every example by its number, the order of steps, and who of several sees what."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError
from components.tasks.classification.trainer import Classification
from components.trainer.augment.changes import make_augmenter
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import TrainingConfig
from components.trainer.input import split as input_module
from components.trainer.input.batches import chunks, evaluation_batches, training_batches
from components.trainer.input.examples import ArrayExamples, available_memory_bytes, make_array
from components.trainer.input.order import shuffled_order
from components.trainer.input.split import SplitInput
from components.trainer.strategy import Place
from tests.make.graphs import Tiny
from tests.make.images import encode_image, make_noise
from tests.make.records import make_record, write_split

pytest_plugins = ["tests.fixtures"]

# More than one batch of anything, and no multiple of the batch sizes.
COUNT = 70
CACHES = ("memory", "disk", "none")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The files of a split whose labels are 0 .. COUNT - 1, so that every example is known by its label."""
    records = [make_record(encode_image(make_noise(index, 16, 16)), index) for index in range(COUNT)]
    return str(write_split(tmp_path_factory.mktemp("numbered") / "Split-train", records, shards=3) / "*")


def place(num_replicas: int, num_workers: int = 1, worker: int = 0) -> Place:
    return Place(tf.distribute.get_strategy(), num_replicas, worker, num_workers)


def labels_of(batches: tf.data.Dataset) -> list[int]:
    return [int(label) for batch in batches for label in batch[1]]


def by_label(batches: tf.data.Dataset) -> dict[int, bytes]:
    return {
        int(label): image.tobytes()
        for images, labels in batches
        for image, label in zip(images.numpy(), labels.numpy(), strict=True)
    }


# --- a split's examples


@pytest.mark.parametrize("cache", CACHES)
def test_every_example_is_had_by_its_number(
    numbered: str, make_tiny: Callable[[int], Tiny], cache: str
) -> None:
    split = SplitInput(
        "train", [numbered], make_tiny(3).tft_output, Classification(()), TrainingConfig(cache=cache)
    )
    assert split.num_examples == COUNT
    assert split.image_shape == (16, 16, 3)
    assert split.cache == cache
    assert sorted(split.labels) == list(range(COUNT))
    rows = tf.constant([69, 0, 3, 3])
    images, labels = split.load(rows)
    assert (images.dtype, images.shape, labels.dtype) == (tf.float32, (4, 16, 16, 3), tf.int64)
    assert labels.numpy().tolist() == split.labels[[69, 0, 3, 3]].tolist()
    np.testing.assert_array_equal(images[2], images[3])


def test_all_caches_give_the_same_pixels(numbered: str, make_tiny: Callable[[int], Tiny]) -> None:
    tft_output = make_tiny(3).tft_output
    memory, disk, none = (
        [
            part.numpy()
            for part in SplitInput(
                "train", [numbered], tft_output, Classification(()), TrainingConfig(cache=cache)
            ).load(tf.range(COUNT))
        ]
        for cache in CACHES
    )
    # Those that the model serves with, and no two alike.
    assert len({image.tobytes() for image in memory[0]}) == COUNT
    for other in (disk, none):
        np.testing.assert_array_equal(other[0], memory[0])
        np.testing.assert_array_equal(other[1], memory[1])


def test_the_cache_is_chosen_by_memory_disk_and_size_of_the_files(
    numbered: str, make_tiny: Callable[[int], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(memory: float, disk: float = 1e18, large: int = 300_000) -> str:
        monkeypatch.setattr(input_module, "available_memory_bytes", lambda: memory)
        monkeypatch.setattr(input_module.shutil, "disk_usage", lambda _: Usage(disk))
        monkeypatch.setattr(input_module, "LARGE_ENCODED_BYTES", large)
        return SplitInput("train", [numbered], make_tiny(3).tft_output, Classification(())).cache

    needed = COUNT * 16 * 16 * 3 * 4  # float32
    assert chosen(memory=5 * needed) == "memory"
    assert chosen(memory=5 * needed - 5) == "none"
    assert chosen(memory=5 * needed - 5, disk=2 * needed, large=10) == "disk"
    assert chosen(memory=5 * needed - 5, disk=2 * needed - 5, large=10) == "none"


class Usage:
    def __init__(self, free: float):
        self.free = free


def test_the_choice_and_its_reason_are_told(
    numbered: str, make_tiny: Callable[[int], Tiny], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "mirante.trainer"):
        _ = SplitInput("train", [numbered], make_tiny(3).tft_output, Classification(())).cache
    assert "train: 70 images, pixels take 0.00 GiB: kept in memory (it may take " in caplog.text


def test_free_memory_is_some_and_no_more_than_there_is() -> None:
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    assert 100 * 2**20 < available_memory_bytes() < total


@pytest.mark.parametrize("files", ["no files", "empty files"])
def test_a_split_without_examples_is_refused(
    tmp_path: Path, make_tiny: Callable[[int], Tiny], files: str
) -> None:
    write_split(tmp_path / "Split-eval", [])
    pattern = str(tmp_path / ("Split-eval" if files == "empty files" else "nothing") / "*")
    with pytest.raises(MiranteError, match="the eval split has no examples: training needs train and eval"):
        SplitInput("eval", [pattern], make_tiny(3).tft_output, Classification(()))


# --- the order of steps


def rows_of(steps: int, seed: int = 5, first_step: int = 0, on: Place | None = None) -> list[list[int]]:
    on = on or place(1)
    dealt = chunks(shuffled_order(COUNT, seed), COUNT, 16, first_step, on)
    return [next(dealt)[1].tolist() for _ in range(steps * on.local_replicas)]


def test_every_example_once_an_epoch_in_steps_of_one_size() -> None:
    rows = rows_of(steps=35)  # 8 epochs of 70, by 16
    assert {len(step) for step in rows} == {16}
    flat = [row for step in rows for row in step]
    epochs = [flat[at : at + COUNT] for at in range(0, 8 * COUNT, COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8


def test_the_order_is_the_seeds() -> None:
    assert rows_of(10) == rows_of(10)
    assert rows_of(10, seed=6) != rows_of(10)


def test_the_whole_split_is_shuffled() -> None:
    flat = [row for step in rows_of(5) for row in step][:COUNT]
    # From a buffer of n, no example comes more than n places early; here some come from far behind.
    assert max(row - place for place, row in enumerate(flat)) > COUNT * 2 // 3


@pytest.mark.parametrize("first_step", [0, 1, 4, 5, 30])
def test_any_step_can_be_had_at_once(first_step: int) -> None:
    assert rows_of(3, first_step=first_step) == rows_of(first_step + 3)[first_step:]


@pytest.mark.parametrize(("replicas", "workers"), [(2, 1), (2, 2), (8, 2), (4, 4)])
def test_replicas_and_workers_share_a_step(replicas: int, workers: int) -> None:
    alone = rows_of(10)
    dealt = [rows_of(10, on=place(replicas, workers, worker)) for worker in range(workers)]
    local = replicas // workers
    for step in range(10):
        together = [rows for part in dealt for rows in part[step * local : (step + 1) * local]]
        assert [len(rows) for rows in together] == [16 // replicas] * replicas
        assert [row for rows in together for row in rows] == alone[step]


def test_no_two_replicas_have_the_same_number() -> None:
    numbers = []
    for worker in range(2):
        dealt = chunks(shuffled_order(COUNT, 0), COUNT, 16, 3, place(4, 2, worker))
        numbers += [next(dealt)[0] for _ in range(4)]  # two steps
    assert sorted(numbers) == list(range(12, 20))


def test_a_split_of_one_batch_and_less() -> None:
    dealt = chunks(shuffled_order(3, 0), 3, 3, 0, place(1))
    assert [sorted(next(dealt)[1]) for _ in range(3)] == [[0, 1, 2]] * 3


@pytest.mark.parametrize("cache", CACHES)
def test_training_batches_are_what_the_order_says(
    numbered: str, make_tiny: Callable[[int], Tiny], cache: str
) -> None:
    split = SplitInput(
        "train", [numbered], make_tiny(3).tft_output, Classification(()), TrainingConfig(cache=cache)
    )
    batches = training_batches(split, TrainingConfig(global_batch_size=16, seed=5), first_step=2)
    assert batches.element_spec[0].shape == (16, 16, 16, 3)  # static, as XLA needs it
    expected = [split.labels[row] for step in rows_of(9, first_step=2) for row in step]
    assert labels_of(batches.take(9)) == expected
    images, labels = split.load(tf.range(COUNT))
    pixels = by_label([(images, labels)])
    assert by_label(batches.take(9)) == pixels


EVERYTHING = AugmentationConfig(flip="horizontal", translation=0.25, erasing=0.5)


@pytest.mark.slow
def test_augmented_batches_are_the_same_for_a_seed_and_differ_by_step(
    numbered: str, make_tiny: Callable[[int], Tiny]
) -> None:
    split = SplitInput("train", [numbered], make_tiny(3).tft_output, Classification(()))

    def steps(seed: int, first: int, count: int) -> list[bytes]:
        augment = make_augmenter(EVERYTHING, seed, 3)
        config = TrainingConfig(global_batch_size=16, seed=1)
        batches = training_batches(split, config, first_step=first, augment=augment)
        return [images.numpy().tobytes() for images, _ in batches.take(count)]

    whole = steps(seed=3, first=0, count=8)
    assert steps(seed=3, first=0, count=8) == whole
    # As a run that resumes in the middle of its second epoch.
    assert steps(seed=3, first=6, count=2) == whole[6:]
    assert steps(seed=4, first=0, count=1) != whole[:1]


def test_pixels_in_memory_are_there_once() -> None:
    """`tf.constant` would copy them twice, and keep both."""
    images = make_array((3, 2, 2, 1))
    images[...] = 0.25
    examples = ArrayExamples("train", images, np.arange(3))
    images[2] = 0.75
    assert examples.load(tf.constant([2, 0]))[0].numpy()[:, 0, 0, 0].tolist() == [0.75, 0.25]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_other_arrays_become_pixels_in_memory_too(count: int) -> None:
    images = np.arange(2.0 * count).reshape(2, count).T  # of another type and order, and fixed
    images.setflags(write=False)
    examples = ArrayExamples("train", images, np.zeros(count, np.int64))
    loaded, _ = examples.load(tf.range(count))
    np.testing.assert_array_equal(loaded, images)


# --- evaluation


@pytest.mark.parametrize(("replicas", "workers"), [(1, 1), (2, 1), (4, 2)])
def test_every_example_is_evaluated_once(replicas: int, workers: int) -> None:
    examples = ArrayExamples("eval", np.arange(COUNT).reshape(COUNT, 1), np.arange(COUNT))
    seen: list[int] = []
    for worker in range(workers):
        batches = list(evaluation_batches(examples, 16, place(replicas, workers, worker)))
        assert len(batches) == math.ceil(COUNT / 16) * replicas // workers
        assert {len(labels) for _, labels, _ in batches} == {16 // replicas}
        for images, labels, weights in batches:
            np.testing.assert_array_equal(images[:, 0], labels)
            seen += [int(label) for label, weight in zip(labels, weights, strict=True) if weight]
    assert sorted(seen) == list(range(COUNT))
