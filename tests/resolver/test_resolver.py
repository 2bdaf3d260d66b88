"""Which served model a candidate is compared with, and which one a training starts from."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.types import artifact, artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components.base import serving_folder
from components.base.output_files import FILES, measure_outputs
from components.resolver.baseline import describe_baseline
from components.resolver.strategies import BaselineStrategy, BaseModelStrategy

CLASSES = ("bird", "cat", "dog")


class Store:
    """A store of ML Metadata with models and blessings in it, as the pipeline writes them."""

    def __init__(self, folder: Path, store: MetadataStore):
        self._folder = folder
        self._store = store
        self.serving = folder / "serving"

    def _put(self, made: artifact.Artifact, name: str) -> int:
        made.uri = str(self._folder / name)
        made.mlmd_artifact.type_id = self._store.put_artifact_type(made.artifact_type)
        made.mlmd_artifact.state = metadata_store_pb2.Artifact.LIVE
        (artifact_id,) = self._store.put_artifacts([made.mlmd_artifact])
        return artifact_id

    def model(self, classes: tuple[str, ...] = CLASSES, task: str | None = "classification") -> int:
        """Adds a model with these classes, for this task, and returns its id."""
        number = len(list(self._folder.glob("model-*")))
        folder = self._folder / f"model-{number}" / "Format-Serving"
        (folder / "assets.extra").mkdir(parents=True)
        (folder / "saved_model.pb").write_text("a model")
        (folder / "fingerprint.pb").write_text(uuid.uuid4().hex)
        (folder / "assets.extra" / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
        if task is not None:
            (folder / "assets.extra" / "task.txt").write_text(f"{task}\n")
        made = standard_artifacts.Model()
        made.set_string_custom_property("tfx_version", "1.16.0")
        return self._put(made, f"model-{number}")

    def folder(self, model_id: int) -> Path:
        """The folder of a model's artifact."""
        (found,) = self._store.get_artifacts_by_id([model_id])
        return Path(found.uri)

    def measure(self, model_id: int) -> None:
        """Records what the files of a model's artifact are, as is done when a node has ended."""
        (found,) = self._store.get_artifacts_by_id([model_id])
        found.custom_properties[FILES].string_value = measure_outputs(found.uri)
        self._store.put_artifacts([found])

    def bless(self, model_id: int, blessed: int = 1, baseline_id: int | None = None) -> int:
        """Adds what Evaluator says of a model and returns the blessing's id."""
        made = standard_artifacts.ModelBlessing()
        made.set_int_custom_property("blessed", blessed)
        made.set_int_custom_property("current_model_id", model_id)
        if baseline_id is not None:
            made.set_int_custom_property("baseline_model_id", baseline_id)
        return self._put(made, f"blessing-{model_id}-{blessed}")

    def serve(self, model_id: int, version: int) -> Path:
        """Pushes a model, and returns the version's folder."""
        target = self.serving / str(version)
        shutil.copytree(self.folder(model_id) / "Format-Serving", target)
        serving_folder.write_record(str(self.serving), version, serving_folder.measure_files(str(target)))
        pushed = standard_artifacts.PushedModel()
        pushed.set_int_custom_property("pushed", 1)
        pushed.set_string_custom_property("pushed_destination", str(target))
        self._execute("Pusher", {"model": model_id}, {"pushed_model": self._put(pushed, f"push-{version}")})
        return target

    def _strategy(self) -> dict[str, str]:
        return {"push_destination": str(self.serving), "imports": str(self._folder / "imports")}

    def _execute(self, kind: str, inputs: dict[str, int], outputs: dict[str, int], config: str = "") -> None:
        made = metadata_store_pb2.ExecutionType(name=kind)
        made.properties["custom_config"] = metadata_store_pb2.STRING
        execution = metadata_store_pb2.Execution(type_id=self._store.put_execution_type(made))
        execution.custom_properties["custom_config"].string_value = config
        (execution_id,) = self._store.put_executions([execution])
        for direction, artifacts in (("INPUT", inputs), ("OUTPUT", outputs)):
            for key, artifact_id in artifacts.items():
                event = metadata_store_pb2.Event(
                    execution_id=execution_id,
                    artifact_id=artifact_id,
                    type=metadata_store_pb2.Event.Type.Value(direction),
                )
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                self._store.put_events([event])

    def _all(self, kind: type[artifact.Artifact]) -> list[artifact.Artifact]:
        found = self._store.get_artifacts_by_type(kind.TYPE_NAME)
        kinds = {t.name: t for t in self._store.get_artifact_types()}
        # ML Metadata promises no order.
        return [artifact_utils.deserialize_artifact(kinds[kind.TYPE_NAME], item) for item in reversed(found)]

    def baseline(self, candidate_id: int | None) -> int | None:
        """The id of the model that the strategy gives."""
        models = self._all(standard_artifacts.Model)
        inputs = {
            "candidate": [model for model in models if model.id == candidate_id],
            "model": [model for model in models if "imports" not in model.uri],
            "model_blessing": self._all(standard_artifacts.ModelBlessing),
        }
        resolved = BaselineStrategy(**self._strategy()).resolve_artifacts(self._store, inputs)
        assert set(resolved) == {"candidate", "model", "model_blessing"}
        return next((model.id for model in resolved["model"]), None)

    def note(self, candidate_id: int) -> str:
        """Return what users read of the baseline: its version, or why there is none."""
        baseline = self.baseline(candidate_id)
        uri = None if baseline is None else str(self.folder(baseline))
        found = describe_baseline(str(self.serving), str(self.folder(candidate_id)), uri, CLASSES)
        return found.note or str(found.version)

    def examples(self) -> int:
        """Adds examples and returns their id."""
        return self._put(standard_artifacts.Examples(), "examples")

    def train(
        self, config: str, examples_id: int, model_id: int | None = None, base: int | None = None
    ) -> int:
        """Adds an execution of a Trainer that made a model, a new one if none is given; returns its id."""
        model_id = model_id or self.model()
        inputs = {"examples": examples_id} | ({} if base is None else {"base_model": base})
        self._execute("Trainer", inputs, {"model": model_id}, config)
        return model_id

    def base_model(self, config: str, examples_id: int) -> int | None:
        """The id of the model that a training would start from."""
        inputs = {
            "examples": [a for a in self._all(standard_artifacts.Examples) if a.id == examples_id],
            "model": self._all(standard_artifacts.Model),
            "model_blessing": self._all(standard_artifacts.ModelBlessing),
        }
        strategy = BaseModelStrategy(config, **self._strategy())
        resolved = strategy.resolve_artifacts(self._store, inputs)
        assert resolved["examples"] == inputs["examples"]  # handed on
        return next((model.id for model in resolved["model"]), None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with metadata.Metadata(
        metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    ) as handle:
        handle.store.put_artifact_type(standard_artifacts.ModelBlessing().artifact_type)
        yield Store(tmp_path, handle.store)


def test_the_first_model_has_no_baseline(store: Store) -> None:
    candidate = store.model()
    assert store.baseline(candidate) is None
    assert store.note(candidate) == f"none: first model, nothing is served in {store.serving}"


def test_the_served_model_is_the_baseline(store: Store) -> None:
    former = store.model()
    store.bless(former)
    store.serve(former, 17)
    candidate = store.model()
    assert store.baseline(candidate) == former
    assert store.note(candidate) == "17"


def test_the_highest_version_counts_and_not_the_newest_model(store: Store) -> None:
    older, newer = store.model(), store.model()
    store.serve(newer, 17)
    store.serve(older, 18)  # its recipe was run again, and pushed again
    assert store.baseline(store.model()) == older


def test_a_model_that_was_blessed_and_not_pushed_is_no_baseline(store: Store) -> None:
    served, refused = store.model(), store.model()
    store.bless(served)
    store.serve(served, 17)
    store.bless(refused)  # and InfraValidator refused it
    assert store.baseline(store.model()) == served


def test_a_model_that_was_taken_back_is_no_baseline(store: Store) -> None:
    served, bad = store.model(), store.model()
    store.serve(served, 17)
    shutil.rmtree(store.serve(bad, 18))
    candidate = store.model()
    assert store.baseline(candidate) == served
    shutil.rmtree(store.serving / "17")
    assert store.baseline(candidate) is None


def test_a_served_candidate_gets_the_baseline_of_its_blessing(store: Store) -> None:
    # An identical second run: its evaluation is in the cache.
    first = store.model()
    store.bless(first)
    store.serve(first, 17)
    assert store.baseline(first) is None
    assert store.note(first) == "none: first model, served as version 17"
    second = store.model()
    store.bless(second, baseline_id=first)
    store.serve(second, 18)
    assert store.baseline(second) == first
    # The older version was removed to save space.
    shutil.rmtree(store.serving / "17")
    assert store.baseline(second) == first
    # Back to the first, compared with the second.
    assert store.baseline(first) == second
    store.bless(first, baseline_id=second)
    store.serve(first, 19)
    assert store.baseline(first) == second
    assert store.note(first) == "18"


def test_the_served_model_is_the_baseline_where_its_artifact_is_gone(store: Store) -> None:
    former, candidate = store.model(), store.model()
    path = store.serve(former, 17)
    shutil.rmtree(store.folder(former))
    baseline = store.baseline(candidate)
    assert baseline not in (None, former, candidate)
    assert baseline is not None
    folder = path_utils.serving_model_path(str(store.folder(baseline)))
    assert Path(folder).samefile(path)
    # It stays one artifact, so that the evaluation is in the cache.
    assert store.baseline(candidate) == baseline
    assert store.note(candidate) == "17"


def test_a_model_that_another_root_pushed_is_the_baseline(tmp_path: Path, store: Store) -> None:
    (tmp_path / "other").mkdir()
    with metadata.Metadata(
        metadata.sqlite_metadata_connection_config(str(tmp_path / "other" / "metadata.sqlite"))
    ) as handle:
        handle.store.put_artifact_type(standard_artifacts.ModelBlessing().artifact_type)
        other = Store(tmp_path / "other", handle.store)
        other.serving = store.serving
        other.serve(other.model(), 17)
    candidate = store.model()
    assert store.baseline(candidate) is not None
    assert store.note(candidate) == "17"


def test_where_all_that_was_served_is_gone_the_model_pushed_last_is_the_baseline(store: Store) -> None:
    models = [store.model(), store.model()]
    for version, model in enumerate(models):
        store.serve(model, version)
    shutil.rmtree(store.serving)
    candidate = store.model()
    assert store.baseline(candidate) == models[1]
    assert store.note(candidate) == "it is not served any more"


def test_a_damaged_version_is_passed_over_unless_its_artifact_is_whole(store: Store) -> None:
    older, newer, candidate = store.model(), store.model(), store.model()
    store.serve(older, 17)
    path = store.serve(newer, 18)
    (path / "saved_model.pb").write_text("half")
    assert store.baseline(candidate) == newer
    shutil.rmtree(store.folder(newer))
    assert store.baseline(candidate) == older


def test_a_damaged_artifact_is_passed_over_for_the_version_that_is_a_copy_of_it(store: Store) -> None:
    base, candidate = store.model(), store.model()
    path = store.serve(base, 17)
    store.measure(base)
    assert store.baseline(candidate) == base
    examples = store.examples()
    assert store.base_model("new", examples) == base
    (store.folder(base) / "Format-Serving" / "saved_model.pb").write_text("half")
    for found in (store.baseline(candidate), store.base_model("new", examples)):
        assert found is not None
        assert found != base
        assert Path(path_utils.serving_model_path(str(store.folder(found)))).samefile(path)
    assert store.note(candidate) == "17"
    # Neither is whole.
    (path / "saved_model.pb").write_text("half")
    assert store.baseline(candidate) is None


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("bird", "wolf"), "none: version 18 knows other classes (new: cat, dog; given up: wolf)"),
        (("emu", "wolf"), "none: version 18 knows other classes (new: bird, cat, dog; given up: emu, wolf)"),
    ],
)
def test_a_served_model_with_too_few_common_classes_is_no_baseline_nor_is_one_below(
    store: Store, classes: tuple[str, ...], said: str
) -> None:
    store.serve(store.model(), 17)
    store.serve(store.model(classes), 18)
    candidate = store.model()
    assert store.baseline(candidate) is None
    assert store.note(candidate) == said


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("bird", "cat"), "new: dog; compared on the 2 common classes: bird, cat"),
        (("cat", "bird", "dog"), "18"),
        (("wolf", "dog", "cat"), "new: bird; given up: wolf; compared on the 2 common classes: cat, dog"),
    ],
)
def test_a_served_model_with_common_classes_is_the_baseline(
    store: Store, classes: tuple[str, ...], said: str
) -> None:
    served = store.model(classes)
    store.serve(served, 18)
    candidate = store.model()
    assert store.baseline(candidate) == served
    assert store.note(candidate) == said


def test_a_served_model_of_another_task_is_no_baseline(store: Store) -> None:
    store.serve(store.model(task="detection"), 17)
    candidate = store.model(task=None)  # a classifier, as no model said before there were detectors
    assert store.baseline(candidate) is None
    assert store.note(candidate) == "none: version 17 is for detection, and the candidate for classification"
    store.serve(store.model(task="classification"), 18)
    assert store.baseline(candidate) is not None


def test_without_a_candidate_there_is_no_baseline(store: Store) -> None:
    store.serve(store.model(), 17)
    assert store.baseline(None) is None


# --- the model that a training starts from


def test_the_first_training_starts_without_a_model(store: Store) -> None:
    examples = store.examples()
    assert store.base_model("a", examples) is None
    store.bless(store.train("a", examples))  # not pushed
    assert store.base_model("b", examples) is None


def test_a_training_starts_from_the_served_model(store: Store) -> None:
    examples = store.examples()
    models = [store.train(name, examples) for name in "abc"]
    store.serve(models[0], 17)
    store.serve(models[1], 18)
    store.bless(models[2])  # and InfraValidator refused it
    assert store.base_model("d", examples) == models[1]


def test_the_same_training_starts_from_what_it_started_from(store: Store) -> None:
    # Run again after its result was pushed, and after that again: it is in the cache each time.
    examples = store.examples()
    former = store.train("a", examples)
    store.serve(former, 17)
    assert store.base_model("b", examples) == former
    made = store.train("b", examples, base=former)
    store.serve(made, 18)
    shutil.rmtree(store.serving / "17")  # to save space
    for _ in range(2):
        assert store.base_model("b", examples) == former
        store.train("b", examples, made, base=former)  # what TFX writes of a cached execution
    # The first training in turn starts from what was pushed since.
    assert store.base_model("a", examples) == made


def test_new_data_starts_from_the_model_of_the_old(store: Store) -> None:
    old, new = store.examples(), store.examples()
    model = store.train("a", old)
    store.serve(model, 17)
    assert store.base_model("a", old) is None
    assert store.base_model("a", new) == model


def test_a_model_that_nobody_knows_the_making_of_is_a_start(store: Store) -> None:
    model = store.model()
    store.serve(model, 17)
    assert store.base_model("a", store.examples()) == model
