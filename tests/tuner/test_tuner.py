"""The search for better values: what a recipe may ask for, the trials, and what becomes of their best."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
import yaml

from components.base.errors import MiranteError, UsageError
from components.base.outcome import Output, RunResult, Serving
from components.models.config import ModelConfig
from components.schema_gen.schema_file import write_schema
from components.trainer import run_fn
from components.trainer.config import TrainingConfig
from components.trainer.job import Job
from components.trainer.material import Material
from components.trainer.step import build_evaluate
from components.trainer.strategy import make_place
from components.tuner import tuner_fn
from components.tuner.config import TunerConfig
from components.tuner.search import Search
from pipeline.recipe.best import BEST_FILE
from pipeline.recipe.load import load_recipe
from pipeline.steps import node_ids
from schemas import features
from tests.make.commands import mirante, unwrap
from tests.make.graphs import Tiny
from tests.make.pipelines import make_node_runner
from tests.make.records import CLASS_NAMES, write_split

pytestmark = [pytest.mark.stack_free, pytest.mark.long]

pytest_plugins = ["tests.fixtures"]

# Neither learns in a step nor diverges; diverges at once.
SLOW, WILD = 1e-12, 1e30

# --- what a recipe may ask for


def recipe(*overrides: str) -> Any:
    return load_recipe("digits", overrides)


def fields(text: str) -> str:
    return f"tuner.fields={{{text}}}"


EVERY_KIND = fields(
    "training.learning_rate: {min: 1e-4, max: 1e-2, scale: log}, model.dropout: {min: 0, max: 0.5}, "
    "training.optimizer: {values: [adam, sgd]}, training.global_batch_size: {min: 16, max: 64}, "
    "training.weight_decay: {values: [0, 1e-4]}"
)


def test_a_recipe_without_a_search_has_no_tuner() -> None:
    assert recipe().tuner is None
    assert node_ids(recipe().optional_steps) == node_ids()
    assert "Tuner" not in node_ids()
    searching = recipe(EVERY_KIND)
    assert node_ids(searching.optional_steps) == (*node_ids()[:7], "Tuner", *node_ids()[7:])
    assert node_ids(searching.optional_steps)[6:9] == ("Transform", "Tuner", "Trainer")
    assert recipe(EVERY_KIND, "tuner=null").tuner is None


@pytest.mark.parametrize("more", [(), ("training.warm_start={from: latest_blessed}",)])
def test_the_nodes_are_those_that_are_told(more: tuple[str, ...], tmp_path: Path) -> None:
    from pipeline.data.examples import Examples

    loaded = recipe(EVERY_KIND, *more)
    examples = Examples(tmp_path, {split: f"{split}-*" for split in features.SPLITS}, list(CLASS_NAMES))
    schema = write_schema(CLASS_NAMES, tmp_path / "schema")
    runner = make_node_runner(loaded, examples, schema, tmp_path)
    assert tuple(runner.node_ids) == node_ids(loaded.optional_steps)
    assert runner.node_ids.index("Tuner") == runner.node_ids.index("Trainer") - 1


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tuner.trials=3", "tuner.fields: required, but not set"),
        (fields(""), "tuner.fields: at least one is needed"),
        (
            fields("training.lerning_rate: {min: 1, max: 2}"),
            "tuner.fields: there is no field 'training.lerning_rate': did you mean 'training.learning_rate'?",
        ),
        (fields("training: {min: 1, max: 2}"), "tuner.fields: there is no field 'training'"),
        (
            fields("training.learning_rate: {min: 0, max: 0.1}"),
            "tuner.fields.training.learning_rate: 0 cannot be: training.learning_rate: expected",
        ),
        (
            fields("model.dropout: {min: 0.5, max: 1}"),
            "tuner.fields.model.dropout: 1 cannot be: model.dropout: expected less than 1, got 1",
        ),
        (
            fields("training.learning_rate: {min: 1e-2, max: 1e-4}"),
            "tuner.fields.training.learning_rate.max: must be above min, got 0.0001 and 0.01",
        ),
        (
            fields("model.dropout: {min: 0, max: 0.5, scale: log}"),
            "tuner.fields.model.dropout.scale: log needs a min above 0, got 0.0",
        ),
        (
            fields("model.dropout: {mim: 0, max: 0.5}"),
            "unknown key 'tuner.fields.model.dropout.mim': did you mean 'min'? Known here: max, min, scale,",
        ),
        (
            fields("training.optimizer: {values: [adam, sdg]}"),
            "tuner.fields.training.optimizer: 'sdg' cannot be: training.optimizer: expected 'adam', ",
        ),
        (
            fields("training.optimizer: {min: 0, max: 1}"),
            "tuner.fields.training.optimizer: 0 cannot be: training.optimizer: expected 'adam', ",
        ),
        (
            fields("training.global_batch_size: {min: 0.5, max: 32}"),
            "tuner.fields.training.global_batch_size: 0.5 cannot be: training.global_batch_size: expected",
        ),
        (
            fields("training.per_replica_batch_size: {values: [4]}"),
            "tuner.fields.training.per_replica_batch_size: 4 cannot be: training.per_replica_batch_size: ",
        ),
        (fields("training.optimizer: {}"), "tuner.fields.training.optimizer.min: this and max are needed"),
        (fields("training.optimizer: {values: []}"), "training.optimizer.values: at least one is needed"),
        (fields("model.alpha: {values: [null]}"), "model.alpha.values: expected numbers, words or true"),
        (fields("training.optimizer: {values: [adam], min: 1}"), "values: give these, or min, max and scale"),
        (fields("training.epochs: {min: 1, max: 3}"), "tuner.fields: training.epochs is not searched for: "),
        (fields("training.guard.steps: {min: 1, max: 3}"), "training.guard.steps is not searched for: "),
        (fields("model.weights: {values: [a.h5]}"), "tuner.fields: model.weights is not searched for: "),
    ],
)
def test_what_cannot_be_searched_is_refused_at_load(override: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(override)
    assert expected in str(caught.value)


def test_trials_must_fit_the_rest_of_the_recipe() -> None:
    def refusal(*overrides: str) -> str:
        with pytest.raises(UsageError) as caught:
            recipe(EVERY_KIND, *overrides)
        return str(caught.value)

    assert refusal("tuner.epochs=2", "training.warmup_epochs=2") == (
        "--set tuner.epochs: 2 cannot be: training.warmup_epochs: must be less than epochs, got 2 and 2"
    )
    # Hyperband's shortest trials are too short for it.
    assert "tuner.epochs: 1 cannot be: training.warmup_epochs" in refusal(
        "tuner.algorithm=hyperband", "tuner.epochs=9", "training.warmup_epochs=1"
    )
    assert "hyperband gives some trials a third of them" in refusal(
        "tuner.algorithm=hyperband", "tuner.epochs=2"
    )
    assert "a search runs on one machine" in refusal("training.strategy=multi_worker")
    assert "expected 'random', 'bayesian' or 'hyperband', got 'grid'" in refusal("tuner.algorithm=grid")
    # A value that the trials could have, and the Trainer could not.
    assert "tuner.fields.training.warmup_epochs: 4 cannot be: " in refusal(
        "training.epochs=2", "tuner.epochs=9", fields("training.warmup_epochs: {min: 0, max: 4}")
    )


# --- values of an earlier search


def test_values_of_a_file_come_before_the_recipe_and_after_set(tmp_path: Path) -> None:
    file = tmp_path / BEST_FILE
    file.write_text(
        "training.learning_rate: 0.5\nmodel.dropout: 0.25\ntraining.augmentation.flip: vertical\n"
    )
    plain, given = recipe(), recipe(f"hyperparameters={file}")
    assert (plain.training.learning_rate, plain.model.dropout) == (0.002, 0.3)
    assert (given.training.learning_rate, given.model.dropout) == (0.5, 0.25)
    assert given.training.augmentation.flip == "vertical"
    assert given.training.epochs == plain.training.epochs
    for override in ("training.learning_rate=0.125", "training={learning_rate: 0.125}"):
        overridden = recipe(f"hyperparameters={file}", override)
        assert (overridden.training.learning_rate, overridden.model.dropout) == (0.125, 0.25)
    # What was resolved can be run again, whatever has become of the file.
    assert given.hyperparameters is None
    kept = tmp_path / "recipe.yaml"
    kept.write_text(yaml.safe_dump(given.model_dump(mode="json")))
    file.unlink()
    assert load_recipe(str(kept)) == given


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "training.lerning_rate: 1",
            "there is no field 'training.lerning_rate': did you mean 'training.learning",
        ),
        ("- 1", "expected lines like `training.learning_rate: 0.001`, got [1]"),
        ("a: [", "cannot be read: line 1: expected the node"),
        ("model.dropout: 2", "digits.yaml with {file}: model.dropout: expected less than 1, got 2"),
    ],
)
def test_a_file_of_wrong_values_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / BEST_FILE
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        recipe(f"hyperparameters={file}")
    assert expected.format(file=file) in str(caught.value)
    with pytest.raises(UsageError, match=r"hyperparameters: .* cannot be read: No such file"):
        recipe(f"hyperparameters={tmp_path / 'none.yaml'}")


# --- the trials


class Data:
    """A tiny split, train and eval alike, and what is searched on it."""

    def __init__(self, tiny: Tiny, folder: Path):
        self._tiny = tiny
        self.examples = folder / "examples"
        for split in (features.TRAIN, features.EVAL):
            write_split(self.examples / f"Split-{split}", tiny.records)
        self.graph = tiny.tft_output.transform_savedmodel_dir.rpartition("/")[0]
        self.schema = str(write_schema(CLASS_NAMES, folder / "schema"))

    def job(self, searches: Path, tuner: dict[str, Any], model: str = "lenet", **training: Any) -> Job:
        # Eager: without graphs to build, a trial takes a fraction of a second.
        settings = {"epochs": 1, "global_batch_size": 12, "debug": "eager", **training}
        return Job(
            train_files=[str(self.examples / "Split-train" / "*")],
            eval_files=[str(self.examples / "Split-eval" / "*")],
            transform_output=self.graph,
            schema_path=self.schema,
            custom_config={
                "task": "classification",
                "transform": self._tiny.config.model_dump(),
                "model": ModelConfig(name=model).model_dump(),
                "training": TrainingConfig(**settings).model_dump(),
                "tuner": TunerConfig(**tuner).model_dump(),
                "checkpoints": str(searches),
            },
            serving_model_dir="",
            model_run_dir="",
        )


@pytest.fixture(scope="module")
def data(make_tiny: Callable[[int], Tiny], tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(make_tiny(3), tmp_path_factory.mktemp("searched"))


def rate(*values: float) -> dict[str, Any]:
    return {"training.learning_rate": {"values": list(values)}}


def table_of(search: Search) -> list[dict[str, str]]:
    """All trials, but for the seconds they took."""
    rows = list(csv.DictReader(io.StringIO(search.table())))
    for row in rows:
        assert bool(row.pop("seconds")) == (row["status"] == "completed")
    return rows


def searched(job: Job) -> Search:
    search = Search(job)
    search.search()
    return search


def best_of(search: Search) -> dict[str, Any]:
    values: dict[str, Any] = search.get_best_hyperparameters()[0].values
    return values


@pytest.mark.slow
def test_the_values_that_learn_are_found_and_the_trainer_takes_them(
    data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tfx.components.trainer.fn_args_utils import FnArgs

    caplog.set_level(logging.INFO)
    tuner = {
        "trials": 5,
        "epochs": 4,
        "objective": "eval_loss",
        "fields": {**rate(SLOW, 0.003), "training.label_smoothing": {"values": [0.2]}},
    }
    job = data.job(tmp_path / "searches", tuner)
    arguments = FnArgs(
        train_files=job.train_files,
        eval_files=job.eval_files,
        transform_graph_path=job.transform_output,
        schema_path=job.schema_path,
        custom_config=job.custom_config,
    )
    result = tuner_fn(arguments)
    result.tuner.search(**result.fit_kwargs)

    rows = table_of(result.tuner)
    assert [row["status"] for row in rows] == ["completed", "completed"]  # there are no more than these
    losses = {float(row["training.learning_rate"]): float(row["eval_loss"]) for row in rows}
    assert losses[0.003] < losses[SLOW] - 0.1
    best = result.tuner.get_best_hyperparameters()[0].get_config()
    assert best["values"] == {"training.learning_rate": 0.003, "training.label_smoothing": 0.2}
    said = caplog.text
    # Once for each of the splits, however many trials.
    assert said.count("decoded and resized once") == 2
    assert re.search(
        r"2 trials, best eval_loss first; 0 failed\n  trial \d    eval_accuracy [\d.]+  eval_loss", said
    )
    assert not list((tmp_path / "searches").rglob("ckpt*"))

    # The Trainer with these values is the trial, to the last digit.
    arguments.hyperparameters = best
    arguments.transform_output = job.transform_output
    arguments.custom_config = {
        **data.job(tmp_path / "checkpoints", tuner, epochs=4).custom_config,
        "checkpoints": str(tmp_path / "checkpoints"),
    }
    arguments.serving_model_dir = str(tmp_path / "serving")
    arguments.model_run_dir = str(tmp_path / "run")
    run_fn(arguments)
    assert "as the search chose: training.label_smoothing=0.2, training.learning_rate=0.003" in caplog.text
    training = TrainingConfig(global_batch_size=12)  # without smoothing
    material = Material.of(job, training)
    evaluation = material.evaluation
    assert len(evaluation.labels) == 12
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    task = material.make_trainee(ModelConfig.model_validate(job.custom_config["model"]), training)
    evaluate = build_evaluate(model, task, evaluation, training, make_place(training))
    assert evaluate().loss == pytest.approx(losses[0.003], abs=1e-6)


@pytest.mark.slow
def test_equal_searches_try_and_find_the_same(data: Data, tmp_path: Path) -> None:
    tuner = {
        "trials": 2,
        "fields": {
            "training.learning_rate": {"min": 1e-4, "max": 1e-2, "scale": "log"},
            "training.global_batch_size": {"min": 4, "max": 12},
            "training.weight_decay": {"min": 0, "max": 1},
            "training.optimizer": {"values": ["adam", "sgd"]},
        },
    }
    first = table_of(searched(data.job(tmp_path / "first", tuner)))
    assert len(first) == 2
    for row in first:
        assert 1e-4 <= float(row["training.learning_rate"]) <= 1e-2
        assert int(row["training.global_batch_size"]) in range(4, 13)
        assert 0 <= float(row["training.weight_decay"]) <= 1
        assert row["training.optimizer"] in ("adam", "sgd")
    assert first[0] != first[1]
    assert table_of(searched(data.job(tmp_path / "second", tuner))) == first
    other = Search(data.job(tmp_path / "third", tuner, seed=1)).oracle.create_trial("tuner0")
    rate = other.hyperparameters.values["training.learning_rate"]
    assert rate != pytest.approx(float(first[0]["training.learning_rate"]))


@pytest.mark.slow
def test_a_trial_that_diverges_fails_and_the_search_goes_on(
    data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    search = searched(data.job(tmp_path, {"trials": 3, "fields": rate(WILD, SLOW)}, epochs=3))
    rows = {float(row["training.learning_rate"]): row for row in table_of(search)}
    assert rows[SLOW]["status"] == "completed"
    assert rows[SLOW]["reason"] == ""
    assert rows[WILD]["status"] == "failed"
    assert rows[WILD]["eval_accuracy"] == ""
    assert re.match(r"loss is (nan|inf) at step \d+ ", rows[WILD]["reason"])
    assert best_of(search) == {"training.learning_rate": SLOW}
    assert re.search(r"trial \d failed: loss is (nan|inf) at step", caplog.text)
    assert "1 trials, best eval_accuracy first; 1 failed" in caplog.text


def test_two_values_that_do_not_go_together_fail_a_trial(data: Data, tmp_path: Path) -> None:
    together = {"model.name": {"values": ["cifar_resnet"]}, "model.alpha": {"values": [0.5]}}
    with pytest.raises(MiranteError) as caught:
        searched(data.job(tmp_path, {"trials": 2, "fields": together}, "mobilenet_v2"))
    said = str(caught.value)
    assert said.startswith(
        "all 1 trials failed, the last one with model.alpha=0.5, model.name=cifar_resnet: "
    )
    assert "it is for mobilenet_v2 and ssd_mobilenet_v2 alone, got name: cifar_resnet" in said
    assert "tuner.fields" in said
    # With a remedy, it is searched anew.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_error_that_other_values_would_have_too_ends_the_search(data: Data, tmp_path: Path) -> None:
    search = Search(data.job(tmp_path, {"trials": 3, "fields": rate(SLOW, 0.003)}))
    # A file where the checkpoints of the first trial belong.
    (Path(search.get_trial_dir("0")) / "checkpoints").write_text("")
    with pytest.raises(tf.errors.OpError):
        search.search()
    assert len(search.trials()) == 1


class _Interrupt(logging.Handler):
    """Ctrl-C, when this many trials have begun."""

    def __init__(self, trial: int):
        super().__init__()
        self._said = f"trial {trial}/"

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self._said):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "trials", "at"), [("random", 2, 2), ("bayesian", 4, 4)])
def test_a_search_that_was_interrupted_goes_on(
    data: Data, tmp_path: Path, algorithm: str, trials: int, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    tuner = {
        "trials": trials,
        "algorithm": algorithm,
        "fields": {"training.learning_rate": {"min": 1e-4, "max": 1e-1, "scale": "log"}},
    }
    whole = table_of(searched(data.job(tmp_path / "whole", tuner)))
    assert len({row["training.learning_rate"] for row in whole}) == trials
    job = data.job(tmp_path / "interrupted", tuner)
    caplog.set_level(logging.INFO)
    logger, handler = logging.getLogger("mirante.tuner"), _Interrupt(at)
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            searched(job)
    finally:
        logger.removeHandler(handler)
    caplog.clear()
    again = searched(job)
    assert f"the search resumes after {at - 1} trials" in caplog.text
    assert caplog.text.count(f"/{trials}: training.learning_rate=") == trials - at + 1
    assert table_of(again) == whole


@pytest.mark.slow
def test_half_a_file_of_a_killed_search_makes_it_start_anew(
    data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = data.job(tmp_path, {"trials": 1, "fields": rate(SLOW)})
    first = searched(job)
    oracle = Path(first.project_dir) / "oracle.json"
    oracle.write_bytes(oracle.read_bytes()[:100])
    assert table_of(searched(job)) == table_of(first)
    assert "what is left of an earlier search cannot be read" in caplog.text


@pytest.mark.slow
def test_hyperband_trains_the_best_again_and_longer(data: Data, tmp_path: Path) -> None:
    tuner = {
        "trials": 20,
        "epochs": 3,
        "algorithm": "hyperband",
        "objective": "eval_loss",
        "fields": {"training.learning_rate": {"min": 1e-5, "max": 1e-2, "scale": "log"}},
    }
    search = searched(data.job(tmp_path, tuner))
    rows = table_of(search)
    assert [row["epochs"] for row in rows] == ["1", "1", "1", "3", "3", "3"]
    short = min(rows[:3], key=lambda row: float(row["eval_loss"]))
    assert rows[3]["training.learning_rate"] == short["training.learning_rate"]
    # TFX asks for this many.
    assert len(search.oracle.get_best_trials(search.oracle.max_trials)) == 6


def test_a_search_on_several_machines_is_refused(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(MiranteError, match="the Tuner runs on one machine"):
        Search(data.job(tmp_path, {"fields": rate(SLOW)}))


@pytest.mark.slow
def test_the_component_writes_the_best_values_and_the_table(data: Data, tmp_path: Path) -> None:
    from tfx.components.tuner.executor import _DEFAULT_BEST_HP_FILE_NAME
    from tfx.dsl.components.base.base_executor import BaseExecutor
    from tfx.types import artifact_utils, standard_artifacts
    from tfx.utils import json_utils

    from components.tuner.component import BEST_HYPERPARAMETERS, TUNER_RESULTS, TunerExecutor
    from components.tuner.outcome import read_outcome

    def artifact(kind: Any, uri: str) -> Any:
        made = kind()
        made.uri = uri
        return made

    examples = artifact(standard_artifacts.Examples, str(data.examples))
    examples.split_names = artifact_utils.encode_split_names([features.TRAIN, features.EVAL])
    best = artifact(standard_artifacts.HyperParameters, str(tmp_path / "best"))
    results = artifact(standard_artifacts.TunerResults, str(tmp_path / "results"))
    config = data.job(
        tmp_path / "searches", {"trials": 3, "fields": rate(WILD, SLOW)}, epochs=3
    ).custom_config
    context = BaseExecutor.Context(tmp_dir=str(tmp_path), unique_id="1")
    TunerExecutor(context).Do(
        {
            "examples": [examples],
            "transform_graph": [artifact(standard_artifacts.TransformGraph, data.graph)],
            "schema": [artifact(standard_artifacts.Schema, str(Path(data.schema).parent))],
        },
        {BEST_HYPERPARAMETERS: [best], TUNER_RESULTS: [results]},
        {
            "tuner_fn": "components.tuner.tuner_fn",
            "train_args": '{"splits": ["train"]}',
            "eval_args": '{"splits": ["eval"]}',
            "custom_config": json_utils.dumps(config),
        },
    )
    assert [path.name for path in Path(best.uri).iterdir()] == [_DEFAULT_BEST_HP_FILE_NAME]
    table = (Path(results.uri) / "trials.csv").read_text().splitlines()
    assert table[0] == "trial,status,training.learning_rate,eval_accuracy,eval_loss,seconds,reason"
    assert len(table) == 3
    result = RunResult("digits", "1", str(tmp_path))
    outcome = read_outcome({"best_hyperparameters": Output(best.uri, {})}, result, Serving("", ()))
    assert outcome.best == {"training.learning_rate": SLOW}
    assert list((tmp_path / "searches").iterdir()) == []


# --- all of it


@pytest.mark.slow
def test_a_run_with_a_search_trains_with_what_it_found(tmp_path: Path) -> None:
    root = tmp_path / "root"
    command = ["run", "digits", "--root", str(root), "--json"]
    for override in (
        "training.epochs=2",
        "evaluation.thresholds={accuracy: 0.1}",
        "tuner.trials=2",
        "tuner.epochs=1",
        fields(
            "training.learning_rate: {min: 1e-4, max: 5e-3, scale: log}, model.dropout: {min: 0, max: 0.9}"
        ),
    ):
        command += ["--set", override]

    def run() -> tuple[Any, str]:
        done = mirante(*command, runs_nodes=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    first, said = run()
    assert list(first["components"])[6:9] == ["Transform", "Tuner", "Trainer"]
    assert tuple(first["components"]) == node_ids(load_recipe("digits", command[6::2]).optional_steps)
    assert {outcome["status"] for outcome in first["components"].values()} == {"completed"}
    best = yaml.safe_load((root / "runs" / first["run_id"] / BEST_FILE).read_text())
    (table,) = root.glob("Tuner/tuner_results/*/trials.csv")
    rows = list(csv.DictReader(table.open()))
    assert [row["status"] for row in rows] == ["completed", "completed"]
    winner = max(rows, key=lambda row: float(row["eval_accuracy"]))
    assert {name: float(winner[name]) for name in best} == best
    assert set(best) == {"training.learning_rate", "model.dropout"}
    lines = unwrap(said)
    assert "2 trials, best eval_accuracy first; 0 failed" in lines
    chosen = f"model.dropout={best['model.dropout']:.4g}, training.learning_rate="
    assert f"as the search chose: {chosen}" in lines
    # One epoch a trial, two of the Trainer.
    assert said.count("epoch 1/1") == 2
    assert said.count("epoch 2/2") == 1
    (kept,) = root.glob("Trainer/model_run/*/model.keras")
    head = keras.models.load_model(kept).get_layer("head")
    (dropout,) = (layer for layer in head.layers if isinstance(layer, keras.layers.Dropout))
    assert dropout.rate == best["model.dropout"]
    assert list((root / "searches").iterdir()) == []

    second, _ = run()
    assert {outcome["status"] for outcome in second["components"].values()} == {"cached"}
    assert yaml.safe_load((root / "runs" / second["run_id"] / BEST_FILE).read_text()) == best
    given = load_recipe("digits", [f"hyperparameters={root / 'runs' / second['run_id'] / BEST_FILE}"])
    assert given.model.dropout == best["model.dropout"]
    assert given.training.learning_rate == best["training.learning_rate"]
