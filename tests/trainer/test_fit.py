"""The stages of a training: which weights change, what is kept, and what is logged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models import BACKBONE, HEAD, linear_head
from components.trainer import fit as fit_module
from components.trainer import loop as loop_module
from components.trainer.config import TrainingConfig
from tests.make.trainings import load_images, make_network, make_striped, train


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy().copy() for variable in model.variables}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {
        "/".join(path.split("/")[-2:]) for path in before if not np.array_equal(before[path], after[path])
    }


@pytest.mark.slow
@pytest.mark.both_stacks
def test_the_head_is_trained_on_features_as_on_images_and_the_backbone_stays_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []
    for share in (fit_module.CACHE_MEMORY_SHARE, 0.0):
        monkeypatch.setattr(fit_module, "CACHE_MEMORY_SHARE", share)
        model = make_network()
        before = weights_of(model)
        shown: list[tuple[str, int]] = []
        course = train(
            model,
            TrainingConfig(epochs=3, learning_rate=0.05, global_batch_size=16, optimizer="sgd"),
            tmp_path / str(share),
            pretrained=True,
            show=lambda stage, images, labels, shown=shown: shown.append((stage, images.ndim)),
        )
        assert changed(before, weights_of(model)) == {"logits/kernel", "logits/bias"}
        assert course.stages == ["head"]
        # Images come first, whatever the head is given.
        assert shown[0] == ("head", 4)
        heads.append(model.get_layer(HEAD).get_weights())
    for on_features, on_images in zip(*heads, strict=True):
        np.testing.assert_allclose(on_features, on_images, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_fine_tuning_changes_kernels_and_no_batch_norm_statistics(tmp_path: Path) -> None:
    model = make_network()
    before = weights_of(model)
    config = TrainingConfig(
        epochs=1, fine_tune_epochs=2, learning_rate=0.05, fine_tune_learning_rate=0.01, global_batch_size=16
    )
    course = train(model, config, tmp_path, pretrained=True)
    assert changed(before, weights_of(model)) == {
        "conv/kernel",
        "conv/bias",
        "logits/kernel",
        "logits/bias",
    }
    assert course.stages == ["head", "fine-tuning"]
    assert [len(set(course.epochs("learning_rate"))), course.epochs("learning_rate")] == [
        2,
        pytest.approx([0.05, 0.01, 0.01]),
    ]


@pytest.mark.slow
def test_random_weights_are_trained_all_together(tmp_path: Path) -> None:
    model = make_network()
    before = weights_of(model)
    train(model, TrainingConfig(epochs=8, learning_rate=0.05, global_batch_size=16), tmp_path)
    after = changed(before, weights_of(model))
    assert {"conv/kernel", "norm/gamma", "norm/beta", "logits/kernel", "logits/bias"} <= after
    assert {"norm/moving_mean", "norm/moving_variance"} <= after
    # Stripes are easy: half of the answers would be right by chance.
    test = make_striped(100, 2)
    right = np.argmax(model(load_images(test), training=False), axis=1) == test.labels
    assert right.mean() > 0.9


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.parametrize("use", ["better", "always"])
def test_the_average_is_kept_where_it_is_better(
    tmp_path: Path, use: str, caplog: pytest.LogCaptureFixture
) -> None:
    # A rate so high that the weights jump about.
    config = TrainingConfig(
        epochs=2,
        optimizer="sgd",
        learning_rate=2.0,
        global_batch_size=8,
        log_every_steps=5,
        ema={"decay": 0.9, "use": use},
    )
    model = make_network()
    with caplog.at_level("INFO", "mirante.trainer"):
        course = train(model, config, tmp_path)
    of_both = re.findall(r"eval loss ([\d.]+), with the moving average of the weights ([\d.]+)", caplog.text)
    assert len(of_both) == (2 if use == "better" else 0)
    for logged, (trained, averaged) in zip(course.epochs("eval_loss"), of_both, strict=False):
        assert logged == pytest.approx(min(float(trained), float(averaged)), abs=1e-4)
    # What was evaluated last is what is exported.
    evaluation = make_striped(20, 1, "eval")
    assert mean_loss(model, evaluation) == pytest.approx(course.epochs("eval_loss")[-1], rel=1e-3)
    # 16 steps of two epochs: three lines.
    steps = re.findall(r"training epoch (\d), step (\d+): loss", caplog.text)
    assert steps == [("1", "5"), ("2", "10"), ("2", "15")]


def make_any_size(px: int) -> keras.Model:
    """A network that averages over images of this many pixels; equal weights for all of them."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((px, px, 1))
    norm = [keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D()]
    backbone = keras.Sequential([keras.Input((px, px, 1)), keras.layers.Conv2D(6, 3), *norm], name=BACKBONE)
    return keras.Model(inputs, linear_head(6, 2, 0.0)(backbone(inputs)))


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.parametrize("pretrained", [False, True])
def test_smaller_images_train_a_network_that_is_evaluated_at_the_whole_size(
    tmp_path: Path, pretrained: bool
) -> None:
    smaller, whole = make_any_size(6), make_any_size(8)
    before = weights_of(smaller)
    shown: list[tuple[str, tuple[int, ...]]] = []
    config = TrainingConfig(
        epochs=1, fine_tune_epochs=int(pretrained), learning_rate=0.05, global_batch_size=16, train_px=6
    )
    course = train(
        smaller,
        config,
        tmp_path,
        pretrained=pretrained,
        whole_size=whole,
        show=lambda stage, images, labels: shown.append((stage, images.shape[1:3])),
    )
    # The head's features are of the whole size, everything else of the smaller one.
    small = (
        [("head", (8, 8)), ("head", (6,)), ("fine-tuning", (6, 6))] if pretrained else [("training", (6, 6))]
    )
    assert [(stage, shape[:2]) for stage, shape in shown] == small
    assert changed(before, weights_of(smaller))
    for one, other in zip(smaller.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    evaluated = mean_loss(whole, make_striped(20, 1, "eval"))
    assert evaluated == pytest.approx(course.epochs("eval_loss")[-1], rel=1e-3)


def mean_loss(model: keras.Model, examples: object) -> float:
    losses = keras.losses.sparse_categorical_crossentropy(
        examples.labels,  # type: ignore[attr-defined]
        model(load_images(examples), training=False),  # type: ignore[arg-type]
        from_logits=True,
    )
    return float(tf.reduce_mean(losses))


# Stops two epochs after the best one; or ends before it would stop.
@pytest.mark.slow
@pytest.mark.parametrize(("patience", "epochs_run"), [(2, "best + 2"), (50, "all")])
def test_early_stopping_keeps_the_best_weights(tmp_path: Path, patience: int, epochs_run: str) -> None:
    # In eval a quarter of the labels are wrong: the surer the network gets, the worse its loss there.
    evaluation = make_striped(64, 1, "eval", wrong=16)
    model = make_network()
    config = TrainingConfig(epochs=20, patience_epochs=patience, learning_rate=0.005, global_batch_size=8)
    losses = train(model, config, tmp_path, evaluation=evaluation).epochs("eval_loss")
    best = min(losses)
    assert 0 < losses.index(best) < len(losses) - 1
    assert losses[-1] > best + 0.01
    assert len(losses) == (losses.index(best) + 1 + 2 if epochs_run == "best + 2" else 20)
    assert mean_loss(model, evaluation) == pytest.approx(best, abs=1e-5)


@pytest.mark.slow
def test_without_patience_the_last_weights_are_kept(tmp_path: Path) -> None:
    evaluation = make_striped(64, 1, "eval", wrong=16)
    model = make_network()
    config = TrainingConfig(epochs=12, learning_rate=0.02, global_batch_size=8)
    losses = train(model, config, tmp_path, evaluation=evaluation).epochs("eval_loss")
    assert len(losses) == 12
    assert mean_loss(model, evaluation) == pytest.approx(losses[-1], abs=1e-5)
    assert losses[-1] > min(losses) + 0.01


def test_an_evaluation_counts_every_image_once(tmp_path: Path) -> None:
    # 21 images in batches of 8: the last one is padded.
    evaluation = make_striped(21, 1, "eval")
    model = make_network()
    course = train(model, TrainingConfig(epochs=1, global_batch_size=8), tmp_path, evaluation=evaluation)
    right = np.argmax(model(load_images(evaluation), training=False), axis=1) == evaluation.labels
    assert course.epochs("eval_accuracy") == [pytest.approx(right.mean())]
    assert course.epochs("eval_loss") == [pytest.approx(mean_loss(model, evaluation), rel=1e-5)]


def test_a_line_an_epoch_that_a_person_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "mirante.trainer"):
        train(make_network(), TrainingConfig(epochs=2, global_batch_size=16), tmp_path)
    number = r"\d+\.\d+"
    lines = [record.message for record in caplog.records if "epoch" in record.message]
    assert len(lines) == 2
    assert re.fullmatch(
        rf"training epoch 1/2: loss {number}, accuracy {number}, eval loss {number}, eval accuracy {number}, "
        rf"\d+ images/s \({number} steps/s, waiting for input \d+ %\), {number} s, {number} s to go",
        lines[0],
    )
    assert "to go" not in lines[1]


@pytest.mark.slow
def test_the_eager_step_is_the_compiled_step(tmp_path: Path) -> None:
    courses = {}
    for debug in (None, "eager"):
        model = make_network(dropout=0.2)
        config = TrainingConfig(epochs=2, global_batch_size=16, debug=debug)
        courses[debug] = train(model, config, tmp_path / str(debug)).epochs("loss")
    assert courses["eager"] == pytest.approx(courses[None], rel=1e-5)


@pytest.mark.slow
def test_xla_gives_the_same_losses(tmp_path: Path) -> None:
    courses = {}
    for jit_compile in (False, True):
        config = TrainingConfig(epochs=2, global_batch_size=16, jit_compile=jit_compile)
        courses[jit_compile] = train(make_network(), config, tmp_path / str(jit_compile)).epochs("loss")
    assert courses[True] == pytest.approx(courses[False], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_the_same_task(tmp_path: Path, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    try:
        model = make_network()
    finally:
        keras.config.set_dtype_policy("float32")
    config = TrainingConfig(epochs=8, learning_rate=0.05, global_batch_size=16, precision=precision)
    course = train(model, config, tmp_path)
    assert course.epochs("eval_accuracy")[-1] > 0.9
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


@pytest.mark.slow
def test_fine_tuning_that_harms_is_not_exported(tmp_path: Path) -> None:
    evaluation = make_striped(64, 1, "eval", wrong=8)
    model = make_network()
    config = TrainingConfig(
        epochs=6,
        learning_rate=0.05,
        fine_tune_epochs=3,
        fine_tune_learning_rate=30.0,
        optimizer="sgd",
        global_batch_size=16,
        patience_epochs=5,
        guard={"steps": None},
    )
    course = train(model, config, tmp_path, evaluation=evaluation, pretrained=True)
    losses = course.epochs("eval_loss")
    of_head, of_fine_tuning = losses[:6], losses[6:]
    assert len(of_fine_tuning) == 3
    assert min(of_fine_tuning) > 2 * min(of_head)
    assert mean_loss(model, evaluation) == pytest.approx(min(of_head), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stopped_after", [1, 2])
def test_the_best_of_a_former_stage_outlives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    """Interrupted in fine-tuning, after one of its epochs and after two."""
    evaluation = make_striped(64, 1, "eval", wrong=8)
    config = TrainingConfig(
        epochs=6,
        learning_rate=0.05,
        fine_tune_epochs=3,
        fine_tune_learning_rate=30.0,
        optimizer="sgd",
        global_batch_size=16,
        patience_epochs=5,
        guard={"steps": None},
        checkpoints={"min_secs": 0},
    )
    evaluated = 0
    told = loop_module.Loop._end_epoch

    def interrupted(self: Any, *given: Any) -> Any:
        nonlocal evaluated
        result = told(self, *given)
        evaluated += 1
        if evaluated == 6 + stopped_after:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(loop_module.Loop, "_end_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(make_network(), config, tmp_path, evaluation=evaluation, pretrained=True)
    monkeypatch.setattr(loop_module.Loop, "_end_epoch", told)
    model = make_network()
    rest = train(model, config, tmp_path, evaluation=evaluation, pretrained=True).epochs("eval_loss")
    assert len(rest) == 3 - stopped_after
    head = make_network()
    head_alone = config.model_copy(update={"fine_tune_epochs": 0})
    losses = train(head, head_alone, tmp_path / "head", evaluation=evaluation, pretrained=True)
    assert mean_loss(model, evaluation) == pytest.approx(min(losses.epochs("eval_loss")), abs=1e-5)
