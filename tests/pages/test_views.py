"""The pages of the tasks, from small artifacts: what stands on them, and that nothing makes them fail."""

from __future__ import annotations

import base64
import csv
import gzip
import html
import importlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from components.base.example import serialize_example
from components.base.intervals import WILSON, Interval
from components.base.outcome import Output
from components.base.task import TASKS, task_named
from components.base.tfrecord import frame_record
from components.pages import records
from components.pages.charts import Curve, make_line_chart
from components.pages.markup import Measure, format_number, make_table
from components.pages.page import IMAGES_BYTES, Page
from components.pages.rendered import RenderedPage
from components.pages.tables import count_by_class, format_interval
from pipeline.pages import make_page
from pipeline.steps import INGEST, STEPS, Step
from schemas import features
from tests.make.images import encode_image, make_coloured_png, make_noise
from tests.make.records import COLOURS

pytestmark = pytest.mark.stack_free

# What must not come out as it went in.
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def read_splits_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the pages time on a busy machine."""
    monkeypatch.setattr(records, "_READ_SECS", 60.0)


def output(uri: Path, **properties: Any) -> Output:
    return Output(str(uri), properties)


def page_of(
    node_id: str,
    class_names: tuple[str, ...] = COLOURS,
    task: str = features.CLASSIFICATION,
    **outputs: Output,
) -> RenderedPage:
    made = make_page(node_id, outputs, task, class_names)
    assert "could not be made" not in made.html
    return made


def text_of(page: RenderedPage | str) -> str:
    """A page's words, with a space for every tag."""
    content = (page if isinstance(page, str) else page.html).partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", content)).split())


def record(label: int, seed: int, class_names: tuple[str, ...] = COLOURS) -> bytes:
    return serialize_example(
        {
            features.ENCODED: make_coloured_png(label, seed),
            features.LABEL: label,
            features.LABEL_TEXT: class_names[label].encode(),
        }
    )


def write_records(path: Path, content: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = b"".join(map(frame_record, content))
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)


def write_splits(folder: Path, counts: dict[str, list[int]], names: tuple[str, ...] = COLOURS) -> Output:
    """As ImportExampleGen leaves them; `counts` by split and label."""
    for split, by_label in counts.items():
        records = [
            record(label, seed, names) for label, count in enumerate(by_label) for seed in range(count)
        ]
        write_records(folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz", records)
    return output(folder)


# --- whatever comes


@pytest.mark.parametrize("node_id", [INGEST.id, *(step.id for step in STEPS)])
def test_no_node_fails_for_want_of_outputs(node_id: str, tmp_path: Path) -> None:
    assert "The node has no outputs." in make_page(node_id, {}, features.CLASSIFICATION, COLOURS).html
    empty = {"examples": output(tmp_path / "nowhere"), "model": output(tmp_path / "gone")}
    page = make_page(node_id, empty, features.CLASSIFICATION, COLOURS)
    assert str(tmp_path / "gone") in page.html
    assert page.confusion is None


@pytest.mark.parametrize("step", [INGEST, *STEPS], ids=lambda step: step.id)
def test_every_step_has_a_page(step: Step) -> None:
    assert callable(importlib.import_module(f"{step.room}.page").fill_page)


def test_what_cannot_be_read_is_said_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    page = make_page("DataGate", {"blessing": output(tmp_path)}, features.CLASSIFICATION, COLOURS)
    assert "This part could not be made: JSONDecodeError" in page.html
    assert "Artifacts" in page.html


def test_importing_the_pages_imports_nothing_heavy() -> None:
    heavy = "{'tensorflow', 'tfx', 'numpy', 'PIL', 'apache_beam', 'google.protobuf'}"
    rooms = [step.room for step in (INGEST, *STEPS)] + list(TASKS.values())
    modules = ", ".join(("pipeline.pages", *(f"{room}.page" for room in rooms)))
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    names = (EVIL, 'a"b', "c&d")
    splits = write_splits(tmp_path / "examples", {"train": [1, 1, 1], "eval": [1, 1, 1]}, names)
    page = page_of("ImportExampleGen", names, examples=splits)
    assert EVIL not in page.html
    assert html.escape(EVIL) in page.html
    assert "<script" not in page.html
    assert html.escape(EVIL) in make_table([EVIL], [[EVIL]])
    assert EVIL not in make_table([EVIL], [[EVIL]])
    assert EVIL not in make_line_chart(EVIL, [Curve(EVIL, [(0, 1)], "train")], EVIL)


def test_images_stay_below_their_share_of_a_page() -> None:
    page = Page("x", task_named(features.CLASSIFICATION), COLOURS)
    assert page.embed_image(b"\0" * (IMAGES_BYTES // 4 * 3), "png") is not None
    assert page.embed_image(b"\0" * 30, "png") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1234567, "1,234,567"),
        (8.0, "8"),
        (0.98023, "0.9802"),
        (12.3456, "12.35"),
        (1e-5, "1e-05"),
        (Measure(1), "1.0000"),
    ],
)
def test_numbers_are_legible(value: float, words: str) -> None:
    assert format_number(value) == words


def test_an_end_of_an_interval_is_not_0_if_it_is_not() -> None:
    assert str(format_interval(Interval(0.00003, 0.00213, WILSON))).count("3e-05 to 0.0021") == 1
    assert str(format_interval(Interval(0.0, 1.0, WILSON))).count("0.0000 to 1.0000") == 1
    assert format_interval(None) is None


def test_a_chart_goes_from_the_lowest_value_to_the_highest() -> None:
    points = [(0, 0.0), (5, float("nan")), (10, 1.0)]
    chart = make_line_chart("t", [Curve("c", points, "train")], "step", y_range=(0, 1))
    (path,) = re.findall(r'd="([^"]+)"[^>]*stroke: var\(--train\)', chart)
    first, last = (tuple(map(float, point.split())) for point in re.split("[ML] ", path)[1:])
    assert first[0] < last[0]  # left to right
    assert first[1] > last[1]  # bottom to top; what is no number is left out
    assert 'aria-label="Chart. t: c from 0 to 1"' in chart


def test_epochs_are_whole_numbers() -> None:
    chart = make_line_chart("Loss", [Curve("train", [(1.0, 0.5), (2.0, 0.4)], "train")], "epoch")
    ticks = re.findall(r"<text[^>]*>([\d.]+)</text>", chart)
    assert "1" in ticks
    assert "1.5" not in ticks


@pytest.mark.parametrize("points", [[], [(1, float("inf"))], [(3, 0.5)], [(0, 0.0), (0, 0.0)]])
def test_a_chart_takes_whatever_was_recorded(points: list[tuple[float, float]]) -> None:
    chart = make_line_chart("$t$", [Curve("$x$", points, "train")], "$step$")
    assert ("nothing was recorded" in chart) == (not points or points[0][0] == 1)


def test_charts_of_a_page_share_no_id_and_follow_its_colours() -> None:
    drawn = [make_line_chart("t", [Curve("c", [(0, 0), (1, 1)], "eval")], "step") for _ in range(2)]
    ids = re.findall(r' id="([^"]+)"', "".join(drawn))
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', "".join(drawn))
    assert set(used) == set(ids)
    assert not re.findall(r"#[0-9a-f]{6}", drawn[0])
    assert len(drawn[0]) < 8_000


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb or #rgb (WCAG 2.1)."""
    digits = colour.removeprefix("#")
    pairs = [digits[i : i + 2] for i in (0, 2, 4)] if len(digits) == 6 else [2 * digit for digit in digits]
    shares = [int(pair, 16) / 255 for pair in pairs]
    linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_reading_takes(scheme: int) -> None:
    style = (Path(records.__file__).with_name("page.css")).read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root[^{]*{([^}]*)}", style)
    )
    colours = (light, {**light, **dark})[scheme]
    for text, paper in (
        ("ink", "paper"),
        ("muted", "paper"),
        ("link", "paper"),
        ("muted", "soft"),
        ("ink", "soft"),
    ):
        assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    for kind in ("good", "bad", "warn"):
        assert contrast(colours[kind], colours[f"{kind}-paper"]) >= 4.5, kind
    for line in ("train", "eval", "test", "other", "chance", "right", "wrong"):
        assert contrast(colours[line], colours["paper"]) >= 3.0, line


# --- data


def test_examples_are_counted_and_shown(tmp_path: Path) -> None:
    counts = {"train": [5, 3, 2], "eval": [1, 2, 0], "test": [1, 1, 1]}
    page = page_of("ImportExampleGen", examples=write_splits(tmp_path, counts))
    words = text_of(page)
    assert "10 train examples 3 eval examples 3 test examples" in words
    assert "blue 5 1 1 green 3 2 1 red 2 0 1" in words
    assert "the longest is 66.7%" in words  # green's share of eval
    assert page.html.count("<img") == 10
    assert "could not" not in words


def test_artifacts_in_a_bucket_are_read_too(tmp_path: Path) -> None:
    import tensorflow as tf

    write_splits(tmp_path, {"train": [2, 0, 1]})
    (source,) = tmp_path.rglob("*.gz")
    # TensorFlow's file system in memory is addressed as a bucket is.
    tf.io.gfile.makedirs("ram://bucket/examples/1/Split-train")
    with tf.io.gfile.GFile("ram://bucket/examples/1/Split-train/data.gz", "wb") as file:
        file.write(source.read_bytes())
    page = page_of("ImportExampleGen", examples=output("ram://bucket/examples/1"))
    assert "blue 2 green 0 red 1" in text_of(page)


def test_the_data_folder_is_told_from_its_manifest(tmp_path: Path) -> None:
    write_records(tmp_path / "train-00000-of-00001", [record(label, 0) for label in range(3)])
    shard = {"name": "train-00000-of-00001", "records": 3, "bytes": 1, "sha256": "", "fingerprint": ""}
    manifest = {
        "version": 2,
        "source": "folder",
        "input": "/photos",
        "class_names": list(COLOURS),
        "splits": {
            "train": {"images": 3, "class_counts": dict.fromkeys(COLOURS, 1), "shards": [shard]},
        },
        "rejected": 1,
        "warnings": ["2 images are in two splits"],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "rejects.csv").write_text("path,reason\r\nblue/broken.png,cannot be decoded\r\n")
    page = page_of("Ingest", data=output(tmp_path))
    words = text_of(page)
    assert "3 train images 3 classes 1 rejected" in words
    assert "Read by the source folder from /photos." in words
    assert "Warning: 2 images are in two splits" in words
    assert "cannot be decoded 1 blue/broken.png" in words
    assert page.html.count("<img") == 3


def test_what_is_left_of_rejected_images_is_shown(tmp_path: Path) -> None:
    cut = {
        "cut.jpg": encode_image(make_noise(0, 90, 120), "JPEG"),
        "cut.png": encode_image(make_noise(1, 90, 120)),  # small enough for the page as it is
        "large.png": encode_image(make_noise(2, 300, 200)),
    }
    written = {name: content[: len(content) // 2] for name, content in cut.items()}
    written |= {"head.jpg": cut["cut.jpg"][:20], "text.png": b"<html>", "empty.jpg": b""}
    (tmp_path / "raw").mkdir()
    for name, content in written.items():
        (tmp_path / "raw" / name).write_bytes(content)
    manifest = {"input": str(tmp_path / "raw"), "source": "folder", "class_names": [], "splits": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"rejected": 6, "warnings": []}))
    rows = "".join(f"{name},{name} is cut off\r\n" for name in written)
    (tmp_path / "rejects.csv").write_text(f"path,reason\r\n{rows}")
    made = page_of("Ingest", data=output(tmp_path))
    shown = re.findall(r'<img[^>]* src="data:image/(\w+);base64,([^"]*)" alt="([^"]*)"', made.html)
    assert [(kind, alt) for kind, _, alt in shown] == [("jpeg", name) for name in cut]
    for _, content, name in shown:
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            pixels = np.asarray(image.convert("L"), int)
        # The upper part is noise, and the lower one is not.
        assert pixels[: len(pixels) // 4].std() > 10, name
        assert pixels[-len(pixels) // 8 :].std() < 5, name
    assert "Inputs without an image here cannot be decoded at all, are above 20 MB, or" in text_of(made)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_contract_data_without_a_manifest_is_shown_too(tmp_path: Path) -> None:
    write_records(tmp_path / "train-00000-of-00001.tfrecord", [record(0, 0), record(2, 0)])
    page = page_of("Ingest", data=output(tmp_path))
    assert page.html.count("<img") == 2
    assert "Images of 2 of 3 classes." in page.html


def test_the_schema_tells_features_and_classes(tmp_path: Path) -> None:
    from components.schema_gen.schema_file import write_schema

    page = page_of("ImportSchemaGen", schema=output(write_schema(COLOURS, tmp_path).parent))
    words = text_of(page)
    assert "image/class/label int in every record 0 to 2" in words
    assert "image/class/text bytes in every record blue, green, red" in words
    assert "3 classes in the order of their labels, from 0: blue, green, red" in words


def test_of_very_many_classes_the_rarest_and_most_frequent_are_shown(tmp_path: Path) -> None:
    names = tuple(f"class{number:03}" for number in range(70))
    counts = [70 - number for number in range(70)]
    page = Page("made", task_named("classification"), names)
    shown = count_by_class(page, {"train": dict(zip(names, counts, strict=True))}, names)
    assert re.findall(r"class\d\d\d", shown) == [*names[:30], *names[40:]]


# --- statistics and anomalies


def write_statistics(folder: Path) -> Output:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    for split, counts in (("train", {"blue": 6, "red": 2}), ("eval", {"blue": 1, "red": 1})):
        total = sum(counts.values())
        dataset = statistics_pb2.DatasetFeatureStatistics(num_examples=total)
        text = dataset.features.add(type="STRING")
        text.path.step.append("image/class/text")
        text.string_stats.common_stats.num_non_missing = total
        text.string_stats.unique = 2
        size = dataset.features.add(type="BYTES")
        size.path.step.append("image/source_id")
        size.bytes_stats.common_stats.num_non_missing = total
        text.string_stats.top_values.add(value="blue", frequency=counts["blue"])
        for name, count in counts.items():
            text.string_stats.rank_histogram.buckets.add(label=name, sample_count=count)
        width = dataset.features.add(type="INT")
        width.path.step.append("image/width")
        stats = width.num_stats
        stats.common_stats.num_non_missing, stats.common_stats.num_missing = total - 1, 1
        stats.mean, stats.std_dev, stats.min, stats.median, stats.max = 40.5, 2.5, 32, 40, 64
        quantiles = stats.histograms.add(type="QUANTILES")
        quantiles.buckets.add(low_value=32, high_value=40, sample_count=total / 2)
        quantiles.buckets.add(low_value=40, high_value=64, sample_count=total / 2)
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir(parents=True)
        path.write_bytes(statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset]).SerializeToString())
    return output(folder)


def test_statistics_of_all_splits_stand_side_by_side(tmp_path: Path) -> None:
    page = page_of("StatisticsGen", ("blue", "red"), statistics=write_statistics(tmp_path))
    words = text_of(page)
    assert "8 train examples 2 eval examples" in words
    assert "class train eval blue 6 1 red 2 1 A bar" in words
    assert "train width, px 32 40 40.5 64" in words
    assert "image/width train 7 1 40.5 2.5 32 64" in words
    assert "image/class/text train 8 0 2 blue (6)" in words
    assert "The values of image/source_id are sizes in bytes" in words
    assert "Width: cumulative share of images" in words
    assert "<svg" in page.html


def write_anomalies(folder: Path, split: str, fill: Any = None) -> Output:
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    anomalies = anomalies_pb2.Anomalies()
    if fill:
        fill(anomalies)
    path = folder / split / "SchemaDiff.pb"
    path.parent.mkdir(parents=True)
    path.write_bytes(anomalies.SerializeToString())
    return output(folder)


def test_no_anomalies_are_said_to_be_none(tmp_path: Path) -> None:
    words = text_of(page_of("ExampleValidator", anomalies=write_anomalies(tmp_path, "Split-train")))
    assert "none found Checked: train." in words


def test_anomalies_are_told_with_their_reasons(tmp_path: Path) -> None:
    def fill(anomalies: Any) -> None:
        reason = anomalies.anomaly_info["image/class/text"].reason.add()
        reason.short_description, reason.description = "Unexpected string values", f"Value {EVIL} (12%)"

    page = page_of("ExampleValidator", anomalies=write_anomalies(tmp_path, "Split-eval", fill))
    words = text_of(page)
    assert "1 anomaly found" in words
    assert f"image/class/text eval Unexpected string values Value {EVIL} (12%)" in words
    assert EVIL not in page.html


def test_distances_between_splits_stand_beside_their_bounds(tmp_path: Path) -> None:
    def fill(anomalies: Any) -> None:
        info = anomalies.drift_skew_info.add()
        info.path.step.append("image/class/text")
        info.drift_measurements.add(value=0.036, threshold=0.12)

    found = write_anomalies(tmp_path, "SplitPair-train_eval", fill)
    words = text_of(page_of("DistributionValidator", anomalies=found))
    assert "none found Checked: train against eval." in words
    assert "image/class/text train against eval 0.0360 0.1200" in words


def test_the_gate_tells_what_it_decoded(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"images": {"train": 1267, "eval": 176}}')
    words = text_of(page_of("DataGate", blessing=output(tmp_path)))
    assert "passed" in words
    assert "train 1,267 0 eval 176 0 all 1,443 0" in words
    (tmp_path / "report.json").write_text('{"images": {}}')
    assert "data.check_images is off" in text_of(page_of("DataGate", blessing=output(tmp_path)))
    assert "refused" in text_of(page_of("DataGate"))


# --- training


def write_trials(folder: Path) -> dict[str, Output]:
    values = {"model.dropout": 0.25, "training.optimizer": "adam", "tuner/epochs": 3}
    (folder / "best").mkdir()
    (folder / "best" / "best_hyperparameters.txt").write_text(json.dumps({"space": [], "values": values}))
    (folder / "results").mkdir()
    with (folder / "results" / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["model.dropout", "training.optimizer", "eval_accuracy", "eval_loss", "seconds", "reason"]
        writer.writerow(["trial", "status", *names])
        writer.writerow([1, "completed", 0.1, "adam", 0.94, 0.21, 4.2, ""])
        writer.writerow([2, "failed", 0.4, "sgd", "", "", "", f"diverged {EVIL}"])
        writer.writerow([3, "completed", 0.25, "adam", 0.97, 0.11, 4.02, ""])
    return {"best_hyperparameters": output(folder / "best"), "tuner_results": output(folder / "results")}


def test_trials_are_listed_and_the_best_stands_out(tmp_path: Path) -> None:
    page = page_of("Tuner", **write_trials(tmp_path))
    words = text_of(page)
    assert "model.dropout 0.25 training.optimizer adam Trials" in words
    (best,) = re.findall('<tr class="best">(.*?)</tr>', page.html, re.DOTALL)
    assert text_of(f"<body>{best}") == "3 0.9700 0.1100 4.0200 0.25 adam"
    assert f"trial 2: diverged {EVIL}" in words
    assert EVIL not in page.html
    assert page.metrics == {"trials": 3.0, "best_trial_eval_accuracy": 0.97, "best_trial_eval_loss": 0.11}


def write_events(path: Path, points: dict[str, list[tuple[int, float]]], **pictures: bytes) -> None:
    """An event file as `tf.summary` writes it."""
    from tensorboard.compat.proto import event_pb2

    events = [event_pb2.Event(wall_time=1.0, file_version="brain.Event:2")]
    for tag, curve in points.items():
        for step, value in curve:
            event = event_pb2.Event(wall_time=2.0, step=step)
            item = event.summary.value.add(tag=tag)
            item.metadata.plugin_data.plugin_name = "scalars"
            item.tensor.dtype = 1
            item.tensor.float_val.append(value)
            events.append(event)
    for tag, content in pictures.items():
        event = event_pb2.Event(wall_time=2.0)
        item = event.summary.value.add(tag=tag)
        item.metadata.plugin_data.plugin_name = "images"
        item.tensor.dtype = 7
        item.tensor.string_val.extend([b"12", b"12", content])
        events.append(event)
    write_records(path, [event.SerializeToString() for event in events])


def test_a_training_shows_its_curves_and_gives_its_numbers(tmp_path: Path) -> None:
    stage = tmp_path / "training"
    write_events(
        stage / "events.out.tfevents.1.a.v2",
        {
            "epoch/loss": [(10, 2.0), (20, 1.0), (30, 9.0)],  # killed after this, and run again from 20
            "epoch/eval_loss": [(10, 1.5), (20, 0.5)],
            "epoch/accuracy": [(10, 0.5), (20, 0.75)],
        },
        mistakes=make_coloured_png(0, 0),
    )
    # The training that was killed wrote half a record last.
    with (stage / "events.out.tfevents.1.a.v2").open("ab") as file:
        file.write(b"\x10\x00\x00")
    write_events(
        stage / "events.out.tfevents.2.a.v2",
        {
            "epoch/loss": [(30, 1.25)],
            "epoch/eval_loss": [(30, 0.75)],
            "epoch/accuracy": [(30, 0.7)],
            "final/eval_loss": [(30, 0.5)],  # the weights of step 20 were taken back
        },
    )
    (stage / "inputs.png").write_bytes(make_coloured_png(1, 0))
    page = page_of("Trainer", model=output(tmp_path / "model"), model_run=output(tmp_path))
    assert page.metrics == pytest.approx(
        {
            "train_loss": 1.25,
            "best_train_loss": 1.0,
            "eval_loss": 0.5,
            "best_eval_loss": 0.5,
            "train_accuracy": 0.7,
            "best_train_accuracy": 0.75,
        }
    )
    words = text_of(page)
    assert "3 epochs 30 steps" in words
    assert "Curves: training" in words
    # Of the train loss, from 2.0 at the top to 1.25, by way of 1.0.
    line = re.findall(r'd="([^"]+)"[^>]*stroke: var\(--train\)', page.html)[0]
    heights = [float(point.split()[1]) for point in re.split("[ML] ", line)[1:]]
    assert heights[0] < heights[2] < heights[1]
    assert len(heights) == 3
    assert "Images of the stage training" in words
    assert "Misclassified eval images: training" in words
    assert page.html.count("data:image/png") == 2


def test_a_training_without_event_files_says_so(tmp_path: Path) -> None:
    page = page_of("Trainer", model_run=output(tmp_path))
    assert "No curves were kept next to the model" in page.html
    assert page.metrics == {}


def test_event_files_of_tensorflow_are_read(tmp_path: Path) -> None:
    import numpy as np

    from components.pages.events import read_stages
    from components.trainer.tracking.event_files import TensorBoard

    writer = TensorBoard(str(tmp_path), settings={"model": {"name": "lenet"}})
    writer.scalars("head", 5, {"epoch/loss": 0.25})
    writer.image("head", 5, "mistakes", np.zeros([2, 3, 3], np.uint8))
    writer.close()
    whole, head = read_stages(str(tmp_path))
    assert (whole.name, head.name) == ("", "head")
    assert '"name": "lenet"' in whole.texts["settings"]
    assert head.curves == {"epoch/loss": [(5, 0.25)]}
    assert head.images["mistakes"].startswith(b"\x89PNG")
    assert "model.name lenet" in text_of(page_of("Trainer", model_run=output(tmp_path)))


def test_the_baseline_is_named_or_missing(tmp_path: Path) -> None:
    assert "There is no baseline" in text_of(page_of("Resolver"))
    words = text_of(page_of("Resolver", model=output(tmp_path / "model" / "8")))
    assert str(tmp_path / "model" / "8") in words
    assert "There is no baseline" not in words


def test_the_model_that_a_training_starts_from_is_named_or_missing(tmp_path: Path) -> None:
    assert "the training starts as model.weights says" in text_of(page_of("BaseModelResolver"))
    words = text_of(page_of("BaseModelResolver", model=output(tmp_path / "model" / "8")))
    assert f"The training starts from the served model: model {tmp_path / 'model' / '8'}" in words


# --- evaluation


def write_evaluation(folder: Path, *, blessed: bool = True, accuracy: float = 0.75) -> dict[str, Output]:
    """As the Evaluator leaves it: two classes, six images right, a dog taken for a cat, a cat for a dog."""
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2, validation_result_pb2

    metrics = metrics_for_slice_pb2.MetricsForSlice(slice_key={})
    for model, value in (("candidate", accuracy), ("baseline", 0.5)):
        item = metrics.metric_keys_and_values.add()
        item.key.name, item.key.model_name = "accuracy", model
        item.value.double_value.value = value
    # Of the candidate, and not shown among the metrics; the others only in words.
    for name, value in (("example_count", 8.0), ("beats_trivial", 0.5)):
        item = metrics.metric_keys_and_values.add()
        item.key.name, item.key.model_name = name, "candidate"
        item.value.double_value.value = value
    for class_id, recall in ((0, 0.8), (1, 2 / 3)):
        item = metrics.metric_keys_and_values.add()
        item.key.name, item.key.model_name = "recall", "candidate"
        item.key.sub_key.class_id.value = class_id
        item.value.double_value.value = recall
    plots = metrics_for_slice_pb2.PlotsForSlice(slice_key={})
    item = plots.plot_keys_and_values.add()
    item.key.name, item.key.model_name = "confusion_matrix", "candidate"
    matrix = item.value.multi_class_confusion_matrix_at_thresholds.matrices.add()
    for true, predicted, count in ((0, 0, 4), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        matrix.entries.add(actual_class_id=true, predicted_class_id=predicted, num_weighted_examples=count)
    item = plots.plot_keys_and_values.add()
    item.key.name, item.key.model_name = "roc", "candidate"
    for threshold, right, wrong in ((1.0001, 0, 0), (0.5, 2, 1), (0.0, 3, 5)):
        item.value.confusion_matrix_at_thresholds.matrices.add(
            threshold=threshold,
            true_positives=right,
            false_positives=wrong,
            false_negatives=3 - right,
            true_negatives=5 - wrong,
        )
    validation = validation_result_pb2.ValidationResult(validation_ok=blessed)
    if not blessed:
        failure = validation.metric_validations_per_slice.add().failures.add()
        failure.metric_key.name = "accuracy"
        failure.metric_value.double_value.value = 0.75
        failure.metric_threshold.value_threshold.lower_bound.value = 0.9
    folder.mkdir()
    write_records(folder / "metrics-00000-of-00001.tfrecord", [metrics.SerializeToString()])
    write_records(folder / "plots-00000-of-00001.tfrecord", [plots.SerializeToString()])
    write_records(folder / "validations.tfrecord", [validation.SerializeToString()])
    bound = {"threshold": {"valueThreshold": {"lowerBound": 0.9}}}
    metric = {
        "config": '{"name": "accuracy"}',
        "perSliceThresholds": [bound],
    }
    (folder / "eval_config.json").write_text(
        json.dumps({"evalConfig": {"metricsSpecs": [{"metrics": [metric]}]}})
    )
    (folder / "about.json").write_text('{"task": "classification"}')
    blessing = output(folder.parent / "blessing", blessed=int(blessed))
    return {"evaluation": output(folder), "blessing": blessing}


def test_an_evaluation_shows_metrics_classes_confusions_and_roc(tmp_path: Path) -> None:
    page = page_of("Evaluator", ("cat", "dog"), **write_evaluation(tmp_path / "evaluation"))
    words = text_of(page)
    assert "blessed Every threshold was met." in words
    assert "accuracy 0.7500 at least 0.9 0.5000 +0.2500" in words
    assert "cat 5 – 0.8000 – – dog 3 – 0.6667 – –" in words
    assert "cat dog cat 4 1 dog 1 2 Rows are true" in words
    assert 'title="dog taken for cat: 33.3%"' in page.html
    assert "cat taken for dog: 1 image dog taken for cat: 1 image" in words
    assert 'href="#pair-1-0"' not in page.html  # this evaluation keeps no list of mistakes
    assert page.metrics == {"accuracy": 0.75}
    assert "8 images. " in words
    assert "Warning: the test split (8 images) is too small to tell whether the model is better than" in words
    assert page.confusion is not None
    assert page.confusion.class_names == ("cat", "dog")
    assert page.confusion.counts == [[4, 1], [1, 2]]
    assert page.roc is not None
    assert page.roc.fpr == [0.0, 0.2, 1.0]
    assert page.roc.tpr == pytest.approx([0.0, 2 / 3, 1.0])
    assert page.roc.thresholds == [1.0001, 0.5, 0.0]
    assert page.roc.of == "class dog against cat"
    assert "Class dog against cat." in words


def test_a_model_that_is_not_blessed_is_told_why(tmp_path: Path) -> None:
    page = page_of("Evaluator", ("cat", "dog"), **write_evaluation(tmp_path / "evaluation", blessed=False))
    assert "not blessed accuracy is 0.7500, must be at least 0.9" in text_of(page)


def test_a_value_is_shown_with_the_digits_that_tell_it_from_its_bound(tmp_path: Path) -> None:
    outputs = write_evaluation(tmp_path / "evaluation", accuracy=0.89996)
    assert "accuracy 0.89996 at least 0.9 0.5000 +0.4000" in text_of(
        page_of("Evaluator", ("cat", "dog"), **outputs)
    )


def test_with_many_classes_the_most_frequent_confusions_stand_for_the_table(tmp_path: Path) -> None:
    names = tuple(f"class {number}" for number in range(101))
    page = page_of("Evaluator", names, **write_evaluation(tmp_path / "evaluation"))
    assert page.confusion is None
    assert 'class="confusion"' not in page.html
    assert "class 0 taken for class 1: 1 image class 1 taken for class 0: 1 image" in text_of(page)
    assert page.roc is not None
    assert page.roc.of.startswith("micro-average")


def test_an_evaluation_without_plots_says_so(tmp_path: Path) -> None:
    outputs: Any = write_evaluation(tmp_path / "evaluation")
    (tmp_path / "evaluation" / "plots-00000-of-00001.tfrecord").unlink()
    page = make_page("Evaluator", outputs, features.CLASSIFICATION, ("cat", "dog"))
    assert page.metrics == {"accuracy": 0.75}
    assert "The evaluation has no ROC curve" in page.html


# --- serving


def test_the_infra_report_gives_seconds_or_problems(tmp_path: Path) -> None:
    report = {"problems": [], "load_secs": 0.5, "request_secs": {"serving_default": 0.002}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    page = page_of("InfraValidator", blessing=output(tmp_path, blessed=1))
    assert "infra blessed" in text_of(page)
    assert page.metrics == {"loading_secs": 0.5, "serving_default_secs": 0.002}
    (tmp_path / "report.json").write_text('{"problems": ["the model did not load"]}')
    page = page_of("InfraValidator", blessing=output(tmp_path, blessed=0))
    assert "not infra blessed" in text_of(page)
    assert "the model did not load" in text_of(page)


def test_a_push_tells_where_the_model_is_or_why_it_is_nowhere(tmp_path: Path) -> None:
    where = output(tmp_path, pushed=1, pushed_destination="/serving/17", pushed_version="17")
    assert "pushed model /serving/17 version 17" in text_of(page_of("Pusher", pushed_model=where))
    words = text_of(page_of("Pusher", pushed_model=output(tmp_path, pushed=0)))
    assert "not pushed The Evaluator or the InfraValidator did not bless the model" in words
