"""The trackers of a training: the settings, TensorBoard's files, runs of W&B and MLflow in local stores."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from components.base.errors import UsageError
from components.models import linear_head
from components.models.config import ModelConfig
from components.tasks.classification.trainer import Classification
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fit import fit
from components.trainer.input.examples import ArrayExamples
from components.trainer.result import StageResult
from components.trainer.run import Run
from components.trainer.strategy import Place
from components.trainer.tracking import About
from components.trainer.tracking.background import Background
from components.trainer.tracking.config import MlflowConfig, TrackingConfig, WandbConfig
from components.trainer.tracking.mlflow_run import KEY_TAG
from components.trainer.tracking.trackers import Trackers, make_trackers, mistakes
from components.transform.config import TransformConfig
from pipeline.recipe.load import load_recipe
from tests.make.graphs import Tiny
from tests.make.records import CLASS_NAMES

pytestmark = pytest.mark.stack_free

pytest_plugins = ["tests.fixtures"]

ROOT = Path(__file__).resolve().parents[2]
TRANSFORM = TransformConfig(height_px=8, width_px=8, channels=3)
ABOUT = About("0123456789abcdef", "flowers-012345", {"recipe": "flowers", "training": {"epochs": 2}})
# 100 images in batches of 10: a point of the curves in every fifth epoch.
COUNT, BATCH = 100, 10


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


# --- the settings


def write_recipe(folder: Path, tracking: Any) -> str:
    values = {
        "name": "flowers",
        "evaluation": {"thresholds": {"accuracy": 0.9}},
        "training": {"tracking": tracking},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def test_by_default_tensorboard_alone_is_told(tmp_path: Path) -> None:
    tracking = load_recipe(write_recipe(tmp_path, {})).training.tracking
    assert (tracking.tensorboard, tracking.wandb, tracking.mlflow) == (True, None, None)
    assert (tracking.graph, tracking.profile_steps, tracking.mistakes) == (True, None, 16)


def test_a_resolved_recipe_loads_again_as_the_same(tmp_path: Path) -> None:
    recipe = load_recipe(
        write_recipe(tmp_path, {"wandb": {"project": "p", "tags": ["a"]}, "profile_steps": [2, 3]})
    )
    kept = tmp_path / "kept.yaml"
    kept.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    assert load_recipe(str(kept)) == recipe


@pytest.mark.parametrize(
    ("tracking", "expected"),
    [
        (
            {"profile_steps": [30, 20]},
            "training.tracking.profile_steps: the last step comes before the first",
        ),
        ({"profile_steps": [1, 2], "tensorboard": False}, "set tensorboard: true"),
        (
            {"mlflow": {"tracking_uri": "mlruns"}},
            "training.tracking.mlflow.tracking_uri: expected a server or",
        ),
        (
            {"wandb": {"mode": "disabled"}},
            "training.tracking.wandb.mode: expected 'online' or 'offline'",
        ),
        (
            {"wandb": {"projct": "x"}},
            "'training.tracking.wandb.projct': did you mean 'project'? Known here: entity",
        ),
        # Nor is there any other key for a secret.
        ({"wandb": {"api_key": "s3cret"}}, "unknown key 'training.tracking.wandb.api_key'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, tracking: Any, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(write_recipe(tmp_path, tracking))
    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["https://me:s3cret@host/mlflow", "postgresql://me:s3cret@host:5432/runs"])
def test_a_password_in_a_recipe_is_refused_and_not_shown(tmp_path: Path, uri: str) -> None:
    with pytest.raises(
        UsageError, match=r"expected no secret, got a password.*MLFLOW_TRACKING_URI"
    ) as caught:
        load_recipe(write_recipe(tmp_path, {"mlflow": {"tracking_uri": uri}}))
    assert "s3cret" not in str(caught.value)


def test_a_database_is_looked_for_from_the_recipes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, made in (
        ("sqlite:///runs.db", f"sqlite:///{tmp_path}/runs.db"),
        ("sqlite:////var/runs.db", "sqlite:////var/runs.db"),
        ("https://host/mlflow", "https://host/mlflow"),
    ):
        loaded = load_recipe(write_recipe(tmp_path, {"mlflow": {"tracking_uri": given}}))
        mlflow = loaded.training.tracking.mlflow
        assert mlflow is not None
        assert mlflow.tracking_uri == made


@pytest.mark.parametrize(
    ("tracking", "expected"),
    [
        ({}, "loaded []"),
        (
            {"wandb": {}},
            "training.tracking.wandb: wandb is not installed here: pip install 'wandb>=0.19', or set "
            "training.tracking.wandb=null",
        ),
        (
            {"mlflow": {}},
            "training.tracking.mlflow: mlflow, sqlalchemy, alembic is not installed here: "
            "pip install 'alembic>=1.13' 'mlflow-skinny>=3' 'SQLAlchemy>=2', or set "
            "training.tracking.mlflow=null",
        ),
    ],
)
def test_what_is_not_installed_is_refused_and_what_is_not_asked_for_not_imported(
    tmp_path: Path, tracking: Any, expected: str
) -> None:
    # An interpreter that has everything else; of W&B there is a folder of former runs, as it leaves them.
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith(("wandb", "mlflow", "sqlalchemy", "alembic", "__editable__")):
            (packages / entry.name).symlink_to(entry)
    (tmp_path / "wandb").mkdir()
    code = (
        "import sys\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from components.base.errors import UsageError\n"
        "from pipeline.recipe.load import load_recipe\n"
        "try:\n"
        "    load_recipe(sys.argv[1])\n"
        "    heavy = {'wandb', 'mlflow', 'sqlalchemy', 'tensorflow'}\n"
        "    print('loaded', sorted(heavy & set(sys.modules)))\n"
        "except UsageError as e:\n"
        "    print(e)\n"
    )
    recipe = write_recipe(tmp_path, tracking)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, recipe, str(tmp_path), str(ROOT), str(packages)],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().removeprefix(f"{recipe}: ") == expected, done.stderr


# --- a whole training, told to all of them


@dataclasses.dataclass
class Training:
    """A linear network on pixels that give its classes away, but for the mislabelled `wrong` ones."""

    folder: Path
    tracking: TrackingConfig
    epochs: int = 5
    wrong: tuple[int, ...] = (4, 9)

    def run(self, *more: Any) -> None:
        """Train with the trackers in `more` as well; resume where a former run stopped."""
        labels = np.arange(COUNT) % 3
        images = np.random.default_rng(0).normal(0.5, 0.05, (COUNT, 8, 8, 3)).astype(np.float32)
        images[np.arange(COUNT), :, :, labels] += 0.5
        train = ArrayExamples("train", images, labels)
        given = labels[:20].copy()
        given[list(self.wrong)] = (given[list(self.wrong)] + 1) % 3
        evaluation = ArrayExamples("eval", images[:20], given)
        # As a new process has it: names are counted anew.
        keras.backend.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        inputs = keras.Input((8, 8, 3))
        model = keras.Model(inputs, linear_head(192, 3, 0.0)(keras.layers.Flatten()(inputs)))
        config = TrainingConfig(
            epochs=self.epochs,
            global_batch_size=BATCH,
            learning_rate=0.01,
            tracking=self.tracking,
            checkpoints={"steps": 20, "min_secs": 0.0},
        )
        trackers = make_trackers(
            self.tracking,
            ABOUT,
            TRANSFORM,
            curves_dir=str(self.folder / "curves"),
            model_run_dir=str(self.folder / "run"),
            root=str(self.folder / "root"),
        )
        trackers._trackers.update({f"more-{number}": tracker for number, tracker in enumerate(more)})
        try:
            run = Run(
                Classification(CLASS_NAMES),
                train,
                evaluation,
                config,
                Place(tf.distribute.get_strategy()),
                Checkpoints(str(self.folder / "checkpoints")),
                trackers,
            )
            fit(model, run, pretrained=False)
        except BaseException as e:
            trackers.close(e)
            raise
        trackers.close()


class Interrupts:
    """Interrupts the training, as Ctrl-C does, when it hears of a step."""

    def __init__(self, step: int):
        self.step = step

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if step == self.step:
            raise KeyboardInterrupt

    def image(self, stage: str, step: int, name: str, image: np.ndarray) -> None: ...
    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None: ...
    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None: ...
    def close(self, error: BaseException | None = None) -> None: ...


def events(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            yield tf.compat.v1.Event.FromString(record.numpy())


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag: steps and values of its scalars."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def pictures(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """By tag and step: uint8 [H, W, 3]."""
    return {
        (value.tag, event.step): tf.io.decode_png(value.tensor.string_val[2], channels=3).numpy()
        for event in events(folder)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "images"
    }


@pytest.mark.slow
@pytest.mark.both_stacks
def test_tensorboard_gets_curves_graph_mistakes_settings_and_a_profile(tmp_path: Path) -> None:
    Training(tmp_path, TrackingConfig(profile_steps=(12, 14), mistakes=9), wrong=(4, 9)).run()
    stage = tmp_path / "run" / "training"
    found = curves(stage)
    assert {tag: [step for step, _ in points] for tag, points in found.items() if "accuracy" in tag} == {
        "step/accuracy": [50],
        "epoch/accuracy": [10, 20, 30, 40, 50],
        "epoch/eval_accuracy": [10, 20, 30, 40, 50],
        "final/eval_accuracy": [50],
    }
    # Two of the twenty are mislabelled, and all is learned.
    assert found["final/eval_accuracy"] == [(50, pytest.approx(0.9))]
    assert found["epoch/loss"][-1][1] < found["epoch/loss"][0][1]
    graph = next(event for event in events(stage) if event.graph_def)
    names = {node.name for node in tf.compat.v1.GraphDef.FromString(graph.graph_def).node}
    assert any("MatMul" in name or "StatefulPartitionedCall" in name for name in names), names
    (key,) = pictures(stage)
    assert key == ("mistakes", 50)
    assert pictures(stage)[key].std() > 10
    said = next(value for event in events(tmp_path / "run") for value in event.summary.value)
    assert json.loads(said.tensor.string_val[0]) == ABOUT.settings
    assert [path.suffix for path in stage.rglob("plugins/profile/*/*.pb")] == [".pb"]
    # While it ran, everything was next to the checkpoints.
    assert curves(tmp_path / "curves" / "training") == found


@pytest.mark.slow
def test_the_step_is_traced_once_for_its_graph_and_the_training(tmp_path: Path) -> None:
    class Sees(Interrupts):
        traces = 0

        def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
            self.function = function

        def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
            self.traces = self.function.experimental_get_tracing_count()  # type: ignore[attr-defined]

    sees = Sees(-1)
    Training(tmp_path, TrackingConfig(), epochs=1).run(sees)
    assert sees.traces == 1


def test_without_tensorboard_nothing_is_written(tmp_path: Path) -> None:
    Training(tmp_path, TrackingConfig(tensorboard=False), epochs=1).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints"]


def wandb_records(folder: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    (path,) = folder.glob("*.wandb")
    store = DataStore()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def items(parts: Any) -> dict[str, Any]:
    return {part.key or "/".join(part.nested_key): json.loads(part.value_json) for part in parts}


@pytest.mark.slow
def test_a_killed_training_goes_on_in_the_same_runs(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    config = TrackingConfig(
        wandb=WandbConfig(project="p", mode="offline"), mlflow=MlflowConfig(experiment="garden")
    )
    training = Training(tmp_path, config, epochs=12)
    # After the points of step 50 are logged, and long after the checkpoint at step 40.
    with pytest.raises(KeyboardInterrupt):
        training.run(Interrupts(50))
    client = MlflowClient(f"sqlite:///{tmp_path}/root/mlflow.db")
    experiment = client.get_experiment_by_name("garden")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    training.run()

    # MLflow: one run, every point once.
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", ABOUT.name)
    assert run.data.tags[KEY_TAG] == ABOUT.key
    assert run.data.params == {"recipe": "flowers", "training.epochs": "2"}
    history = client.get_metric_history(run.info.run_id, "training/epoch/loss")
    assert [point.step for point in history] == list(range(10, 121, 10))
    assert [p.step for p in client.get_metric_history(run.info.run_id, "training/step/loss")] == [50, 100]
    assert run.data.metrics["final/training/eval_accuracy"] == pytest.approx(0.9)
    (picture,) = client.list_artifacts(run.info.run_id, "training")
    assert picture.path == "training/mistakes-000120.png"
    local = client.download_artifacts(run.info.run_id, picture.path, str(tmp_path))
    shown = tf.io.decode_png(tf.io.read_file(local)).numpy()
    assert Path(local).is_relative_to(tmp_path)

    # W&B: two parts of one run.
    folders = sorted(
        (tmp_path / "root" / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime
    )
    # wandb numbers a second folder of one second: offline-run-DATE_TIME-KEY-1.
    assert [path.name.split("-")[3] for path in folders] == [ABOUT.key, ABOUT.key]
    steps = []
    for folder in folders:
        records = list(wandb_records(folder))
        (begun,) = [record.run for record in records if record.WhichOneof("record_type") == "run"][:1]
        assert (begun.run_id, begun.project, begun.display_name) == (ABOUT.key, "p", ABOUT.name)
        settings = items(begun.config.update)
        assert (settings["recipe"], settings["training"]) == ("flowers", {"epochs": 2})
        rows = [items(r.history.item) for r in records if r.WhichOneof("record_type") == "history"]
        steps.append([row["training/step"] for row in rows if "training/epoch/loss" in row])
    assert steps[0] == [10, 20, 30, 40]
    assert steps[1][-8:] == list(range(50, 121, 10))
    axes = [r.metric for r in wandb_records(folders[1]) if r.WhichOneof("record_type") == "metric"]
    assert ("training/*", "training/step") in [(axis.glob_name, axis.step_metric) for axis in axes]
    summary: dict[str, Any] = {}
    for record in wandb_records(folders[1]):
        if record.WhichOneof("record_type") == "summary":
            summary.update(items(record.summary.update))
    assert summary["final/training/eval_accuracy"] == pytest.approx(0.9)
    (media,) = folders[1].rglob("files/media/images/training/*.png")
    assert (tf.io.decode_png(media.read_bytes()).numpy() == shown).all()

    # TensorBoard: both attempts' files in one folder, and the same image.
    steps_shown = {step for step, _ in curves(tmp_path / "run" / "training")["epoch/loss"]}
    assert steps_shown == set(range(10, 121, 10))
    assert (pictures(tmp_path / "run" / "training")["mistakes", 120] == shown).all()


# --- what fails


@pytest.mark.slow
def test_a_server_that_is_not_there_is_warned_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    config = TrackingConfig(
        wandb=WandbConfig(project="p"), mlflow=MlflowConfig(tracking_uri="http://127.0.0.1:9")
    )
    Training(tmp_path, config, epochs=2).run()
    warnings = sorted(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert [text.partition(":")[0] for text in warnings] == [
        "MLflow fails, the training continues",
        "Weights & Biases fails, the training continues",
    ]
    assert "mode=offline" in warnings[1]
    assert len(curves(tmp_path / "run" / "training")["epoch/loss"]) == 2


@pytest.mark.slow
def test_without_a_key_nobody_is_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    config = TrackingConfig(wandb=WandbConfig(project="p"))
    Training(tmp_path, config, epochs=1).run()
    (warning,) = [
        record.getMessage()
        for record in caplog.records
        # TensorFlow warns of tracing too often, by all trainings of this process.
        if record.levelno == logging.WARNING and record.name == "mirante.trainer"
    ]
    assert "no key for W&B: set WANDB_API_KEY, or run `wandb login` once" in warning


class Broken(Interrupts):
    """Fails at everything but the third point."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if step != 3:
            raise ConnectionError("gone")
        self.seen.append(step)


def test_what_fails_later_is_warned_about_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    direct, behind = Broken(), Broken()
    trackers = Trackers({"One": direct, "Two": Background("Two", lambda: behind)})
    for step in range(1, 5):
        trackers.scalars("training", step, {"loss": 1.0})
    trackers.close()
    assert (direct.seen, behind.seen) == ([3], [3])
    warnings = sorted(record.getMessage() for record in caplog.records)
    assert warnings == [
        "One fails, the training continues: ConnectionError: gone",
        "Two fails, the training continues: ConnectionError: gone; what could not be sent is lost, later "
        "values are tried",
    ]


def test_one_that_hangs_holds_up_neither_the_training_nor_its_end(caplog: pytest.LogCaptureFixture) -> None:
    class Hangs(Broken):
        def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
            time.sleep(30)

    began = time.monotonic()
    tracker = Background("Two", Hangs, close_secs=0.2)
    for step in range(1000):
        tracker.scalars("training", step, {"loss": 1.0})
    tracker.close()
    assert time.monotonic() - began < 5
    assert "Two has not taken all values" in caplog.text


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TrackingConfig(wandb=WandbConfig(mode="offline")), "set the environment variable WANDB_DIR"),
        (TrackingConfig(mlflow=MlflowConfig()), "give it, or set MLFLOW_TRACKING_URI"),
    ],
)
def test_a_root_in_a_bucket_keeps_no_local_store(
    config: TrackingConfig, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=expected):
        make_trackers(
            config,
            ABOUT,
            TRANSFORM,
            curves_dir=str(tmp_path),
            model_run_dir=str(tmp_path),
            root="gs://b/root",
        )


# --- mistakes


def test_the_worst_mistakes_come_first() -> None:
    images = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)
    examples = ArrayExamples("eval", images, np.array([0, 1, 2, 0, 1, 2]))
    # As the second of two processes sees it: the last four.
    evaluation = StageResult(
        loss=1.0,
        metrics={"accuracy": 0.5},
        totals={"predicted": np.zeros(3, int)},
        rows=np.array([2, 3, 4, 5]),
        predictions={
            "classes": np.array([2, 1, 0, 1]),
            "scores": np.array([0.99, 0.5, 0.7, 0.7], np.float32),
        },
    )
    task = Classification(CLASS_NAMES)
    shown, captions, marks = mistakes(evaluation, examples, task, 9)
    assert marks == [[], [], []]
    assert shown.reshape(-1).tolist() == [4, 5, 3]
    assert captions == [
        "cat\ntaken for bird (0.70)",
        "dog\ntaken for cat (0.70)",
        "bird\ntaken for cat (0.50)",
    ]
    assert len(mistakes(evaluation, examples, task, 2)[1]) == 2
    right = dataclasses.replace(
        evaluation, predictions={**evaluation.predictions, "classes": np.array([2, 0, 1, 2])}
    )
    assert mistakes(right, examples, task, 9)[1] == []


# --- as the Trainer calls it


@pytest.mark.slow
def test_the_trainer_tells_what_it_is_and_does(tmp_path: Path, make_tiny: Callable[[int], Tiny]) -> None:
    from mlflow import MlflowClient

    from components.schema_gen.schema_file import write_schema
    from components.trainer.job import Job
    from components.trainer.train import run_job

    split = make_tiny(3)
    config = TrainingConfig(epochs=2, global_batch_size=5, tracking=TrackingConfig(mlflow=MlflowConfig()))
    job = Job(
        train_files=[split.pattern],
        eval_files=[split.pattern],
        transform_output=split.tft_output.transform_savedmodel_dir.rpartition("/")[0],
        schema_path=str(write_schema(CLASS_NAMES, tmp_path / "schema")),
        custom_config={
            "task": "classification",
            "transform": split.config.model_dump(),
            "model": ModelConfig(name="lenet").model_dump(),
            "training": config.model_dump(),
            "checkpoints": str(tmp_path / "root" / "checkpoints"),
            "about": {"recipe": "tiny", "data": "noise"},
        },
        serving_model_dir=str(tmp_path / "serving"),
        model_run_dir=str(tmp_path / "run"),
    )
    run_job(job, config)
    found = curves(tmp_path / "run" / "training")
    assert len(found["epoch/eval_loss"]) == 2
    assert {name for name, _ in pictures(tmp_path / "run" / "training")} == {"inputs", "mistakes"}
    client = MlflowClient(f"sqlite:///{tmp_path}/root/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mirante").experiment_id])
    assert run.data.tags[KEY_TAG] == job.name
    assert run.info.run_name == f"tiny-{job.name[:6]}"
    expected = {"data": "noise", "model.name": "lenet", "training.epochs": "2", "transform.height_px": "16"}
    assert expected.items() <= run.data.params.items()
    assert not [name for name in run.data.params if "tracking" in name]
    # Neither the trackers nor the name of a run change a training.
    others = {
        **job.custom_config,
        "about": {},
        "training": TrainingConfig(epochs=2, global_batch_size=5).model_dump(),
    }
    assert dataclasses.replace(job, custom_config=others).name == job.name
