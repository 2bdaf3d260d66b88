"""Which of the models in ML Metadata a candidate is compared with, and which one a training starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.types import artifact, artifact_utils, standard_artifacts

from components.resolver import BaselineStrategy, BaseModelStrategy

CLASSES = ("bird", "cat", "dog")


class Store:
    """A store of ML Metadata with models and blessings in it, as the pipeline writes them."""

    def __init__(self, folder: Path, store: MetadataStore):
        self._folder = folder
        self._store = store

    def _put(self, made: artifact.Artifact, name: str) -> int:
        made.uri = str(self._folder / name)
        made.mlmd_artifact.type_id = self._store.put_artifact_type(made.artifact_type)
        (artifact_id,) = self._store.put_artifacts([made.mlmd_artifact])
        return artifact_id

    def model(self, classes: tuple[str, ...] | None = CLASSES, task: str | None = "classification") -> int:
        """Adds a model with these classes, for this task, and returns its id."""
        number = len(list(self._folder.glob("model-*")))
        extra = self._folder / f"model-{number}" / "Format-Serving" / "assets.extra"
        extra.mkdir(parents=True)
        if classes is not None:
            (extra / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
        if task is not None:
            (extra / "task.txt").write_text(f"{task}\n")
        return self._put(standard_artifacts.Model(), f"model-{number}")

    def bless(self, model_id: int, blessed: int = 1) -> int:
        """Adds what Evaluator says of a model and returns the blessing's id."""
        made = standard_artifacts.ModelBlessing()
        made.set_int_custom_property("blessed", blessed)
        made.set_int_custom_property("current_model_id", model_id)
        return self._put(made, f"blessing-{model_id}-{blessed}")

    def _all(self, kind: type[artifact.Artifact]) -> list[artifact.Artifact]:
        found = self._store.get_artifacts_by_type(kind.TYPE_NAME)
        kinds = {t.name: t for t in self._store.get_artifact_types()}
        # ML Metadata promises no order.
        return [artifact_utils.deserialize_artifact(kinds[kind.TYPE_NAME], item) for item in reversed(found)]

    def baseline(self, candidate_id: int | None) -> tuple[list[int], list[int]]:
        """The ids of the models and blessings that the strategy gives."""
        models = self._all(standard_artifacts.Model)
        inputs = {
            "candidate": [model for model in models if model.id == candidate_id],
            "model": models,
            "model_blessing": self._all(standard_artifacts.ModelBlessing),
        }
        resolved = BaselineStrategy().resolve_artifacts(self._store, inputs)
        assert set(resolved) == {"candidate", "model", "model_blessing"}
        return [model.id for model in resolved["model"]], [item.id for item in resolved["model_blessing"]]

    def examples(self) -> int:
        """Adds examples and returns their id."""
        return self._put(standard_artifacts.Examples(), "examples")

    def train(self, config: str, examples_id: int, model_id: int | None = None) -> int:
        """Adds an execution of a Trainer that made a model, a new one if none is given; returns its id."""
        kind = metadata_store_pb2.ExecutionType(name="Trainer")
        kind.properties["custom_config"] = metadata_store_pb2.STRING
        execution = metadata_store_pb2.Execution(type_id=self._store.put_execution_type(kind))
        execution.custom_properties["custom_config"].string_value = config
        (execution_id,) = self._store.put_executions([execution])
        model_id = model_id or self.model()
        for key, artifact_id, direction in (
            ("examples", examples_id, metadata_store_pb2.Event.INPUT),
            ("model", model_id, metadata_store_pb2.Event.OUTPUT),
        ):
            event = metadata_store_pb2.Event(
                execution_id=execution_id, artifact_id=artifact_id, type=direction
            )
            event.path.steps.add().key = key
            event.path.steps.add().index = 0
            self._store.put_events([event])
        return model_id

    def base_model(self, config: str, examples_id: int) -> list[int]:
        """The ids of the models that a training would start from."""
        inputs = {
            "examples": [a for a in self._all(standard_artifacts.Examples) if a.id == examples_id],
            "model": self._all(standard_artifacts.Model),
            "model_blessing": self._all(standard_artifacts.ModelBlessing),
        }
        resolved = BaseModelStrategy(config).resolve_artifacts(self._store, inputs)
        assert resolved["examples"] == inputs["examples"]  # handed on
        assert len(resolved["model"]) == len(resolved["model_blessing"])
        return [model.id for model in resolved["model"]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with metadata.Metadata(
        metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    ) as handle:
        handle.store.put_artifact_type(standard_artifacts.ModelBlessing().artifact_type)
        yield Store(tmp_path, handle.store)


def test_the_first_model_has_no_baseline(store: Store) -> None:
    assert store.baseline(store.model()) == ([], [])


def test_a_blessed_model_before_it_is_the_baseline(store: Store) -> None:
    former = store.model()
    blessing = store.bless(former)
    assert store.baseline(store.model()) == ([former], [blessing])


def test_the_candidate_is_never_its_own_baseline(store: Store) -> None:
    # An identical second run: the cached model, blessed by the first run.
    candidate = store.model()
    store.bless(candidate)
    assert store.baseline(candidate) == ([], [])
    former, candidate = candidate, store.model()
    store.bless(candidate)
    assert store.baseline(candidate)[0] == [former]


def test_the_latest_blessed_model_wins(store: Store) -> None:
    models = [store.model() for _ in range(3)]
    blessings = [store.bless(model) for model in models]
    assert store.baseline(store.model()) == ([models[2]], [blessings[2]])


def test_the_model_blessed_last_wins_as_it_is_what_is_served(store: Store) -> None:
    older, newer = store.model(), store.model()
    store.bless(newer)
    again = store.bless(older)  # its recipe was run again, and pushed again
    assert store.baseline(store.model()) == ([older], [again])


def test_a_model_blessed_twice_comes_with_its_latest_blessing(store: Store) -> None:
    former = store.model()
    store.bless(former)
    latest = store.bless(former)
    assert store.baseline(store.model()) == ([former], [latest])


def test_what_was_not_blessed_is_skipped(store: Store) -> None:
    former = store.model()
    blessing = store.bless(former)
    store.bless(store.model(), blessed=0)
    store.model()  # never evaluated
    assert store.baseline(store.model()) == ([former], [blessing])


@pytest.mark.parametrize(
    "classes", [("bird", "cat"), ("cat", "bird", "dog"), ("bird", "cat", "dog", "wolf"), None]
)
def test_a_model_of_another_class_list_is_skipped(store: Store, classes: tuple[str, ...] | None) -> None:
    former = store.model()
    blessing = store.bless(former)
    store.bless(store.model(classes))
    assert store.baseline(store.model()) == ([former], [blessing])
    candidate = store.model(("fish",))
    assert store.baseline(candidate) == ([], [])


def test_a_model_of_another_task_is_skipped(store: Store) -> None:
    # One root, first a classifier's and then a detector's of the same classes, and back.
    classifier, detector = store.model(task="classification"), store.model(task="detection")
    of_classifier, of_detector = store.bless(classifier), store.bless(detector)
    assert store.baseline(store.model(task="classification")) == ([classifier], [of_classifier])
    assert store.baseline(store.model(task="detection")) == ([detector], [of_detector])


def test_a_model_that_names_no_task_is_a_classifier(store: Store) -> None:
    former = store.model(task=None)
    blessing = store.bless(former)
    assert store.baseline(store.model(task="classification")) == ([former], [blessing])
    assert store.baseline(store.model(task="detection")) == ([], [])


def test_without_a_candidate_there_is_no_baseline(store: Store) -> None:
    store.bless(store.model())
    assert store.baseline(None) == ([], [])


# --- the model that a training starts from


def test_the_first_training_starts_without_a_model(store: Store) -> None:
    examples = store.examples()
    assert store.base_model("a", examples) == []
    store.train("a", examples)  # not blessed
    assert store.base_model("b", examples) == []


def test_a_training_starts_from_the_model_blessed_last(store: Store) -> None:
    examples = store.examples()
    models = [store.train(name, examples) for name in "abc"]
    store.bless(models[1])
    store.bless(models[0])
    store.bless(models[2], blessed=0)
    assert store.base_model("d", examples) == [models[0]]


def test_the_same_training_starts_from_what_it_started_from(store: Store) -> None:
    # Run again after its result was blessed, and after that again: it is in the cache each time.
    examples = store.examples()
    former = store.train("a", examples)
    store.bless(former)
    assert store.base_model("b", examples) == [former]
    made = store.train("b", examples)
    store.bless(made)
    for _ in range(2):
        assert store.base_model("b", examples) == [former]
        store.train("b", examples, made)  # what TFX writes of a cached execution
    # The first training in turn starts from what was blessed since.
    assert store.base_model("a", examples) == [made]


def test_new_data_starts_from_the_model_of_the_old(store: Store) -> None:
    old, new = store.examples(), store.examples()
    model = store.train("a", old)
    store.bless(model)
    assert store.base_model("a", old) == []
    assert store.base_model("a", new) == [model]


def test_a_model_that_nobody_knows_the_making_of_is_a_start(store: Store) -> None:
    model = store.model()
    store.bless(model)
    assert store.base_model("a", store.examples()) == [model]
