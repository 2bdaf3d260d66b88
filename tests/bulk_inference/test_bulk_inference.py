"""BulkInference: the answers of a blessed model, of a split and of a folder, also after an interruption."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from components.base import files
from components.base.errors import MiranteError, UsageError
from components.base.outcome import Output, RunResult, Serving
from components.bulk_inference import component, outcome
from components.bulk_inference.config import BulkInferenceConfig
from components.bulk_inference.content import digest_images
from components.bulk_inference.facts import AnswerFacts, read_facts
from components.prediction import batch as batches
from components.prediction.batch_files import read_answers
from components.prediction.drawings import Answer
from components.prediction.predict import predict
from pipeline.engines.arguments import IN_MEMORY
from pipeline.pages import make_page
from tests import object_stores
from tests.make.graphs import Exported, Tiny, blessed_inputs

pytest_plugins = ["tests.fixtures"]


@pytest.fixture
def inputs(export: Callable[[int], Exported], make_tiny: Callable[[int], Tiny], tmp_path: Path) -> Any:
    """The artifacts that the node reads, both blessings given."""
    return blessed_inputs(make_tiny(3), export(3), tmp_path)


def run(inputs: Any, root: Path, name: str, digest: str | None = None, **settings: Any) -> Output:
    """Execute the node; return its artifact, in the folder `name`. The digest is that of the images."""
    config, work = BulkInferenceConfig(**settings), str(root / "inferences")
    result = standard_artifacts.InferenceResult()
    result.uri = str(root / "answers" / name)
    os.makedirs(result.uri)
    properties = {
        "settings": config.model_dump_json(),
        "input_sha256": digest_images(config, work) if digest is None else digest,
        "work": work,
        "code_sha256": "0",
    }
    executor = component.BulkInferenceExecutor(
        component.BulkInferenceExecutor.Context(beam_pipeline_args=list(IN_MEMORY), tmp_dir=str(root))
    )
    executor.Do(inputs, {"inference_result": [result]}, properties)
    custom = {
        key: value.string_value or value.int_value
        for key, value in result.mlmd_artifact.custom_properties.items()
    }
    return Output(result.uri, custom)


def read_all(done: Output) -> list[Answer]:
    """Return the answers in all files."""
    facts = read_facts(done.properties)
    assert facts is not None
    paths = sorted(map(str, Path(done.uri).glob("part-*")))
    return [answer for path in paths for answer in read_answers(path, facts.format)]


@pytest.mark.slow
@pytest.mark.both_stacks
def test_a_blessed_model_is_asked_and_another_is_not(inputs: Any, tmp_path: Path) -> None:
    done = run(inputs, tmp_path, "1", input="test", top=1)
    facts = read_facts(done.properties)
    assert facts == AnswerFacts(files=2, images=12, errors=0, format="parquet")
    parts = sorted(Path(done.uri).glob("part-*"))
    assert [path.name for path in parts] == [f"part-0000{n}-of-00002.parquet" for n in range(2)]
    assert {
        len(answer["predictions"]) for path in parts for answer in read_answers(str(path), "parquet")
    } == {1}
    assert list((tmp_path / "inferences").iterdir()) == []
    result = RunResult("digits", "1", str(tmp_path))
    outcome.read_outcome({"inference_result": done}, result, Serving("", ()))
    assert result.answers == {"folder": done.uri, "files": 2, "images": 12, "errors": 0, "format": "parquet"}
    page = make_page("BulkInference", {"inference_result": done}, "classification", ("a", "b", "c"))
    assert "could not be made" not in page.html
    assert page.metrics == {"images": 12, "errors": 0}
    for judge in ("model_blessing", "infra_blessing"):
        inputs[judge][0].set_int_custom_property("blessed", 0)
        refused = run(inputs, tmp_path, judge, input="test")
        assert (read_facts(refused.properties), list(Path(refused.uri).iterdir())) == (None, [])
        outcome.read_outcome({"inference_result": refused}, result := RunResult("", "", ""), Serving("", ()))
        assert result.answers is None
        said = make_page("BulkInference", {"inference_result": refused}, "classification", ("a", "b", "c"))
        assert "not asked" in said.html
        inputs[judge][0].set_int_custom_property("blessed", 1)


@pytest.mark.services
def test_images_in_an_object_store(
    inputs: Any, make_tiny: Callable[[int], Tiny], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_stores.s3(tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        there = f"s3://{object_stores.BUCKET}/in"
        for number, data in enumerate(make_tiny(3).encoded[:3]):
            files.write_bytes(f"{there}/{number}.png", data)
        done = run(inputs, tmp_path, "1", input=there, shard_images=2)
        assert [answer["image"] for answer in read_all(done)] == [f"{there}/{n}.png" for n in range(3)]
        with pytest.raises(MiranteError, match="has changed since the run began"):
            run(inputs, tmp_path, "2", digest="0", input=there)


@pytest.mark.both_stacks
@pytest.mark.slow
def test_a_killed_node_continues(
    inputs: Any, make_tiny: Callable[[int], Tiny], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "H\u00fchner"
    folder.mkdir()
    for number, data in enumerate(make_tiny(3).encoded[:4]):
        (folder / f"{number}.png").write_bytes(b"" if number == 2 else data)
    settings = {"input": str(folder), "format": "tfrecord", "shard_images": 1}
    asked: list[str] = []
    write = batches.write_answers

    def write_two(path: str, *given: Any) -> None:
        asked.append(path)
        if len(asked) == 3:
            raise RuntimeError("killed")
        write(path, *given)

    monkeypatch.setattr(batches, "write_answers", write_two)
    with pytest.raises(RuntimeError, match="killed"):
        run(inputs, tmp_path, "1", **settings)
    (work,) = (path for path in (tmp_path / "inferences").iterdir() if path.is_dir())
    (work / ".part-00002-of-00004.0123456789ab.tmp.gz").write_bytes(b"half")
    done = run(inputs, tmp_path, "2", **settings)
    assert not list(Path(done.uri).glob(".*"))
    assert len(asked) == 5  # two that were kept, one that was lost, two that were left
    assert read_facts(done.properties) == AnswerFacts(files=4, images=4, errors=1, format="tfrecord")
    found = [
        answer
        for path in sorted(Path(done.uri).glob("part-*"))
        for answer in read_answers(str(path), "tfrecord")
    ]
    wanted = predict(inputs["model"][0].uri + "/Format-Serving", [str(folder)])
    assert [answer["image"] for answer in found] == [answer["image"] for answer in wanted]
    assert [answer.get("error") for answer in found] == [answer.get("error") for answer in wanted]
    for answer, expected in zip(found, wanted, strict=True):
        scores = {each["label"]: each["score"] for each in expected.get("predictions", [])}
        assert {each["label"]: each["score"] for each in answer["predictions"]} == pytest.approx(
            scores, rel=1e-4
        )
    # Answers for other images would be kept as those of the images that the run began with.
    with pytest.raises(
        MiranteError, match=r"^bulk_inference\.input: .*H\u00fchner has changed since the run began"
    ):
        run(inputs, tmp_path, "3", "0", **settings)
    assert len(asked) == 5


def test_equal_names_sizes_and_times_are_no_equal_input(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    config = BulkInferenceConfig(input=str(folder))
    with pytest.raises(
        UsageError, match=r"bulk_inference\.input: expected images or TFRecord files, got none"
    ):
        digest_images(config, str(tmp_path))
    image = folder / "a.png"
    image.write_bytes(b"one")
    former = image.stat()
    first = digest_images(config, str(tmp_path))
    assert digest_images(config, str(tmp_path)) == first
    image.write_bytes(b"two")
    os.utime(image, ns=(former.st_atime_ns, former.st_mtime_ns))
    second = digest_images(config, str(tmp_path))
    assert second != first
    (folder / "notes.txt").write_text("no image")
    assert digest_images(config, str(tmp_path)) == second
    (folder / "gone.png").symlink_to("nowhere")
    assert digest_images(config, str(tmp_path)) not in (first, second)
    for nothing in (None, BulkInferenceConfig(input="test")):
        assert digest_images(nothing, str(tmp_path)) == ""
