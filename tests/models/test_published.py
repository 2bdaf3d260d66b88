"""The published weights: which file Keras would download, and that a run without it ends at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from components.base.errors import UsageError
from components.models import build_model
from components.models.config import ModelConfig
from components.models.published import cached_path, check_download, published_url
from components.transform.config import TransformConfig


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without network, and an empty cache of Keras'."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "px"),
    [
        pytest.param("mobilenet_v2", {}, 224, marks=pytest.mark.slow),
        ("mobilenet_v2", {"alpha": 0.35}, 96),
        pytest.param("mobilenet_v2", {"alpha": 1.4}, 100, marks=pytest.mark.slow),
        pytest.param("ssd_mobilenet_v2", {}, 128, marks=pytest.mark.slow),
        ("vgg16", {}, 64),
        pytest.param("efficientnet_b0", {}, 224, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
def test_the_file_is_the_one_that_keras_asks_for(
    name: str, options: dict[str, float], px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras.src.utils.file_utils as files

    asked: list[str] = []

    def get_file(fname: str, origin: str, **_: object) -> str:
        asked.append(origin)
        raise OSError("no network")

    monkeypatch.setattr(files, "get_file", get_file)
    model = ModelConfig(name=name, weights="imagenet", **options)
    with pytest.raises(Exception, match="no network"):
        build_model(model, (px, px, 3), 2)
    assert asked == [published_url(model, TransformConfig(height_px=px, width_px=px))]


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16", "efficientnet_b7"])
def test_without_network_and_file_a_run_ends_at_once(name: str, offline: Path) -> None:
    model, transform = ModelConfig(name=name, weights="imagenet"), TransformConfig()
    began = time.monotonic()
    with pytest.raises(UsageError) as caught:
        check_download(model, transform)
    assert time.monotonic() - began < 10
    said = str(caught.value)
    assert said.startswith(
        f"model.weights: imagenet: the weights of {name} are not on this machine and cannot"
    )
    assert published_url(model, transform) in said
    assert "--set model.weights=FILE.h5" in said
    # With the file, nobody is asked.
    path = cached_path(model, transform)
    assert path.parent == offline / "models"
    path.parent.mkdir()
    path.write_bytes(b"")
    check_download(model, transform)


def test_other_weights_need_no_network(offline: Path) -> None:
    for weights in (None, "some.h5"):
        check_download(ModelConfig(name="mobilenet_v2", weights=weights), TransformConfig())
    check_download(ModelConfig(name="mine:build", weights="imagenet"), TransformConfig())
