"""The SavedModel: one graph from bytes to probabilities, the same in training and in serving, bit for bit."""

from __future__ import annotations

import functools
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

from components.ingest.canonical import canonical_bytes
from components.prediction.predict import predict
from components.tasks.classification.trainer import Classification
from components.trainer.config import TrainingConfig
from components.trainer.input.split import SplitInput
from components.transform.pixels import IMAGE
from pipeline.serving.models.saved_model import SavedModel, SessionOptions
from schemas import features
from tests.make.graphs import Exported, Tiny
from tests.make.images import encode_image, make_noise
from tests.make.records import CLASS_NAMES

pytest_plugins = ["tests.fixtures"]

# The first images of tests/make/graphs.py: JPEG and PNG in colour, JPEG and PNG in gray, twice.
BATCH = 8
PROBE = """
import json, sys
import tensorflow as tf
answers = []
for folder in sys.argv[2:]:
    loaded = tf.saved_model.load(folder)
    images = tf.constant([bytes.fromhex(line) for line in open(sys.argv[1])])
    outputs = loaded.signatures["serving_default"](image_bytes=images)
    answers.append({
        "probabilities": outputs["probabilities"].numpy().tobytes().hex(),
        "pixels": loaded.transform(images).numpy().tobytes().hex(),
    })
foreign = ("tfx", "tfx_bsl", "tensorflow_transform", "keras", "components")
print(json.dumps({"answers": answers, "foreign": [name for name in foreign if name in sys.modules]}))
"""


# The fast tests make one model.
CHANNELS = [3, pytest.param(1, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def loaded(export: Callable[[int], Exported]) -> Callable[[int], tf.Module]:
    """Gives the exported model by the number of channels."""
    return functools.cache(lambda channels: tf.saved_model.load(str(export(channels).folder)))


def probabilities(outputs: dict[str, tf.Tensor]) -> np.ndarray:
    return outputs["probabilities"].numpy()


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_training_and_serving_see_the_same_pixels_bit_for_bit(
    make_tiny: Callable[[int], Tiny], loaded: Callable[[int], tf.Module], channels: int, cache: str
) -> None:
    split = make_tiny(channels)
    images, labels = SplitInput(
        "train", [split.pattern], split.tft_output, Classification(()), TrainingConfig(cache=cache)
    ).load(tf.range(12))
    # Two shards are read in turn, which is the order of the records.
    assert labels.numpy().tolist() == [index % 3 for index in range(12)]
    served = loaded(channels).transform(tf.constant(split.encoded))
    assert served.shape == (12, 16, 16, channels)
    assert served.numpy().tobytes() == images.numpy().tobytes()
    # All of them are images, each another.
    assert len({image.tobytes() for image in served.numpy()}) == 12
    assert served.numpy().std(axis=(1, 2)).min() > 0.1


@pytest.mark.slow
@pytest.mark.both_stacks
@pytest.mark.parametrize("channels", CHANNELS)
def test_both_signatures_and_the_network_give_the_same_probabilities_bit_for_bit(
    make_tiny: Callable[[int], Tiny],
    export: Callable[[int], Exported],
    loaded: Callable[[int], tf.Module],
    channels: int,
) -> None:
    split, model = make_tiny(channels), export(channels).model
    signatures = loaded(channels).signatures
    images, _ = SplitInput("train", [split.pattern], split.tft_output, Classification(())).load(
        tf.range(BATCH)
    )
    trained = tf.function(lambda pixels: tf.nn.softmax(model(pixels, training=False)))(images).numpy()
    by_bytes = probabilities(signatures["serving_default"](image_bytes=tf.constant(split.encoded[:BATCH])))
    by_example = probabilities(signatures["serving_tf_examples"](examples=tf.constant(split.records[:BATCH])))
    assert by_bytes.tobytes() == by_example.tobytes() == trained.tobytes()
    classified = signatures["classify"](inputs=tf.constant(split.records[:BATCH]))
    assert classified["scores"].numpy().tobytes() == trained.tobytes()
    assert classified["classes"].numpy().tolist() == [[name.encode() for name in CLASS_NAMES]] * BATCH
    np.testing.assert_allclose(trained.sum(axis=1), np.ones(BATCH), rtol=1e-6)
    # The answers depend on the image.
    assert len({row.tobytes() for row in trained}) == BATCH
    # Order and size of a batch change nothing but the last digits.
    alone = probabilities(signatures["serving_default"](image_bytes=tf.constant(split.encoded[5:6])))
    np.testing.assert_allclose(alone[0], by_bytes[5], rtol=1e-5)


@pytest.mark.slow
def test_a_server_that_restores_by_the_graph_gives_the_same_answers(
    make_tiny: Callable[[int], Tiny], export: Callable[[int], Exported], loaded: Callable[[int], tf.Module]
) -> None:
    images = make_tiny(1).encoded[:BATCH]
    served = SavedModel(str(export(1).folder), SessionOptions())
    signature = served.signatures["serving_default"]
    outputs = signature.outputs
    (by_graph,) = served.run(
        {signature.inputs["image_bytes"].name: np.array(images, dtype=object)},
        [outputs["probabilities"].name],
    )
    by_object = probabilities(loaded(1).signatures["serving_default"](image_bytes=tf.constant(images)))
    np.testing.assert_allclose(by_graph, by_object, rtol=1e-5)
    served.close()


@pytest.mark.parametrize("channels", CHANNELS)
def test_signatures_are_those_that_are_promised(loaded: Callable[[int], tf.Module], channels: int) -> None:
    signatures = loaded(channels).signatures
    assert set(signatures) == {"serving_default", "serving_tf_examples", "classify"}
    assert list(signatures["classify"].structured_input_signature[1]) == ["inputs"]
    assert set(signatures["classify"].structured_outputs) == {"classes", "scores"}
    for name, argument in (("serving_default", "image_bytes"), ("serving_tf_examples", "examples")):
        positional, named = signatures[name].structured_input_signature
        assert positional == ()
        assert list(named) == [argument]
        assert (named[argument].dtype, named[argument].shape.as_list()) == (tf.string, [None])
        outputs = signatures[name].structured_outputs
        assert {key: spec.dtype for key, spec in outputs.items()} == {
            "probabilities": tf.float32,
            "labels": tf.string,
        }
        assert outputs["probabilities"].shape.as_list() == [None, 3]


@pytest.mark.parametrize("count", [1, 4])
def test_every_answer_names_the_classes_in_their_order(
    make_tiny: Callable[[int], Tiny], loaded: Callable[[int], tf.Module], count: int
) -> None:
    outputs = loaded(3).signatures["serving_default"](image_bytes=tf.constant(make_tiny(3).encoded[:count]))
    assert outputs["labels"].shape == (count, 3)
    assert outputs["labels"].numpy().tolist() == [[b"bird", b"cat", b"dog"]] * count


def test_examples_need_nothing_but_the_image(
    make_tiny: Callable[[int], Tiny], loaded: Callable[[int], tf.Module]
) -> None:
    example = tf.train.Example()
    example.features.feature["image/encoded"].bytes_list.value.append(make_tiny(3).encoded[0])
    signature = loaded(3).signatures["serving_tf_examples"]
    bare = signature(examples=tf.constant([example.SerializeToString()]))
    whole = signature(examples=tf.constant(make_tiny(3).records[:1]))
    np.testing.assert_array_equal(bare["probabilities"], whole["probabilities"])


@pytest.mark.parametrize("channels", CHANNELS)
def test_files_as_they_are_give_the_pixels_and_answers_of_their_stored_form(
    make_tiny: Callable[[int], Tiny], loaded: Callable[[int], tf.Module], channels: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    files = [
        encode_image(make_noise(0, 20, 30), "JPEG", exif=exif),
        encode_image(make_noise(1, 20, 30, 1), "PNG", exif=exif),
        encode_image(make_noise(2, 20, 30, 4), "PNG"),  # red, green, blue, alpha
        encode_image(make_noise(3, 20, 30, 2), "PNG"),  # grey, alpha
        make_tiny(channels).encoded[0],
    ]
    stored = [canonical_bytes(file).encoded for file in files]
    assert [before == after for before, after in zip(files, stored, strict=True)] == [False] * 4 + [True]
    served = loaded(channels).transform(tf.constant(files)).numpy()
    # What Transform makes of what ingest stored, which is what training sees.
    layer = make_tiny(channels).tft_output.transform_features_layer()
    trained = layer({features.ENCODED: tf.constant([[image] for image in stored])})[IMAGE].numpy()
    assert served.tobytes() == trained.tobytes()
    signature = loaded(channels).signatures["serving_default"]
    as_they_are, as_stored = (signature(image_bytes=tf.constant(images)) for images in (files, stored))
    assert probabilities(as_they_are).tobytes() == probabilities(as_stored).tobytes()


@pytest.mark.slow
def test_predict_asks_with_the_files_themselves_and_says_where_it_cannot(
    export: Callable[[int], Exported], loaded: Callable[[int], tf.Module], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "turned.jpg": encode_image(make_noise(0, 20, 30), "JPEG", exif=exif),
        "alpha.png": encode_image(make_noise(2, 20, 30, 4), "PNG"),
        "a.gif": encode_image(make_noise(3, 20, 30, 1), "GIF"),
        "half.jpg": encode_image(make_noise(0, 64, 64), "JPEG")[:2000] + b"\xff\xd9",
    }
    for name, file in files.items():
        (tmp_path / name).write_bytes(file)
    gif, *others = predict(str(export(3).folder), [str(tmp_path / name) for name in ("a.gif", *files)])
    assert gif["converted"] == "expected a JPEG or PNG, got another format"
    turned, alpha, again, half = others
    assert "converted" not in turned
    assert again == gif
    assert half["error"].startswith("truncated or damaged JPEG: Corrupt JPEG data")
    signature = loaded(3).signatures["serving_default"]
    stored = canonical_bytes(files["a.gif"]).encoded
    for answer, sent in ((turned, files["turned.jpg"]), (alpha, files["alpha.png"]), (gif, stored)):
        asked = probabilities(signature(image_bytes=tf.constant([sent])))[0]
        found = {each["label"]: each["score"] for each in answer["predictions"]}
        np.testing.assert_allclose([found[name] for name in CLASS_NAMES], asked, rtol=1e-5)


def test_what_the_graph_cannot_do_right_is_refused_with_advice(loaded: Callable[[int], tf.Module]) -> None:
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(buffer, "JPEG")
    for file, got in (
        (encode_image(make_noise(0, 8, 8), "GIF"), "another format"),
        (buffer.getvalue(), "CMYK"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"got {got}; convert it to an RGB JPEG or"):
            loaded(3).signatures["serving_default"](image_bytes=tf.constant([file]))


def test_an_image_that_is_none_is_an_error(loaded: Callable[[int], tf.Module]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded(3).signatures["serving_default"](image_bytes=tf.constant([b"no image"]))


def test_what_functions_share_is_in_the_model_once(export: Callable[[int], Exported]) -> None:
    saved = SavedModelProto.FromString((export(3).folder / "saved_model.pb").read_bytes())
    names = [function.signature.name for function in saved.meta_graphs[0].graph_def.library.function]
    traced = [re.sub(r"_\d+$", "", name) for name in names]
    for name in ("canonical", "transform", "explain"):
        assert traced.count(f"__inference_{name}") == 1, names


def test_the_class_list_lies_beside_the_model(export: Callable[[int], Exported]) -> None:
    folder = export(3).folder
    assert (folder / "assets.extra" / "labels.txt").read_bytes() == b"bird\ncat\ndog\n"
    assert (folder / "assets.extra" / "task.txt").read_bytes() == b"classification\n"
    assert (folder / "fingerprint.pb").is_file()  # what Pusher tells models apart by
    assert CLASS_NAMES == ("bird", "cat", "dog")


@pytest.mark.slow
def test_a_fresh_process_needs_tensorflow_alone(
    tmp_path: pytest.TempPathFactory,
    make_tiny: Callable[[int], Tiny],
    export: Callable[[int], Exported],
    loaded: Callable[[int], tf.Module],
) -> None:
    encoded = make_tiny(3).encoded[:BATCH]
    images = tmp_path / "images.txt"
    images.write_text("\n".join(image.hex() for image in encoded))
    folders = [str(export(channels).folder) for channels in (1, 3)]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(images), *folders],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["foreign"] == []
    for channels, answer in zip((1, 3), said["answers"], strict=True):
        module = loaded(channels)
        here = module.signatures["serving_default"](image_bytes=tf.constant(encoded))["probabilities"]
        assert bytes.fromhex(answer["probabilities"]) == here.numpy().tobytes()
        assert bytes.fromhex(answer["pixels"]) == module.transform(tf.constant(encoded)).numpy().tobytes()
