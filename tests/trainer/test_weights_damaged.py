"""Damaged weights: one error that names the file, and no more memory than the network's weights take."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError, UsageError
from components.models.config import ModelConfig
from components.models.weights_file import check_weights
from components.trainer.checkpoints import by_path
from components.trainer.warm_start.config import WarmStartConfig
from components.trainer.warm_start.source import open_source
from components.trainer.warm_start.start import warm_start
from tests.fuzz.mutate import change
from tests.make.trainings import make_network
from tests.make.weights import write_weights_file

FULL = WarmStartConfig.model_validate({"from": "anywhere"})
# 16 GiB of float32.
HUGE = (1 << 16, 1 << 16)


def take(model: keras.Model, path: Path) -> None:
    warm_start(model, open_source(str(path), model), FULL)


def written(model: keras.Model, folder: Path, name: str) -> list[Path]:
    """Write a model's weights; return its files."""
    if name.startswith("ckpt"):
        tf.train.Checkpoint(weights=by_path(model.variables)).write(str(folder / "ckpt"))
        return sorted(folder.glob("ckpt.*"))
    (model.save_weights if name.endswith(".weights.h5") else model.save)(folder / name)
    return [folder / name]


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    "name", ["m.keras", "m.h5", "m.weights.h5", "ckpt.index", "ckpt.data-00000-of-00001"]
)
def test_every_damage_is_one_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    model = make_network()
    sound = tmp_path / "sound"
    sound.mkdir()
    files = written(model, sound, name)
    random, refused = Random(1), list[tuple[str, Path]]()
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder)
        damaged = folder / name
        damaged.write_bytes(change(random, damaged.read_bytes()))
        given = folder / "ckpt" if name.startswith("ckpt") else damaged
        try:
            take(model, given)
        except MiranteError as e:
            refused.append((str(e), given))
    assert len(refused) > 5
    for said, given in refused:
        assert str(given) in said
        assert said.startswith("training.warm_start")
    assert all(np.isfinite(value).all() for value in model.get_weights())


def test_what_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    model = make_network()
    path = Path(write_weights_file(tmp_path / "huge.h5", {"block_16_project": 320}))
    with h5py.File(path, "a") as file:
        file.create_dataset("block_16_project/other/kernel:0", shape=HUGE, dtype="f4")
    assert path.stat().st_size < 20_000
    said = "is of shape (65536, 65536), and the file is too small to hold it"
    with pytest.raises(UsageError) as of_weights:
        check_weights(ModelConfig(name="mobilenet_v2", weights=str(path)))
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = ["block_16_project"]
    with pytest.raises(MiranteError) as of_warm_start:
        take(model, path)
    for caught in (of_weights, of_warm_start):
        assert said in str(caught.value)
        assert str(path) in str(caught.value)


def test_what_is_packed_tightly_is_read_when_it_fits_alone(tmp_path: Path) -> None:
    # 64 MiB of zeros in some 70 kB: a sound file, of no shape that the network has.
    path = tmp_path / "zeros.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv"]
        file.create_dataset("conv/conv/kernel:0", data=np.zeros((1 << 24,), "f4"), compression="gzip")
    source = open_source(str(path), make_network())
    assert source.shapes == {"conv/kernel": (1 << 24,)}
    with pytest.raises(MiranteError, match="less than half of the network can be taken"):
        take(make_network(), path)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = make_network()
    model.get_layer("backbone").get_layer("conv").bias.assign([np.nan] * 6)
    model.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(
        MiranteError, match=r"nan\.weights\.h5 cannot be read: .*conv/bias holds values that are"
    ):
        take(make_network(), tmp_path / "nan.weights.h5")


def test_numbers_in_another_file_are_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file.attrs["layer_names"] = ["conv"]
        file.create_dataset("conv/conv/bias:0", (6,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 24)])
    with pytest.raises(MiranteError, match="is in another file"):
        take(make_network(), tmp_path / "links.h5")
