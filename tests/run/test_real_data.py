"""Every recipe and every source on real data, from raw files to a pushed model; few epochs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.real_data]

MIRANTE = Path(sys.executable).with_name("mirante")
FULL_WEIGHTS = "weights/mobilenet_v2_1.0_224_dequantized_no_top.h5"
SMALL_WEIGHTS = "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


def run(recipe: str, data: Path, root: Path, *overrides: str) -> dict[str, Any]:
    settings = [part for override in overrides for part in ("--set", override)]
    done = subprocess.run(
        [str(MIRANTE), "run", recipe, "--data", str(data), "--root", str(root), *settings, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert {outcome["status"] for outcome in result["components"].values()} == {"completed"}
    assert (Path(result["pushed_model"]) / "saved_model.pb").is_file()
    return result


def predict(root: Path, *images: Path) -> list[dict[str, Any]]:
    """The best prediction for each image."""
    done = subprocess.run(
        [str(MIRANTE), "predict", str(root / "serving"), *map(str, images), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [answer["predictions"][0] for answer in json.loads(done.stdout.splitlines()[-1])]


def splits_of(root: Path) -> dict[str, int]:
    manifest = json.loads((root / "data" / "manifest.json").read_text())
    return {name: split["images"] for name, split in manifest["splits"].items()}


def test_mnist(real_data_dir: Path, tmp_path: Path) -> None:
    result = run(
        "mnist",
        real_data_dir / "mnist",
        tmp_path,
        "training.epochs=1",
        "evaluation.thresholds={accuracy: 0.97}",
    )
    assert result["metrics"]["accuracy"] >= 0.97
    counts = splits_of(tmp_path)
    assert counts["test"] == 10_000
    assert counts["train"] + counts["eval"] == 60_000
    assert counts["eval"] == pytest.approx(60_000 / 9, rel=0.05)


def test_cats_vs_dogs(real_data_dir: Path, tmp_path: Path) -> None:
    folder = real_data_dir / "cats_vs_dogs"
    weights = f"model.weights={real_data_dir / FULL_WEIGHTS}"
    # Smaller than the recipe has them, which is a third of the work and costs a hundredth of the accuracy.
    smaller = ["transform.height_px=160", "transform.width_px=160"]
    result = run("cats_vs_dogs", folder, tmp_path, weights, "training.epochs=5", *smaller)
    assert result["metrics"]["accuracy"] >= 0.95
    assert splits_of(tmp_path)["test"] == 300
    validation = folder / "validation"
    images = [sorted((validation / name).iterdir())[index] for name in ("cats", "dogs") for index in range(4)]
    best = predict(tmp_path, *images)
    assert sum(one["label"] == image.parent.name for one, image in zip(best, images, strict=True)) >= 7


def test_cifar10(real_data_dir: Path, tmp_path: Path) -> None:
    result = run(
        "cifar10",
        real_data_dir / "cifar10" / "cifar-10-batches-py",
        tmp_path,
        "training.epochs=3",
        "training.warmup_epochs=1",
        "evaluation.thresholds={accuracy: 0.4}",
    )
    assert result["metrics"]["accuracy"] >= 0.4
    assert splits_of(tmp_path)["test"] == 1000
    assert list(result["per_class"])[:3] == ["airplane", "automobile", "bird"]


def test_butterflies(real_data_dir: Path, tmp_path: Path) -> None:
    # model.weights alone: the width, 0.35, is read from the file.
    result = run(
        "butterflies",
        real_data_dir / "butterflies",
        tmp_path,
        f"model.weights={real_data_dir / SMALL_WEIGHTS}",
        "training.fine_tune_epochs=1",
        "evaluation.thresholds={accuracy: 0.75}",
    )
    assert sum(splits_of(tmp_path).values()) == 720
    assert result["metrics"]["accuracy"] >= 0.75
    assert len(result["per_class"]) == 12


def test_the_folder_recipe_on_an_archive(real_data_dir: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for kind in ("cats", "dogs"):
            photos = sorted((real_data_dir / "cats_vs_dogs" / "train" / kind).iterdir())[:100]
            for photo in photos:
                archive.write(photo, f"photos/{kind}/{photo.name}")
    weights = f"model.weights={real_data_dir / SMALL_WEIGHTS}"
    result = run("folder", tmp_path / "photos.zip", tmp_path / "root", weights, "training.epochs=10")
    assert sum(splits_of(tmp_path / "root").values()) == 200
    assert set(result["per_class"]) == {"cats", "dogs"}


def test_asirra_detection(real_data_dir: Path, tmp_path: Path) -> None:
    # Smaller and shorter than the recipe, and with photos that keep their shape: their boxes go into a square
    # frame and come back.
    folder = real_data_dir / "asirra_detection"
    result = run(
        "asirra_detection",
        folder,
        tmp_path,
        f"model.weights={real_data_dir / SMALL_WEIGHTS}",
        "transform.height_px=224",
        "transform.width_px=224",
        "transform.resize=pad",
        "training.fine_tune_epochs=8",
        "evaluation.thresholds={map_50: 0.75, map: 0.35}",
    )
    splits = splits_of(tmp_path)
    assert (splits["train"] + splits["eval"], splits["test"]) == (515, 85)
    assert result["metrics"]["map_50"] >= 0.75
    assert result["components"]["Evaluator"]["seconds"] <= 60
    assert set(result["per_class"]) == {"cat", "dog"}
    photos = sorted(folder.glob("test/*.jpg"))[::10]
    labels = [one["label"] for one in predict(tmp_path, *photos)]
    right = [label == photo.name.partition(".")[0] for label, photo in zip(labels, photos, strict=True)]
    assert sum(right) >= 6  # of 9
