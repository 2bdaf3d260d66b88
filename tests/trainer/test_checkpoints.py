"""Survival: a training that was stopped anywhere resumes and ends as an undisturbed one, bit for bit."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.interrupts import interruptible
from components.trainer import loop
from components.trainer.checkpoints import OTHER_TRAININGS, Checkpoints, Saver, by_path
from components.trainer.config import CheckpointConfig, TrainingConfig
from tests.make import shapes
from tests.make.trainings import Course, make_network, make_striped, train
from tests.small_disk import SmallDisk

# 64 examples by 24: 8 steps in three epochs, one of which begins within a step. Everything that has a state:
# batch norm, dropout, Adam, a schedule, patience, an average.
CONFIG = TrainingConfig(
    epochs=3,
    fine_tune_epochs=1,
    learning_rate=0.03,
    fine_tune_learning_rate=0.01,
    schedule="cosine",
    warmup_epochs=1,
    global_batch_size=24,
    patience_epochs=5,
    ema={"decay": 0.9},
    checkpoints={"steps": 2, "min_secs": 0},
)


def network() -> keras.Model:
    return make_network(dropout=0.3)


def outcome(folder: Path, config: TrainingConfig = CONFIG, *, pretrained: bool) -> tuple[Any, Course]:
    model = network()
    course = train(model, config, folder, pretrained=pretrained)
    return [variable.numpy() for variable in model.variables], course


class Stop:
    """Interrupts a training at a step: before it is done, or after it and before it is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self._build = loop.build_step
        self._monkeypatch = monkeypatch

    def at(self, step: int, *, after: bool) -> None:
        calls = 0

        def build(*given: Any) -> Callable[[Any], Any]:
            run = self._build(*given)

            def stopping(batch: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == step and not after:
                    raise KeyboardInterrupt
                result = run(batch)
                if calls == step:
                    raise KeyboardInterrupt
                return result

            return stopping

        self._monkeypatch.setattr(loop, "build_step", build)

    def never(self) -> None:
        self._monkeypatch.setattr(loop, "build_step", self._build)


@pytest.mark.slow
@pytest.mark.parametrize("pretrained", [True, False])
def test_interrupts_at_every_step_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretrained: bool
) -> None:
    undisturbed, course = outcome(tmp_path / "undisturbed", pretrained=pretrained)
    stop = Stop(monkeypatch)
    folder, interrupted = tmp_path / "stopped", 0
    for number in range(1, 100):
        # The first step that this process does, or the second, by turns; later ones without a second stage.
        stop.at(1 + number % 2 + (not pretrained), after=number % 3 == 0)
        try:
            weights, rest = outcome(folder, pretrained=pretrained)
            break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted > (5 if pretrained else 3)
    for one, other in zip(weights, undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)
    # The last epoch's figures are of all of its steps, those before the interrupt included.
    assert rest.epochs("loss")[-1] == course.epochs("loss")[-1]
    assert rest.epochs("eval_loss")[-1] == course.epochs("eval_loss")[-1]


@pytest.mark.slow
def test_a_detector_that_was_stopped_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 40 examples by 16: 5 steps in two epochs, boxes moved along with their images in each.
    config = TrainingConfig(
        epochs=2,
        learning_rate=0.003,
        global_batch_size=16,
        augmentation={
            "flip": "horizontal",
            "zoom_out": {"chance": 0.5},
            "object_crop": {"chance": 0.5},
        },
        checkpoints={"steps": 2, "min_secs": 0},
    )
    task = shapes.make_task(64)
    of_train, of_eval = shapes.make_examples("train", 40, 0, 64), shapes.make_examples("eval", 8, 100, 64)

    def outcome(folder: Path) -> tuple[Any, Course]:
        model = shapes.make_network(task, 64, batch_norm=True)
        course = train(model, config, folder, train=of_train, evaluation=of_eval, task=task)
        return [variable.numpy() for variable in model.variables], course

    undisturbed, course = outcome(tmp_path / "undisturbed")
    stop = Stop(monkeypatch)
    for step in (
        4,
        2,
    ):  # of the process: the fourth of all, then the same again, which went on after the second
        stop.at(step, after=False)
        with pytest.raises(KeyboardInterrupt):
            outcome(tmp_path / "stopped")
    stop.never()
    weights, rest = outcome(tmp_path / "stopped")
    for one, other in zip(weights, undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(course.epochs("eval_map_50")) == 2
    for curve in ("loss", "box_loss", "eval_loss", "eval_map_50"):
        assert rest.epochs(curve)[-1] == course.epochs(curve)[-1]


@pytest.mark.slow
def test_a_signal_within_a_step_keeps_that_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, calls = loop.build_step, itertools.count(1)

    def build_and_signal(*given: Any) -> Callable[[Any], Any]:
        run = build(*given)

        def signalled(batch: Any) -> Any:
            result = run(batch)
            if next(calls) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return result

        return signalled

    monkeypatch.setattr(loop, "build_step", build_and_signal)
    config = CONFIG.model_copy(update={"checkpoints": CheckpointConfig()})
    with pytest.raises(KeyboardInterrupt), interruptible():
        outcome(tmp_path, config, pretrained=False)
    latest = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))
    assert tf.train.load_checkpoint(latest).get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE") == 3


@pytest.mark.slow
def test_checkpoints_come_by_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = Saver.save
    monkeypatch.setattr(
        Saver, "save", lambda self, state: (saved.append(state["seen"]), save(self, state))[1]
    )
    # A clock by which each question takes 3 seconds, two a step.
    clock = itertools.count(0, 3)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    by_time = CheckpointConfig(steps=1000, min_secs=1, max_secs=20)
    outcome(tmp_path / "by_time", CONFIG.model_copy(update={"checkpoints": by_time}), pretrained=False)
    in_epochs = [seen for seen in saved if seen]
    assert len(in_epochs) >= 2, saved
    saved.clear()
    never = CheckpointConfig(steps=1000, min_secs=1, max_secs=None)
    outcome(tmp_path / "never", CONFIG.model_copy(update={"checkpoints": never}), pretrained=False)
    assert not any(saved)


@pytest.mark.slow
@pytest.mark.both_stacks
def test_what_was_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, _ = outcome(tmp_path, pretrained=True)
    stop = Stop(monkeypatch)
    stop.at(1, after=False)  # no step is left to do
    again, course = outcome(tmp_path, pretrained=True)
    assert course.points == []
    for one, other in zip(again, undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_early_stopping_goes_on_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(
        update={"epochs": 30, "patience_epochs": 2, "schedule": "constant", "warmup_epochs": 0}
    )
    evaluation = make_striped(64, 1, "eval", wrong=16)

    def run(folder: Path) -> tuple[keras.Model, Course]:
        model = network()
        return model, train(model, config, folder, evaluation=evaluation)

    undisturbed, course = run(tmp_path / "undisturbed")
    epochs = len(course.epochs("eval_loss"))
    assert 3 < epochs < 30
    stop = Stop(monkeypatch)
    # In the epoch after the best one: 64 examples by 24 are 8 steps in 3 epochs.
    stop.at(-(-64 * (epochs - 1) // 24) + 1, after=False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    stop.never()
    model, rest = run(tmp_path / "stopped")
    assert len(rest.epochs("eval_loss")) == 1
    for one, other in zip(model.variables, undisturbed.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.slow
def test_other_kernels_than_before_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = Stop(monkeypatch)
    for onednn, told in (("1", False), ("0", True), ("0", False)):
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
        stop.at(2, after=False)
        caplog.clear()
        with caplog.at_level("WARNING", "mirante.trainer"), pytest.raises(KeyboardInterrupt):
            outcome(tmp_path, pretrained=False)
        assert ("resumes with other kernels" in caplog.text) == told
        if told:
            assert "TF_ENABLE_ONEDNN_OPTS 1" in caplog.text
            assert "TF_ENABLE_ONEDNN_OPTS 0" in caplog.text


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_only_the_latest_are_kept_and_in_the_end_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop(monkeypatch)
    stop.at(8, after=False)
    with pytest.raises(KeyboardInterrupt):
        outcome(tmp_path, pretrained=False)
    kept = [name for name in files(tmp_path) if name.endswith(".index") and "ckpt" in name]
    assert len(kept) == CONFIG.checkpoints.keep + 1  # and the best
    stop.never()
    outcome(tmp_path, pretrained=False)
    left = files(tmp_path)
    assert left[0] == "checkpoint"
    assert {name.partition(".")[0] for name in left[1:]} == {left[1].partition(".")[0]}
    assert len(left) == 3  # and data and index of one


def test_the_trainings_beside_it_are_bounded(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"former-{number}").mkdir()
        (tmp_path / f"former-{number}" / "checkpoint").write_text("")
        Checkpoints(str(tmp_path / f"former-{number}")).remove_others()
    Checkpoints(str(tmp_path / "now")).remove_others()
    assert len(list(tmp_path.iterdir())) == OTHER_TRAININGS + 1
    Checkpoints(str(tmp_path / "former-none" / "now")).remove_others()  # nothing there yet


def test_only_folders_of_trainings_are_removed(tmp_path: Path) -> None:
    """A user's own checkpoints, and copies of a training's, may be in a folder of this name."""
    for number in range(5):
        (tmp_path / f"mine-{number}").mkdir()
        (tmp_path / f"mine-{number}" / "checkpoint").write_text("")
    for number in range(4):
        Checkpoints(str(tmp_path / f"former-{number}")).remove_others()
    shutil.copytree(tmp_path / "former-3", tmp_path / "kept")
    Checkpoints(str(tmp_path / "now")).remove_others()
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if "former" not in name} == {
        "now",
        "kept",
        *(f"mine-{n}" for n in range(5)),
    }
    assert len(left) == 7 + OTHER_TRAININGS


def test_variables_of_one_path_are_told_apart() -> None:
    variables = [keras.Variable([float(value)], name="kernel") for value in range(3)]
    named = by_path(variables)
    assert list(named) == ["kernel", "kernel__2", "kernel__3"]
    assert [float(value.numpy()[0]) for value in named.values()] == [0, 1, 2]


@pytest.mark.slow
def test_a_checkpoint_can_be_read_by_name(tmp_path: Path) -> None:
    weights, _ = outcome(tmp_path, pretrained=False)
    latest = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))
    reader = tf.train.load_checkpoint(latest)
    kernel = reader.get_tensor("weights/backbone.Sconv.Skernel/.ATTRIBUTES/VARIABLE_VALUE")
    np.testing.assert_array_equal(kernel, weights[0])
    assert int(reader.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE")) == 8


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model, keras.optimizers.Optimizer]:
    """A folder of checkpoints after seven epochs, and what was saved in them."""
    folder, model, optimizer = tmp_path_factory.mktemp("saved"), network(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(str(folder))
    saver = checkpoints.saver(model, optimizer, tf.Variable(7, dtype=tf.int64), {})
    for epoch in range(1, 8):
        saver.save({"epoch": epoch})
    checkpoints.save_best(model)
    (folder / "images").mkdir()
    return folder, model, optimizer


@pytest.mark.parametrize("damage", [cut, empty, flip, Path.unlink])
@pytest.mark.parametrize("name", ["ckpt-7.data-*", "ckpt-7.index", "best/ckpt-*.data-*", "checkpoint"])
def test_a_training_whose_checkpoint_is_damaged_begins_anew(
    name: str,
    damage: Callable[[Path], object],
    saved: tuple[Path, keras.Model, keras.optimizers.Optimizer],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, model, optimizer = saved
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    checkpoints = Checkpoints(str(tmp_path))
    saver = checkpoints.saver(model, optimizer, tf.Variable(7, dtype=tf.int64), {})
    checkpoints.discard_damaged()
    assert checkpoints.state() == {"epoch": 7}
    (path,) = tmp_path.glob(name)
    damage(path)
    checkpoints.discard_damaged()
    # Without the list of checkpoints, or the index of the latest, TensorFlow knows of none.
    unknown = (("ckpt-7.index", Path.unlink), *(("checkpoint", how) for how in (cut, flip, Path.unlink)))
    known = (name, damage) not in unknown
    assert (f"{tmp_path}: a checkpoint is damaged" in caplog.text) == known
    assert checkpoints.state() is None
    assert (tmp_path / "images").is_dir()
    saver.save({"epoch": 1})
    checkpoints.discard_damaged()
    assert checkpoints.state() == {"epoch": 1}


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "small", size_mib=2) as disk:
        checkpoints = Checkpoints(str(disk.inside / "checkpoints"))
        model = network()
        optimizer = keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        saver = checkpoints.saver(model, optimizer, tf.Variable(7, dtype=tf.int64), {})
        saver.save({"stage": "training", "epoch": 1})
        whole = files(disk.inside / "checkpoints")
        disk.fill(leave_kib=4)
        with pytest.raises(tf.errors.ResourceExhaustedError, match="No space left on device"):
            saver.save({"stage": "training", "epoch": 2})
        assert files(disk.inside / "checkpoints") == whole  # nothing half-written either
        assert checkpoints.state() == {"stage": "training", "epoch": 1}
        disk.make_room()
        saver.save({"stage": "training", "epoch": 2})
        assert checkpoints.state() == {"stage": "training", "epoch": 2}
