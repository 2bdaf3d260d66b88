"""`mirante predict --batch`: every image answered once, in files that appear whole."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from click.testing import CliRunner
from pyarrow import parquet

from components.base import files
from components.base.errors import UsageError
from components.base.example import FeatureValue, serialize_example
from components.base.saved_model import CARD_FILES, LABELS_FILE
from components.base.tfrecord import frame_record
from components.prediction import batch as batches
from components.prediction.batch import Batch, BatchResult, make_batch
from components.prediction.batch_files import FileFormat, count_answers, read_answers, write_answers
from components.prediction.inputs import digest_input
from components.prediction.loaded import LoadedModel
from components.prediction.predict import predict
from pipeline.commands.main import main
from pipeline.engines.arguments import IN_MEMORY
from schemas import features
from tests import object_stores
from tests.make.graphs import Exported, Tiny

pytest_plugins = ["tests.fixtures"]


@pytest.fixture
def model(export: Callable[[int], Exported]) -> str:
    """A classifier of three classes."""
    return str(export(3).folder)


@pytest.fixture
def images(tmp_path: Path, make_tiny: Callable[[int], Tiny]) -> Path:
    """Seven images, of which one is damaged, in folders."""
    folder = tmp_path / "images"
    for index, data in enumerate(make_tiny(3).encoded[:7]):
        path = folder / f"{index % 2}" / f"H\u00fchnchen {index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[:20] if index == 3 else data)
    (folder / "notes.txt").write_text("no image")
    return folder


def run_batch(batch: Batch) -> BatchResult:
    """Run a batch in this process."""
    options = PipelineOptions(list(IN_MEMORY))
    return batches.run_batch(batch, lambda: beam.Pipeline(options=options))


def read_rows(out: Path) -> list[dict[str, object]]:
    """Return the rows of all Parquet files."""
    return [row for path in sorted(out.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]


@pytest.mark.both_stacks
@pytest.mark.slow
def test_answers_are_those_of_predict(model: str, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch = make_batch(model, str(images), str(out), shard_images=3, top=2)
    assert run_batch(batch) == BatchResult(shards=3, found=0, images=7, errors=1)
    assert sorted(path.name for path in out.iterdir()) == [
        "batch.json",
        *(f"part-0000{number}-of-00003.parquet" for number in range(3)),
    ]
    rows = read_rows(out)
    wanted = predict(model, [str(images)], top=2)
    assert [row["image"] for row in rows] == [answer["image"] for answer in wanted]
    for row, answer in zip(rows, wanted, strict=True):
        assert row["error"] == answer.get("error")
        given = [(each["label"], each["box"]) for each in row["predictions"]]  # type: ignore[attr-defined]
        assert given == [(each["label"], None) for each in answer.get("predictions", [])]
    # After an interruption: what is there stays, what is missing comes again.
    kept = (out / "part-00000-of-00003.parquet").stat().st_mtime_ns
    (out / "part-00001-of-00003.parquet").unlink()
    assert run_batch(batch) == BatchResult(shards=3, found=2, images=7, errors=1)
    assert (out / "part-00000-of-00003.parquet").stat().st_mtime_ns == kept
    assert read_rows(out) == rows
    assert run_batch(batch) == BatchResult(shards=3, found=3, images=7, errors=1)
    changed = images / "0" / "H\u00fchnchen 0.png"
    former = changed.stat()
    os.utime(changed, ns=(former.st_atime_ns, former.st_mtime_ns + 1))
    with pytest.raises(UsageError, match="got answers with another input; give another folder"):
        run_batch(batch)
    os.utime(changed, ns=(former.st_atime_ns, former.st_mtime_ns))
    with pytest.raises(UsageError, match="got answers with another top; give another folder"):
        run_batch(make_batch(model, str(images), str(out), shard_images=3, top=1))
    with pytest.raises(UsageError, match="got answers with another shards, input; give another folder"):
        run_batch(make_batch(model, str(images), str(out), top=2))
    # Names in another language: chosen before anything is asked, and other answers.
    with pytest.raises(UsageError, match=r"--language: expected none, .*got 'pt'"):
        make_batch(model, str(images), str(out), top=2, language="pt")
    named = tmp_path / "named"
    shutil.copytree(model, named)
    aliases = {rows[0]["predictions"][0]["label"]: {"pt": "cão"}}  # type: ignore[index]
    card = json.dumps({"model_details": {"class_aliases": aliases}})
    (named / CARD_FILES[1]).write_text(card, encoding="utf-8")
    folder = str(images / "0")
    batch = make_batch(str(named), folder, str(tmp_path / "pt"), top=1, language="pt")
    run_batch(batch)
    labels = [each["label"] for row in read_rows(tmp_path / "pt") for each in row["predictions"]]  # type: ignore[attr-defined]
    assert labels
    assert labels == [
        each["label"]
        for one in predict(str(named), [folder], top=1, language="pt")
        for each in one.get("predictions", [])
    ]


@pytest.mark.both_stacks
@pytest.mark.slow
def test_records_in_and_out(
    model: str, tmp_path: Path, make_tiny: Callable[[int], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_STAGED_IMAGES", 5)  # less than a shard
    split = make_tiny(3)
    folder = str(Path(split.pattern).parent)
    options = ["--format", "tfrecord", "--top", "1", "--json"]
    done = CliRunner().invoke(main, ["predict", model, "--batch", folder, "-o", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1]) == {"shards": 2, "found": 0, "images": 12, "errors": 0}
    examples = [
        tf.train.Example.FromString(record.numpy()).features.feature
        for path in sorted(tmp_path.glob("*.tfrecord.gz"))
        for record in tf.data.TFRecordDataset(str(path), "GZIP")
    ]
    labels = [example["label"].bytes_list.value[0].decode() for example in examples]
    scores = [example["score"].float_list.value[0] for example in examples]
    (tmp_path / "all").mkdir()
    for index, data in enumerate(split.encoded):
        (tmp_path / "all" / f"{index:02}.png").write_bytes(data)
    best = [answer["predictions"][0] for answer in predict(model, [str(tmp_path / "all")])]
    assert sorted(labels) == sorted(each["label"] for each in best)
    assert sorted(scores) == pytest.approx(sorted(each["score"] for each in best), rel=1e-4)


@pytest.mark.parametrize("file_format", ["parquet", "tfrecord"])
def test_files_hold_what_was_answered(file_format: FileFormat, tmp_path: Path) -> None:
    answers = [
        {
            "image": "H\u00fchnchen.png",
            "predictions": [{"label": "cat", "score": 0.75, "box": [1.0, 2.0, 3.0, 4.0]}],
        },
        {"image": "b.png", "predictions": [], "warning": "dark"},
        {"image": "c.png", "predictions": [], "error": "cut off"},
    ]
    path = str(tmp_path / "answers")
    write_answers(path, answers, file_format)
    assert list(read_answers(path, file_format)) == answers
    assert count_answers(path, file_format) == (3, 1)
    write_answers(path, [], file_format)
    assert (list(read_answers(path, file_format)), count_answers(path, file_format)) == ([], (0, 0))


@pytest.mark.slow
def test_images_and_answers_in_a_bucket(model: str, make_tiny: Callable[[int], Tiny]) -> None:
    # TensorFlow's file system in memory stands for a bucket's.
    for number, data in enumerate(make_tiny(3).encoded[:3]):
        files.write_bytes(f"ram://bucket/in/{number}.png", data)
    files.write_text("ram://bucket/in/notes.txt", "no image")
    batch = make_batch(model, "ram://bucket/in", "ram://bucket/out", shard_images=2)
    assert run_batch(batch) == BatchResult(shards=2, found=0, images=3, errors=0)
    answers = [answer for number in (0, 1) for answer in read_answers(batch.output(number), "parquet")]
    assert [answer["image"] for answer in answers] == [f"ram://bucket/in/{number}.png" for number in range(3)]
    assert run_batch(batch) == BatchResult(shards=2, found=2, images=3, errors=0)
    before = digest_input("ram://bucket/in")
    assert digest_input("ram://bucket/in") == before
    files.write_bytes("ram://bucket/in/2.png", b"another size")
    assert digest_input("ram://bucket/in") not in (None, before)
    assert digest_input("ram://bucket/none") is None


@pytest.mark.services
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_images_and_answers_in_an_object_store(
    scheme: str, model: str, make_tiny: Callable[[int], Tiny], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with {"s3": object_stores.s3, "gs": object_stores.gcs}[scheme](tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        there = f"{scheme}://{object_stores.BUCKET}"
        for number, data in enumerate(make_tiny(3).encoded[:3]):
            files.write_bytes(f"{there}/in/{number % 2}/H\u00fchnchen {number}.png", data)
        files.write_text(f"{there}/in/notes.txt", "no image")
        names = ["0/H\u00fchnchen 0.png", "0/H\u00fchnchen 2.png", "1/H\u00fchnchen 1.png"]
        batch = make_batch(model, f"{there}/in", f"{there}/out", shard_images=2)
        assert run_batch(batch) == BatchResult(shards=2, found=0, images=3, errors=0)
        answers = [answer for number in (0, 1) for answer in read_answers(batch.output(number), "parquet")]
        assert [answer["image"] for answer in answers] == [f"{there}/in/{name}" for name in names]
        files.remove(batch.output(1))
        assert run_batch(batch) == BatchResult(shards=2, found=1, images=3, errors=0)
        parts = [f"part-0000{number}-of-00002.parquet" for number in (0, 1)]
        assert files.list_names(f"{there}/out") == ["batch.json", *parts]
        (records,) = sorted(Path(make_tiny(3).pattern).parent.glob("*.gz"))[:1]
        files.put(str(records), f"{there}/records/{records.name}")
        of_records = make_batch(model, f"{there}/records", f"{there}/answers", format="tfrecord", top=1)
        assert run_batch(of_records).images > 0
        assert digest_input(f"{there}/in") == digest_input(f"{there}/in")
        asked = [f"{there}/in/{name}" for name in (*names, "none")]
        *found, none = files.stamp(asked)
        assert none is None
        assert all(each is not None and each[1] > 0 for each in found)
        assert files.stamp(asked[:1]) == found[:1]
        files.remove_tree(f"{there}/in")
        assert not files.exists(f"{there}/in")
        assert digest_input(f"{there}/in") is None
        assert files.stamp(asked[:2]) == [None, None]
        told = CliRunner().invoke(main, ["predict", model, "--batch", f"{scheme}://none/in", "-o", "out"])
        assert (told.exit_code, "there is no bucket none" in told.stderr) == (1, True), told.output


def test_answers_in_another_language_are_another_call(tmp_path: Path) -> None:
    model, image = tmp_path / "model", tmp_path / "größe.png"
    image.write_bytes(b"")
    (model / LABELS_FILE).parent.mkdir(parents=True)
    (model / LABELS_FILE).write_text("cat\ndog\n", encoding="utf-8")
    card = json.dumps({"model_details": {"class_aliases": {"dog": {"pt": "cão", "de": "Hund"}}}})
    (model / CARD_FILES[1]).write_text(card, encoding="utf-8")
    for first, then in ((None, "pt"), ("pt", None), ("pt", "de")):
        out = str(tmp_path / f"{first} {then}")
        batch = Batch(str(model), ((str(image),),), out, language=first)
        batches._check_manifest(batch)
        batches._check_manifest(batch)
        with pytest.raises(UsageError, match="got answers with another --language; give another folder"):
            batches._check_manifest(dataclasses.replace(batch, language=then))


def test_there_must_be_images(model: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected images or TFRecord files, got none"):
        make_batch(model, str(tmp_path / "none"), str(tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="expected images or TFRecord files, got none"):
        make_batch(model, str(tmp_path / "empty"), str(tmp_path / "out"))
    for arguments in (["photo.jpg", "--batch", "photos", "-o", "out"], ["--batch", "photos"], ["-o", "out"]):
        told = CliRunner().invoke(main, ["predict", model, *arguments])
        assert told.exit_code == 2
        assert "expected --batch INPUT and -o OUT, got other arguments" in told.stderr
    told = CliRunner().invoke(main, ["predict", model])
    assert "IMAGE: expected an image or a folder of images, got none" in told.stderr


def test_a_model_that_fails_gives_no_answers(
    model: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(LoadedModel, "ask", fail)
    batch = make_batch(model, str(images), str(tmp_path / "out"))
    with pytest.raises(Exception, match="the model could not be asked: out of memory"):
        run_batch(batch)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["batch.json"]


def test_an_object_of_a_bucket_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"whole")

    class Interrupted(BaseException):
        pass

    def interrupt(read: object, written: object) -> None:
        written.write(b"part")  # type: ignore[attr-defined]
        raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.copyfileobj", interrupt)
        with pytest.raises(Interrupted):
            files.put(str(tmp_path / "a"), "ram://interrupted/a")
    assert not files.exists("ram://interrupted/a")
    files.put(str(tmp_path / "a"), "ram://interrupted/a")
    assert files.read_bytes("ram://interrupted/a") == b"whole"


def test_features_of_another_type_are_answered_by_their_place(tmp_path: Path) -> None:
    values: list[dict[str, FeatureValue]] = [
        {features.FILENAME: 7, features.ENCODED: [0.5]},
        {features.FILENAME: b"caf\xe9.png", features.ENCODED: b"data"},
        {features.ENCODED: b"data"},
        {},
    ]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(frame_record(serialize_example(each)) for each in values))
    assert list(batches._read_records(str(path))) == [
        (f"{path}#0", b""),
        ("caf\ufffd.png", b"data"),
        (f"{path}#2", b"data"),
        (f"{path}#3", b""),
    ]
