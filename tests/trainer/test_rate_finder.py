"""The learning-rate finder: what it smooths, what it suggests, and what it draws."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.base.errors import MiranteError
from components.trainer.rate_finder import Sweep, draw_sweep, make_sweep, smooth_losses


def test_losses_are_smoothed_by_hand() -> None:
    # The first counts 0.95 x 0.05 against the second's 0.05.
    expected = [4.0, (0.95 * 4 + 2) / 1.95, (0.95**2 * 4 + 0.95 * 2 + 1) / (0.95**2 + 1.95)]
    assert smooth_losses([4.0, 2.0, 1.0]) == pytest.approx(expected)
    assert smooth_losses([]) == []


def test_a_tenth_of_the_best_rate_is_suggested() -> None:
    rates = np.logspace(-4, 0, 41).tolist()
    # It falls up to a rate of 0.1 (step 30) and rises from there on.
    losses = [2.0 - n / 20 if n <= 30 else 0.5 * 4.0 ** (n - 30) for n in range(41)]
    sweep = make_sweep(rates, losses)
    assert 0.01 / 1.3 < sweep.suggested < 0.01 * 1.3
    # What is no number says nothing, but what was before it does.
    again = make_sweep(rates, [*losses[:35], *[math.nan] * 6])
    assert again.suggested == sweep.suggested
    assert len(again.losses) == 35


@pytest.mark.parametrize("losses", [[], [1.0], [math.nan] * 5, [1.0, 2.0, 3.0]])
def test_a_loss_that_never_falls_is_said(losses: list[float]) -> None:
    with pytest.raises(MiranteError, match="lr-find: the loss falls with none of the rates: give --low"):
        make_sweep([10.0**n for n in range(len(losses))], losses)


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "rates é.png"
    draw_sweep(Sweep([1e-4, 1e-3, 1e-2], [2.0, 1.0, 3.0], 1e-4), str(path))
    with Image.open(path) as image:
        assert image.width > 800
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
