"""Networks of the user's own: where they are found, what they may return, what is said if they may not."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.base.errors import MiranteError, UsageError
from components.models import BACKBONE, HEAD, build_model
from components.models.config import ModelConfig
from components.models.user_code import builder_digest, check_builder, module_file
from components.tasks.classification.trainer import Classification
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import ArrayExamples
from components.trainer.step import build_step
from components.trainer.strategy import Place
from pipeline.recipe.load import load_recipe

SHAPE = (8, 8, 3)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"
HEADER = """
import keras
from keras import layers, ops
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module below a folder of the search path; returns the name of its function `build`."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write_module(code: str, file: str = "networks.py") -> str:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + textwrap.dedent(code), encoding="utf-8")
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        sys.modules.pop(module, None)
        return f"{module}:build"

    yield write_module
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def build(name: str, num_classes: int = 4, **config: Any) -> keras.Model:
    return build_model(ModelConfig(name=name, **config), SHAPE, num_classes)


def refusal(name: str, **config: Any) -> str:
    with pytest.raises(MiranteError) as caught:
        build(name, **config)
    said = str(caught.value)
    assert said.startswith(f"model.name: {name}: ")
    return said.removeprefix(f"model.name: {name}: ")


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, *SHAPE)).astype(np.float32)


WHOLE = """
def build(config, input_shape, num_classes):
    return keras.Sequential([layers.Flatten(), layers.Dense(num_classes{options})])
"""
PAIR = """
def build(config, input_shape, num_classes):
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(layers.Conv2D(2, 3, name="first")(inputs))
    return keras.Model(inputs, x), keras.Sequential([layers.Dense(num_classes, name="last")])
"""
SUBCLASS = """
@keras.saving.register_keras_serializable()
class Net(keras.Model):
    def __init__(self, num_classes, **options):
        super().__init__(**options)
        self.num_classes = num_classes
        self.flatten = layers.Flatten()
        self.dense = layers.Dense(num_classes)

    def call(self, x, training=False):
        return {result}

    def get_config(self):
        return {{**super().get_config(), "num_classes": self.num_classes}}


def build(config, input_shape, num_classes):
    return Net(num_classes)
"""
LOGITS = SUBCLASS.format(result="self.dense(self.flatten(x))")


# --- what they may return


def test_a_pair_becomes_backbone_and_head(write: Write) -> None:
    model = build(write(PAIR, "my_package/networks.py"))
    assert model.name == "my_package_networks_build"
    assert [layer.name for layer in model.layers[1:]] == [BACKBONE, HEAD]
    backbone, head = model.get_layer(BACKBONE), model.get_layer(HEAD)
    assert (backbone.output_shape, head.output_shape) == ((None, 72), (None, 4))
    # Their own layers, not wrapped: fine-tuning looks for batch norms among them.
    assert backbone.get_layer("first").filters == 2
    assert head.get_layer("last").units == 4
    np.testing.assert_allclose(model(images()), head(backbone(images())), rtol=1e-6)


@pytest.mark.parametrize("code", [WHOLE.format(options=""), LOGITS], ids=["sequential", "subclass"])
def test_one_model_may_be_returned(write: Write, code: str) -> None:
    model = build(write(code))
    assert [layer.name for layer in model.layers[1:]] == ["network"]
    assert model.input_shape == (None, *SHAPE)
    assert model.output_shape == (None, 4)
    assert len(model.trainable_variables) == 2
    kernel, bias = (variable.numpy() for variable in model.trainable_variables)
    np.testing.assert_allclose(model(images()), images().reshape(3, -1) @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_the_function_is_told_all_it_may_want_to_know(write: Write) -> None:
    name = write("""
    def build(config, input_shape, num_classes):
        assert input_shape == (8, 8, 3) and num_classes == 4
        assert (config.dropout, config.options) == (0.25, {"units": [5, 6], "text": "x", "none": None})
        dense = [layers.Dense(units) for units in config.options["units"]]
        return keras.Sequential([layers.Flatten(), *dense, layers.Dense(num_classes)])
    """)
    model = build(name, dropout=0.25, options={"units": [5, 6], "text": "x", "none": None})
    assert [weight.shape for weight in model.get_weights()][::2] == [(192, 5), (5, 6), (6, 4)]


def test_the_seed_decides_the_weights(write: Write) -> None:
    name = write(PAIR)

    def weights(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        return build(name).get_weights()

    assert all(np.array_equal(a, b) for a, b in zip(weights(1), weights(1), strict=True))
    assert not np.array_equal(weights(1)[0], weights(2)[0])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "code", [PAIR, WHOLE.format(options=""), LOGITS], ids=["pair", "sequential", "subclass"]
)
def test_logits_are_float32_in_mixed_precision(write: Write, code: str, policy: str) -> None:
    name = write(code)
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build(name)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed(images()).dtype == tf.float32
    assert {variable.dtype for variable in mixed.variables} == {"float32"}
    assert mixed.layers[-1](mixed.layers[-2](images()) if code == PAIR else images()).dtype == tf.float32
    # What is exported is built again in 32 bits, and given the weights.
    full = build(name)
    full.set_weights(mixed.get_weights())
    difference = np.abs(full(images()).numpy() - mixed(images()).numpy()).max()
    assert 0 < difference < 0.1


def test_pretrained_weights_are_the_functions_own_business(write: Write, tmp_path: Path) -> None:
    name = write("""
    def build(config, input_shape, num_classes):
        backbone = keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(3)])
        backbone.load_weights(config.weights)
        return backbone, keras.Sequential([layers.Dense(num_classes)])
    """)
    source = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    file = str(tmp_path / "own.weights.h5")
    source.save_weights(file)
    found = build(name, weights=file).get_layer(BACKBONE).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(found, source.get_weights(), strict=True))


# --- what they may not


def test_with_weights_the_head_must_be_apart(write: Write, tmp_path: Path) -> None:
    said = refusal(write(WHOLE.format(options="")), weights=str(tmp_path / "own.weights.h5"))
    assert said.startswith(
        "with model.weights the head is trained first, alone: return (backbone, head) instead"
    )


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (
            "None",
            "expected (backbone, head), two keras.Model, or one keras.Model that gives logits, got NoneType",
        ),
        ("layers.Dense(num_classes)", "expected (backbone, head), two keras.Model, or one keras.Model that"),
        ("(keras.Sequential([layers.Flatten()]),)", "got (Sequential)"),
        ("(keras.Sequential([layers.Flatten()]), layers.Dense(4))", "got (Sequential, Dense)"),
        (
            "keras.Sequential([layers.Flatten(), layers.Dense(num_classes + 1)])",
            "expected logits [N, 4], one for each class, got [N, 5]; num_classes is the function's",
        ),
        (
            "keras.Sequential([layers.Dense(num_classes)])",
            "expected logits [N, 4], one for each class, got [N, 8, 8, 4]",
        ),
        (
            "(keras.Sequential([layers.Conv2D(2, 3)]), keras.Sequential([layers.Dense(num_classes)]))",
            "the backbone must give features [N, D], got [N, 6, 6, 2]: end it with keras.layers.Glo",
        ),
        (
            "keras.Sequential([keras.Input((9, 9, 3)), layers.Flatten(), layers.Dense(num_classes)])",
            "the network does not take [N, 8, 8, 3]: ValueError: ",
        ),
        ("1 / 0", "the call (config, (8, 8, 3), 4) failed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_network_is_refused(write: Write, returned: str, said: str) -> None:
    name = write(f"def build(config, input_shape, num_classes):\n    return {returned}\n")
    assert said in refusal(name)


def test_several_outputs_are_refused(write: Write) -> None:
    name = write("""
    def build(config, input_shape, num_classes):
        inputs = keras.Input(input_shape)
        x = layers.Flatten()(inputs)
        return keras.Model(inputs, [layers.Dense(num_classes)(x), layers.Dense(num_classes)(x)])
    """)
    assert refusal(name) == "the network must give one tensor, got list"


@pytest.mark.parametrize(
    ("code", "last"),
    [
        (
            WHOLE.format(options=", activation='softmax', name='probs'"),
            "'probs' (Dense), ends in softmax: leave it out",
        ),
        (WHOLE.format(options=", activation='sigmoid'"), "(Dense), ends in sigmoid"),
        (WHOLE.format(options="), layers.Softmax("), "(Softmax), ends in softmax"),
        (WHOLE.format(options="), layers.Activation('softmax'"), "(Activation), ends in softmax"),
        (
            WHOLE.format(options="), layers.Activation('softmax'), layers.Activation('linear'"),
            "ends in softmax",
        ),
        (WHOLE.format(options="), keras.Sequential([layers.Softmax()]"), "(Softmax), ends in softmax"),
        (WHOLE.format(options="), layers.Lambda(lambda x: ops.softmax(x)"), "(Lambda), ends in softmax"),
        (SUBCLASS.format(result="ops.softmax(self.dense(self.flatten(x)))"), "(Net), ends in softmax"),
        (
            """
            def build(config, input_shape, num_classes):
                inputs = keras.Input(input_shape)
                return keras.Model(inputs, ops.softmax(layers.Dense(num_classes)(layers.Flatten()(inputs))))
            """,
            "(Softmax), ends in softmax",
        ),
        (PAIR.replace('name="last"', "activation='softmax'"), "(Dense), ends in softmax"),
    ],
)
def test_probabilities_are_refused(write: Write, code: str, last: str) -> None:
    said = refusal(write(code))
    assert said.startswith("expected logits, got probabilities: the last layer, ")
    assert last in said
    assert said.endswith("the loss and the served model apply softmax themselves")


def test_what_cannot_be_saved_is_refused_before_training(write: Write) -> None:
    name = write("""
    class Scale(layers.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return self.function(x)


    def build(config, input_shape, num_classes):
        return keras.Sequential([Scale(lambda x: x / 2), layers.Flatten(), layers.Dense(num_classes)])
    """)
    said = refusal(name)
    assert said.startswith(
        "the network cannot be saved: give each layer of your own a get_config that returns what"
    )


# --- where they are found


def test_a_module_that_is_not_there_says_where_it_was_looked_for() -> None:
    for name in ("no_such_package.networks:build", "no_such_module:build"):
        said = refusal(name)
        package = re.split(r"[.:]", name)[0]
        assert (
            f"Python's search path (sys.path): install its package, or set PYTHONPATH to the "
            f"folder that {package} is in. Searched: " in said
        )
        with pytest.raises(UsageError) as caught:
            check_builder(ModelConfig(name=name))
        assert str(caught.value).endswith(said)


def test_a_module_that_needs_another_says_which(write: Write) -> None:
    said = refusal(write("import no_such_module"))
    assert said == f"networks imports no_such_module, which is not there: install it for {sys.executable}"


def test_a_module_that_fails_says_how(write: Write) -> None:
    assert refusal(write("1 / 0")) == "importing networks failed: ZeroDivisionError: division by zero"
    assert refusal(write("def build(:")).startswith("importing networks failed: SyntaxError: ")


def test_a_function_that_is_not_there_says_what_is(write: Write) -> None:
    name = write("SIZE = 3\n\ndef make(config, input_shape, num_classes): ...\n\ndef extra(): ...")
    file = module_file("networks")
    assert refusal(name) == f"build is not there in {file}; it defines extra, make"
    assert refusal("networks:SIZE") == f"SIZE is no function in {file}; it defines extra, make"


def test_a_module_is_found_without_being_run(write: Write) -> None:
    write("raise RuntimeError('run')", "loud/__init__.py")
    write("raise RuntimeError('run')", "loud/networks.py")
    file = module_file("loud.networks")
    assert file is not None
    assert file.parts[-2:] == ("loud", "networks.py")
    check_builder(ModelConfig(name="loud.networks:build"))
    check_builder(ModelConfig(name="loud:build"))
    with pytest.raises(UsageError, match=r"there is no module loud\.others"):
        check_builder(ModelConfig(name="loud.others:build"))
    assert "loud" not in sys.modules


# --- what the cache sees


def test_the_digest_follows_the_code(write: Write) -> None:
    def digest(name: str) -> str | None:
        return builder_digest(ModelConfig(name=name))

    name = write(PAIR)
    first = digest(name)
    assert first is not None
    assert len(first) == 64
    write("x = 1", "neighbour.py")
    assert digest(name) == first  # not imported
    write(PAIR + "\n# a remark", "networks.py")
    assert digest(name) == first
    write(PAIR + "\nchanged = True", "networks.py")
    assert digest(name) != first
    assert builder_digest(ModelConfig(name="lenet")) is None


def test_the_digest_follows_imports_and_named_files(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    name = write("import json, blocks\nARCH = json.load(open(f'{HERE}/arch.json'))\nX = 'a/b.txt'\n")
    write("from deep import x", "blocks.py")
    write("x = 1", "deep.py")
    (folder / "arch.json").write_text("{}")
    (folder / "other.json").write_text("{}")
    digests = [builder_digest(ModelConfig(name=name))]

    def changed() -> bool:
        digests.append(builder_digest(ModelConfig(name=name)))
        return digests[-1] != digests[-2]

    assert not changed()
    # The names of files are written as texts; a part of a text is not one.
    write("import json, blocks\nARCH = json.load(open('arch.json'))\nX = 'a/b.txt'\n")
    assert changed()
    write("x = 2", "deep.py")
    assert changed()
    (folder / "arch.json").write_text("[]")
    assert changed()
    (folder / "other.json").write_text("[]")
    assert not changed()
    (folder / "a").mkdir()
    (folder / "a" / "b.txt").write_text("1")
    assert changed()


def test_the_digest_covers_the_package(write: Write) -> None:
    write("", "my_package/__init__.py")
    name = write(PAIR, "my_package/networks.py")
    digests = [builder_digest(ModelConfig(name=name))]
    for code, file in (
        ("x = 1", "my_package/blocks.py"),
        ("x = 2", "my_package/blocks.py"),
        ("", "my_package/a/b.py"),
        ("", "my_package/weights.txt"),
    ):
        write(code, file)
        digests.append(builder_digest(ModelConfig(name=name)))
    assert len(set(digests)) == 5
    assert builder_digest(ModelConfig(name="my_package:build")) == digests[-1]


# --- docs/models.md


@pytest.mark.slow
def test_the_example_of_the_page_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, page = DOCS.read_text(encoding="utf-8").split("\n## Your own network\n")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (recipe_text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "networks.py").write_text(code)
    (tmp_path / "mine.yaml").write_text(recipe_text)
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    keras.utils.set_random_seed(0)
    model = build_model(recipe.model, (32, 32, 3), 3)
    assert [layer.filters for layer in model.get_layer(BACKBONE).layers if hasattr(layer, "filters")] == [
        16,
        32,
    ]
    # Three classes, told apart by their colour.
    labels = np.arange(48) % 3
    pixels = np.random.default_rng(0).uniform(-1, 0.5, (48, 32, 32, 3)).astype(np.float32)
    pixels[np.arange(48), ..., labels] += 0.5
    batch = tf.constant(pixels), tf.constant(labels)
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    place = Place(tf.distribute.get_strategy())
    counter = tf.Variable(0, dtype=tf.int64)
    examples, config = ArrayExamples("train", pixels, labels), TrainingConfig(global_batch_size=48)
    step = build_step(model, Classification("abc"), examples, config, place, optimizer, counter)
    results = [step(batch) for _ in range(30)]
    assert float(results[0]["loss"]) > 0.9
    assert float(results[-1]["loss"]) < 0.3
    assert float(results[-1]["accuracy"]) == 48
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(pixels), model(pixels), rtol=1e-4, atol=1e-5)
