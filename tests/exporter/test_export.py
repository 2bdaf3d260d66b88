"""`mirante export`: every format, asked by its own runtime, against the model that it was made of."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.base.errors import NotBlessedError, UsageError
from components.base.saved_model import ASSETS, CARD_FILES, LABELS_FILE
from components.exporter.formats import FORMATS, Format
from components.ingest.canonical import canonical_bytes
from components.prediction.language import translate_classes
from tests.make.detections import make_detections, save_detector
from tests.make.graphs import Exported, Tiny
from tests.make.records import CLASS_NAMES, make_record

pytest_plugins = ["tests.fixtures"]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"


def export_tiny(model: Exported, split: Tiny | None, out: Path, *formats: str, max_drop: float = 0.1) -> Any:
    from components.exporter.export import ExportData, export_model

    files = sorted(map(str, Path(split.pattern).parent.iterdir())) if split else []
    return export_model(
        model.folder, formats, out, ExportData(files, files), max_drop=max_drop, calibration_images=12
    )


def ask_model(model: Exported, pixels: Any) -> Any:
    """Probabilities by the signature for files, of images that need no scaling."""
    import tensorflow as tf

    served = tf.saved_model.load(str(model.folder)).signatures["serving_default"]
    encoded = [tf.io.encode_png(image).numpy() for image in pixels]
    return served(image_bytes=tf.constant(encoded))["probabilities"].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_an_export_answers_as_the_model_does(
    name: str, export: Callable[[int], Exported], make_tiny: Callable[[int], Tiny], tmp_path: Path
) -> None:
    from components.exporter.pixel_model import PixelModel

    pytest.importorskip("ai_edge_litert")
    model, split = export(3), make_tiny(3)
    # Its logits are 20 times as large as usual, so 8 bits show.
    (done,) = export_tiny(model, split, tmp_path / "größe", name, max_drop=1.0)
    folder = tmp_path / "größe" / name
    assert [path.name for path in folder.parent.iterdir()] == [name]
    assert (folder / "labels.txt").read_text().splitlines() == list(CLASS_NAMES)
    facts = json.loads((folder / "export.json").read_text())
    assert facts["input"]["shape"] == [1 if name.startswith("tflite") else None, 16, 16, 3]
    assert facts["size_bytes"] == done.measured.size_bytes
    # Of so small a network most of a SavedModel is its graph.
    weights = [sum(p.stat().st_size for p in at.glob("variables/*")) for at in (folder, model.folder)]
    assert done.measured.size_bytes < done.original.size_bytes or 0 < weights[0] < 0.7 * weights[1]
    assert (facts["metric"], facts["test_images"]) == ("accuracy", 12)
    assert not FORMATS[name].file or (folder / FORMATS[name].file).is_file()

    ask = importlib.import_module(f"components.exporter.formats.{name}").load(folder)
    pixels, frames = PixelModel(model.folder).read_pixels(split.records)
    assert frames is None
    assert (pixels.dtype, pixels.shape) == (np.uint8, (12, 16, 16, 3))
    answers = ask(pixels)
    assert list(answers) == ["probabilities"]
    wanted = ask_model(model, pixels)
    atol = {"tflite_int8": 0.15, "openvino": 0.05, "saved_model_fp16": 0.05}.get(name, 1e-4)
    np.testing.assert_allclose(answers["probabilities"], wanted, atol=atol)
    # One image gives what it gives among others.
    np.testing.assert_allclose(
        ask(pixels[3:4])["probabilities"], answers["probabilities"][3:4], atol=atol / 10
    )


@pytest.mark.slow
def test_a_folder_is_not_overwritten_and_a_bad_export_not_published(
    export: Callable[[int], Exported], make_tiny: Callable[[int], Tiny], tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    out = tmp_path / "out"
    with pytest.raises(
        NotBlessedError, match=r"max_drop: expected at most -1, got 0.0000: tflite has accuracy"
    ):
        export_tiny(export(3), make_tiny(3), out, "tflite", max_drop=-1.0)
    assert list(out.iterdir()) == []
    (out / "tflite").mkdir()
    with pytest.raises(UsageError, match="nothing is overwritten"):
        export_tiny(export(3), None, out, "tflite")
    with pytest.raises(UsageError, match="tflite_int8: expected training images"):
        export_tiny(export(3), None, out, "tflite_int8")
    assert [path.name for path in out.iterdir()] == ["tflite"]


@pytest.mark.slow
def test_test_images_with_nothing_to_find_give_no_metric(
    export: Callable[[int], Exported],
    make_tiny: Callable[[int], Tiny],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A format whose answers are known: converters take seconds."""
    seen: list[int] = []

    def convert(model: Any, calibration: Any, folder: Path) -> None:
        seen.extend(len(list(calibration)) for _ in range(2))

    def load(folder: Path) -> Any:
        return lambda pixels: {"probabilities": np.ones((len(pixels), 3), np.float32)}

    monkeypatch.setitem(FORMATS, "known", Format("known", "", "answers that are known", is_calibrated=True))
    monkeypatch.setitem(
        sys.modules, "components.exporter.formats.known", SimpleNamespace(convert=convert, load=load)
    )
    monkeypatch.setattr("components.tasks.classification.export.measure", lambda *_: math.nan)
    (done,) = export_tiny(export(3), make_tiny(3), tmp_path, "known", max_drop=0.0)
    assert (done.metric, done.images) == ("", 12)
    assert seen == [12, 12]
    facts = json.loads((tmp_path / "known" / "export.json").read_text(), parse_constant=pytest.fail)
    assert "metric" not in facts


def test_what_was_lost_is_compared_also_when_it_is_no_number() -> None:
    from components.exporter.export import Export, _check_drops
    from components.exporter.measure import Measured

    def make(new: float, metric: str = "accuracy") -> Export:
        return Export("onnx", "out", metric, Measured(0.9, 1, 1.0), Measured(new, 1, 1.0), 10)

    _check_drops([make(0.9), make(0.88), make(math.nan, "")], 0.02)
    for new in (0.879, math.nan):
        with pytest.raises(NotBlessedError, match=r"onnx has accuracy (0.8790|nan) instead of 0.9000"):
            _check_drops([make(new)], 0.02)


def test_a_time_ends_when_the_answers_are_there() -> None:
    """On a GPU a function returns before."""
    from components.exporter import export as exporting

    waited: list[str] = []

    class Output:
        def numpy(self) -> str:
            waited.append("")
            return ""

    model: Any = SimpleNamespace(
        shape=(2, 2, 1), make_function=lambda count: lambda pixels: {"boxes": Output(), "scores": Output()}
    )
    assert exporting._time_original(model) >= 0
    assert len(waited) == 2 * 33


@pytest.mark.slow
def test_without_test_images_there_is_no_metric(export: Callable[[int], Exported], tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (done,) = export_tiny(export(3), None, tmp_path, "tflite", max_drop=0.0)
    assert (done.metric, done.images) == ("", 0)
    assert math.isnan(done.drop)
    assert "metric" not in json.loads((tmp_path / "tflite" / "export.json").read_text())


@pytest.mark.slow
def test_a_model_without_pixels_is_refused(tmp_path: Path) -> None:
    """Such as one of another program, or of a Transform graph that somebody wrote."""
    from components.exporter.pixel_model import PixelModel

    save_detector(
        str(tmp_path), [make_detections(found=[((0.0, 0.0, 1.0, 1.0), 1, 0.9)], name="00000.jpg")], ("cat",)
    )
    with pytest.raises(UsageError, match="expected a model with one stack of decoded images in it, got 0"):
        PixelModel(tmp_path)


def test_names_in_other_languages_stay(tmp_path: Path) -> None:
    """They are in the model card, whose figures are those of another model."""
    from components.exporter.formats.saved_model_fp16 import copy_assets

    (tmp_path / "bare").mkdir()
    copy_assets(tmp_path / "bare", tmp_path / "bare copy")
    assert not (tmp_path / "bare copy").exists()
    card = {"model_details": {"class_aliases": {"dog": {"pt": "cão"}}, "name": "digits"}, "metrics": {}}
    for folder, details in (("named", card), ("plain", {"model_details": {}})):
        (tmp_path / folder / ASSETS).mkdir(parents=True)
        for name, content in (
            (LABELS_FILE, "dog\n"),
            (CARD_FILES[0], "# digits"),
            (CARD_FILES[1], json.dumps(details)),
        ):
            (tmp_path / folder / name).write_text(content, encoding="utf-8")
        copy_assets(tmp_path / folder, tmp_path / f"{folder} copy")
    copied = tmp_path / "named copy"
    assert translate_classes(str(copied), ["dog"], "pt") == {"dog": "cão"}
    assert {path.name for path in (copied / ASSETS).iterdir()} == {"labels.txt", "model_card.json"}
    assert "digits" not in (copied / CARD_FILES[1]).read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "plain copy" / ASSETS).iterdir()} == {"labels.txt"}


@pytest.mark.slow
def test_the_snippets_of_the_docs_run(
    export: Callable[[int], Exported],
    make_tiny: Callable[[int], Tiny],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from PIL import Image

    from components.exporter.pixel_model import PixelModel

    export_tiny(export(3), None, tmp_path / "exports", "tflite", "onnx", "openvino")
    # A photo that is on its side, with details that antialiasing would blur.
    noise = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "photo.png", exif=exif)
    upright = canonical_bytes((tmp_path / "photo.png").read_bytes())
    assert upright.orientation == 6
    wanted, _ = PixelModel(export(3).folder).read_pixels([make_record(upright.encoded, 0)])
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    # That for boxes runs with a detector (tests/tasks/test_detection_training.py).
    of_classes = [snippet for snippet in snippets if "boxes" not in snippet]
    assert len(of_classes) == len(snippets) - 1 == 3
    for snippet in of_classes:
        names: dict[str, Any] = {}
        exec(compile(snippet, str(DOCS), "exec"), names)
        assert np.abs(names["pixels"].astype(int) - wanted).max() <= 1
    said = capsys.readouterr().out.split()
    assert len(said) == 3
    assert set(said) <= set(CLASS_NAMES)
    assert len(set(said)) == 1
