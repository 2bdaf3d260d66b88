"""Labels that a model doubts, which answers by the brightest channel of an image."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from components.base.errors import UsageError
from pipeline.inspection.facts import Doubt, Facts
from pipeline.inspection.inspect import inspect
from pipeline.inspection.look import Asked
from pipeline.inspection.text import format_facts
from tests.make.boxes import write_files
from tests.make.images import make_coloured_png
from tests.make.layouts import LAYOUTS

pytestmark = pytest.mark.usefixtures("inline_workers")


class Brightest(tf.Module):
    """Gives 0.9 to the class of the brightest channel: blue, green or red."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def brightest(data: tf.Tensor) -> tf.Tensor:
            image = tf.cast(tf.io.decode_image(data, 3, expand_animations=False), tf.float32)
            return 2 - tf.argmax(tf.reduce_mean(image, [0, 1]))

        labels = tf.map_fn(brightest, image_bytes, tf.int64)
        names = tf.tile([["blue", "green", "red"]], [tf.shape(labels)[0], 1])
        return {"probabilities": tf.one_hot(labels, 3, 0.9, 0.05), "labels": names}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("serving")
    module = Brightest()
    tf.saved_model.save(module, str(folder / "1"), signatures={"serving_default": module.serve})
    return str(folder)


def look(data: Path, model: str) -> Facts:
    return inspect(Asked(str(data), model=model))


def test_wrong_labels_are_candidates(model: str, tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{name}/{label}{n}.png": make_coloured_png(label, 10 * label + n)
        for label, name in enumerate(("blue", "green"))
        for n in range(5)
    }
    files["blue/wrong.png"] = make_coloured_png(1, 99)
    files["violet/1.png"] = make_coloured_png(2, 98)
    facts = look(write_files(tmp_path, files), model)
    assert facts.doubts is not None
    assert facts.doubts.images == [Doubt("blue/wrong.png", "blue", "green", 0.9)]
    assert (facts.doubts.asked, facts.doubts.agreed) == (11, 10)
    assert facts.doubts.unknown_classes == ["violet"]
    assert "blue/wrong.png: blue in the data, green by the model (0.90)" in format_facts(facts)


def test_images_in_records_are_asked_about_too(model: str, tmp_path: Path) -> None:
    facts = look(LAYOUTS["TFRecords"].write(tmp_path), model)
    assert facts.doubts is not None
    assert (facts.doubts.asked, facts.doubts.agreed) == (facts.images, facts.images)


def test_boxes_have_no_label_to_doubt(model: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected data with one class per image, got boxes"):
        look(LAYOUTS["Pascal VOC"].write(tmp_path), model)
