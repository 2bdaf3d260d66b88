"""Heat maps of classifiers, in the served graph and as `mirante predict --explain` draws them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from components.base.errors import UsageError
from components.ingest.canonical import canonical_bytes
from components.models import BACKBONE, HEAD, build_model
from components.models.config import ModelConfig
from components.pictures.heat import HeatMap, blend_heat, draw_heat
from components.prediction.loaded import LoadedModel
from components.prediction.predict import predict
from components.tasks.classification.mistake_images import write_heat
from components.tasks.classification.mistakes import Mistakes
from components.tasks.classification.serving import ClassificationModule
from components.trainer.heat import NoFeaturesError, make_heat_maps
from components.transform.pixels import find_frames
from pipeline.commands.main import main
from tests.make.detections import make_detections, save_detector
from tests.make.graphs import Exported, Tiny
from tests.make.images import encode_image, make_noise
from tests.make.records import CLASS_NAMES

pytest_plugins = ["tests.fixtures"]

# Each network, and the layer of its backbone whose output the map is made of.
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int], type[keras.layers.Layer]]] = {
    "lenet": ({}, (28, 28, 1), keras.layers.MaxPooling2D),
    "cifar_resnet": ({}, (16, 16, 3), keras.layers.ReLU),
    "mobilenet_v2": ({"alpha": 0.35}, (64, 64, 3), keras.layers.ReLU),
}


def heat_maps(model: keras.Model, pixels: Any, labels: list[int]) -> np.ndarray:
    @tf.function
    def explain(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return make_heat_maps(pixels, model(pixels, training=False), labels)

    return explain(tf.constant(pixels, tf.float32), tf.constant(labels, tf.int64)).numpy()


def compute_directly(
    model: keras.Model, features: keras.KerasTensor, pixels: Any, labels: list[int]
) -> np.ndarray:
    """Grad-CAM as in the paper, with Keras and NumPy; of LeNet, whose head tells places apart, HiResCAM."""
    backbone, head = model.get_layer(BACKBONE), model.get_layer(HEAD)
    both = keras.Model(backbone.inputs, [features, backbone.outputs[0]])
    with tf.GradientTape() as tape:
        pixels = tf.constant(pixels, tf.float32)
        tape.watch(pixels)
        maps, pooled = both(pixels, training=False)
        chosen = tf.gather(head(pooled, training=False), labels, axis=1, batch_dims=1)
    gradients = tape.gradient(chosen, maps).numpy()
    if model.name != "lenet":
        gradients = gradients.mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((gradients * maps.numpy()).sum(axis=-1), 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0)


@pytest.mark.parametrize(
    "name",
    ["lenet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cifar_resnet", "mobilenet_v2"))],
)
def test_the_map_is_that_of_a_direct_computation(name: str) -> None:
    options, shape, layer = NETWORKS[name]
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    model = build_model(ModelConfig(name=name, **options), shape, 4)
    last = [each for each in model.get_layer(BACKBONE).layers if isinstance(each, layer)][-1]
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, *shape))
    found = heat_maps(model, pixels, [0, 1, 2, 3])
    assert found.shape == (4, *last.output.shape[1:3])
    np.testing.assert_allclose(found, compute_directly(model, last.output, pixels, [0, 1, 2, 3]), atol=2e-5)
    assert found.max() == 1.0


def test_custom_networks_have_maps_however_they_are_nested() -> None:
    class Own(keras.Model):
        """Without a graph of Keras'."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, activation="relu")
            self.dense = keras.layers.Dense(3)

        def call(self, pixels: Any) -> Any:
            maps = self.conv(pixels)
            # Pooled to one pixel: the map in front of it counts.
            return self.dense(tf.reshape(tf.reduce_max(maps, axis=(1, 2), keepdims=True), (-1, 4)))

    inner = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Conv2D(4, 3, strides=2)])
    nested = keras.Sequential([inner, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    pixels = make_noise(0, 12, 12)[np.newaxis] / 255.0
    assert heat_maps(Own(), pixels, [1]).shape == (1, 10, 10)
    assert heat_maps(nested, pixels, [1]).shape == (1, 5, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.Rescaling(2.0), keras.layers.AveragePooling2D(2)],
        # Its maps are one pixel large.
        [keras.layers.Conv2D(4, 12)],
    ],
)
def test_a_network_without_maps_is_served_without_a_heat_map(
    layers: list[keras.layers.Layer],
    make_tiny: Callable[[int], Tiny],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends = [keras.layers.Flatten(), keras.layers.Dense(3)]
    with pytest.raises(NoFeaturesError, match="no convolution"):
        heat_maps(keras.Sequential([keras.Input((12, 12, 1)), *layers, *ends]), np.zeros((1, 12, 12, 1)), [0])
    if isinstance(layers[0], keras.layers.Rescaling):
        dense = keras.Sequential([keras.Input((16, 16, 3)), *layers, keras.layers.Flatten()])
        module = ClassificationModule(dense, make_tiny(3).tft_output, list(CLASS_NAMES))
        with caplog.at_level(logging.INFO, "mirante.trainer"):
            assert module.make_explainer() is None
        assert "heat maps" in caplog.text


@pytest.mark.slow
def test_the_heat_is_on_the_patch_that_decides_the_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    images = rng.normal(0, 0.2, (256, 16, 16, 1)).astype(np.float32)
    images[labels == 1, 1:5, 10:14] += 1.5  # upper right
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(name="lenet"), (16, 16, 1), 2)
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, epochs=4, batch_size=32, verbose=0)
    patched = images[labels == 1][:20]
    assert (model(patched).numpy().argmax(axis=1) == 1).all()
    heat = np.stack([HeatMap(values).resize((16, 16)) for values in heat_maps(model, patched, [1] * 20)])
    shares = heat[:, :8, 8:].sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
    assert shares.min() > 0.6  # of a quarter of the image
    rows, columns = zip(*(np.unravel_index(each.argmax(), each.shape) for each in heat), strict=True)
    assert max(rows) <= 7
    assert min(columns) >= 8


@pytest.mark.both_stacks
@pytest.mark.slow
def test_the_saved_model_has_the_map_of_the_class_that_is_asked_for(
    make_tiny: Callable[[int], Tiny], export: Callable[[int], Exported]
) -> None:
    exported = export(3)
    loaded = LoadedModel(exported.folder, "16")
    assert loaded.can_explain
    encoded = make_tiny(3).encoded[:3]
    found = loaded.explain([*encoded, encoded[0]], [0, 1, 2, 1])
    pixels = tf.saved_model.load(str(exported.folder)).transform(tf.constant([*encoded, encoded[0]]))
    wanted = heat_maps(exported.model, pixels, [0, 1, 2, 1])
    for heat, values in zip(found, wanted, strict=True):
        np.testing.assert_allclose(heat.values, values, atol=2e-5)
        assert heat.frame == (0.0, 0.0, 1.0, 1.0)
    assert not np.allclose(found[0].values, found[3].values)  # another class, another map


@pytest.mark.slow
def test_padding_is_not_part_of_the_map(
    make_tiny: Callable[[int], Tiny], export: Callable[[int], Exported]
) -> None:
    module = ClassificationModule(export(3).model, make_tiny(3).tft_output, list(CLASS_NAMES))
    module.padded_to = (16, 16)
    images = tf.constant([encode_image(make_noise(0, 10, 20)), encode_image(make_noise(0, 20, 10))])
    found = module.make_explainer()(images, tf.constant([0, 0], tf.int64))
    assert found["frame"].numpy().tolist() == [[0.0, 0.25, 1.0, 0.75], [0.25, 0.0, 0.75, 1.0]]
    assert np.array_equal(found["frame"], find_frames(images, (16, 16)))
    # The rows above and below of a wide image in a square are no part of it.
    values = np.zeros((16, 16), np.float32)
    values[:2] = values[14:] = 1.0
    resized = HeatMap(values, (0.0, 0.25, 1.0, 0.75)).resize((40, 20))
    assert resized.shape == (20, 40)
    assert resized.max() == 0.0
    assert HeatMap(values).resize((40, 20)).max() == 1.0


def test_heat_is_drawn_where_it_is_and_nowhere_else() -> None:
    image = Image.new("RGB", (60, 40), (100, 100, 100))
    values = np.zeros((4, 6), np.float32)
    values[0, 5] = 1.0
    blended = np.asarray(blend_heat(image, HeatMap(values)))
    assert blended.shape == (40, 60, 3)
    assert (blended[20:, :30] == 100).all()
    assert np.abs(blended[3, 57].astype(int) - 100).max() > 80
    nothing = HeatMap(np.array([[np.nan, np.inf], [0.0, -1.0]]))
    assert (np.asarray(blend_heat(image.convert("L"), nothing)) == 100).all()


@pytest.mark.parametrize("size", [(800, 600), (500, 20), (20, 500), (1, 1)])
def test_the_drawing_has_the_image_as_it_is_above_the_legend(size: tuple[int, int]) -> None:
    drawn = draw_heat(Image.new("L", size, 90), HeatMap(np.zeros((7, 7))), "ein grüner Hund 0.99")
    factor = max(1, -(-400 // max(size)))
    assert drawn.width >= size[0] * factor
    assert drawn.height > size[1] * factor
    assert (np.asarray(drawn)[: size[1] * factor, : size[0] * factor] == 90).all()
    legend = np.asarray(drawn.crop((0, size[1] * factor, drawn.width, drawn.height)))
    assert (legend.min(axis=2) < 60).any()  # letters


@pytest.mark.slow
def test_the_command_draws_upright_images_of_the_original_size(
    export: Callable[[int], Exported], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "turned.jpg").write_bytes(encode_image(make_noise(0, 420, 600), "JPEG", exif=exif))
    (photos / "grün.png").write_bytes(encode_image(make_noise(1, 410, 500, 4), "PNG"))
    (photos / "a.gif").write_bytes(encode_image(make_noise(3, 400, 400, 1), "GIF"))
    (photos / "broken.png").write_bytes(b"no image")
    folder = tmp_path / "new" / "heat"
    arguments = ["predict", str(export(3).folder), str(photos), "--min-score", "1", "--json"]
    ended = CliRunner().invoke(main, [*arguments, "--explain", str(folder)])
    assert ended.exit_code == 1  # for the broken one
    answers = {Path(each["image"]).name: each for each in json.loads(ended.stdout.splitlines()[-1])}
    assert "error" in answers["broken.png"]
    assert "explained" not in answers["broken.png"]
    for name, size in (("turned", (420, 600)), ("grün", (500, 410)), ("a", (400, 400))):
        path = folder / f"{name}.heat.jpg"
        answer = next(each for key, each in answers.items() if Path(key).stem == name)
        assert answer["explained"] == str(path)
        with Image.open(path) as drawn:
            assert drawn.width == size[0]
            assert size[1] < drawn.height < size[1] + 80
    assert sorted(each.name for each in folder.iterdir()) == [
        "a.heat.jpg",
        "grün.heat.jpg",
        "turned.heat.jpg",
    ]
    # Under the best class, also where --min-score hides it.
    assert answers["a.gif"]["predictions"] == []
    stored = canonical_bytes((photos / "a.gif").read_bytes()).encoded
    (best, *_) = predict(str(export(3).folder), [str(photos / "a.gif")])[0]["predictions"]
    heat = LoadedModel(export(3).folder, "16").explain([stored], [CLASS_NAMES.index(best["label"])])[0]
    with Image.open(photos / "a.gif") as file, Image.open(folder / "a.heat.jpg") as drawn:
        wanted = draw_heat(file, heat, f"{best['label']} {best['score']:.2f}")
        assert np.abs(np.asarray(wanted).astype(int) - np.asarray(drawn)).mean() < 3


@pytest.mark.slow
def test_the_worst_mistakes_get_heat_maps_of_the_predicted_class(
    export: Callable[[int], Exported], make_tiny: Callable[[int], Tiny], tmp_path: Path
) -> None:
    encoded = dict(enumerate(make_tiny(3).encoded[:3]))
    # The second one has no predicted class: its probabilities are not numbers.
    listed = [(0.9, "a", 0, 1), (-1.0, "b", 0, -1), (0.5, "c", 0, 2)]
    mistakes = Mistakes(CLASS_NAMES, 3, listed)
    write_heat(str(tmp_path), mistakes, encoded, str(export(3).folder))
    assert sorted(path.name for path in (tmp_path / "heat").iterdir()) == ["0.jpeg", "2.jpeg"]
    (heat,) = LoadedModel(export(3).folder, "16").explain([encoded[2]], [2])
    with Image.open(io.BytesIO(encoded[2])) as file, Image.open(tmp_path / "heat" / "2.jpeg") as drawn:
        assert drawn.size == file.size
        assert np.abs(np.asarray(blend_heat(file, heat)).astype(int) - np.asarray(drawn)).mean() < 12


def test_a_model_that_cannot_explain_its_mistakes_is_evaluated_all_the_same(tmp_path: Path) -> None:
    mistakes = Mistakes(CLASS_NAMES, 1, [(0.9, "a", 0, 1)])
    tf.saved_model.save(tf.Module(), str(tmp_path / "plain"))
    for model in (tmp_path / "plain", tmp_path / "none"):
        write_heat(str(tmp_path), mistakes, {0: encode_image(make_noise(0, 20, 20))}, str(model))
    assert not (tmp_path / "heat").exists()


def test_models_without_heat_maps_are_refused(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(encode_image(make_noise(0, 20, 20)))
    save_detector(str(tmp_path / "7"), [make_detections(name="00000.jpg")], ("cat", "dog"))
    with pytest.raises(UsageError, match=r"--explain .*: .* is a detector, .* give --draw instead"):
        predict(str(tmp_path / "7"), [str(image)], explain=tmp_path / "heat")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.size(image_bytes)
        labels = tf.tile([["cat", "dog"]], [count, 1])
        return {"probabilities": tf.tile([[0.25, 0.75]], [count, 1]), "labels": labels}

    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "old"), signatures={"serving_default": serve})
    with pytest.raises(UsageError, match="has no heat maps: its network has no convolution, or an earlier"):
        predict(str(tmp_path / "old"), [str(image)], explain=tmp_path / "heat")
    with pytest.raises(UsageError, match=r"--explain .*a\.png: cannot be made: File exists"):
        predict(str(tmp_path / "old"), [], explain=image)
