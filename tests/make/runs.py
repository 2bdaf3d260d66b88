"""Makes what a run leaves, without running anything: recipe, result, record and artifacts."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from components.base import files
from components.base.example import serialize_example
from components.base.outcome import Output
from components.base.tfrecord import frame_record
from components.evaluator.evaluation import Evaluation, write_about, write_draws, write_evaluation
from components.evaluator.gathered import MISTAKES_FOLDER
from components.tasks.classification.confidence import find_confidence
from components.tasks.classification.figures import FILE as FIGURES
from components.tasks.classification.figures import Figures, make_figures
from components.tasks.classification.metrics import Tally, list_metric_names, measure
from components.tasks.classification.mistakes import Mistakes
from components.tasks.classification.predictions import Predictions, predict
from components.tasks.detection import report, tally
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.confidence import draw_metrics, find_intervals
from components.tasks.detection.stored import Judged
from pipeline.history.runs import PastRun, choose_run
from pipeline.run.record import RunRecord, write_record
from schemas import features
from tests.make.images import encode_image, make_coloured_png

RUN_ID = "20260101T000000.000"


class Plots:
    """As `components.tasks.classification.plots.Plots`, which brings TensorFlow along."""

    def __init__(self, tally: Tally):
        self.confusion = tally.confusion()
        self.roc = [
            (wrong / (wrong + others), right / (right + missed), threshold)
            for threshold, right, wrong, others, missed in tally.roc()
        ]


def evaluate(
    folder: Path,
    names: Sequence[str],
    labels: Sequence[int],
    probabilities: Any,
    prefix: str = "image",
    slices: Mapping[str, dict[str, float]] | None = None,
) -> dict[str, float]:
    """Writes the folder of a classifier's evaluation; returns the metrics."""
    labels, probabilities = np.array(labels, np.int64), np.array(probabilities, np.float32)
    images = [f"{prefix}{place}.png" for place in range(len(labels))]
    write_about(str(folder), features.CLASSIFICATION, 0)
    if not len(labels):
        write_evaluation(str(folder), Evaluation({}, {}, False, ["no threshold could be checked"]))
        files.write_text(str(folder / FIGURES), Figures().to_json())
        return {}
    tally, mistakes = Tally(len(names)), Mistakes()
    tally.add(labels, probabilities)
    mistakes.add(tuple(names), images, labels, probabilities)
    mistakes.to_bytes()
    overall, per_class = measure(tally)
    metrics = {
        name: overall[name]
        for name in list_metric_names(len(names))
        if not np.isnan(overall.get(name, np.nan))
    }
    # In the order of their names, as the Evaluator keeps them.
    found = predict(tuple(names), images, labels, probabilities)
    predictions = Predictions.from_bytes(found.to_bytes())
    confidence = find_confidence(predictions, metrics)
    figures = make_figures(predictions, confidence, Plots(tally))  # type: ignore[arg-type]
    write_draws(str(folder), confidence.draws)
    evaluation = Evaluation(metrics, dict(enumerate(per_class)), True, [], example_count=len(labels))
    write_evaluation(
        str(folder), dataclasses.replace(evaluation, intervals=figures.intervals, slices=dict(slices or {}))
    )
    files.write_text(str(folder / FIGURES), figures.to_json())
    files.write_text(str(folder / "mistakes.csv"), mistakes.format())
    for row in range(min(3, mistakes.total)):
        files.write_bytes(str(folder / MISTAKES_FOLDER / f"{row}.png"), make_coloured_png(0, row))
    return metrics


def write_data(folder: Path, names: Sequence[str], rejects: str = "") -> None:
    """Writes a data folder with an image of every class in train."""
    folder.mkdir(parents=True)
    content = [
        serialize_example(
            {
                features.ENCODED: make_coloured_png(label % 3, 0),
                features.LABEL: label,
                features.LABEL_TEXT: name.encode(),
            }
        )
        for label, name in enumerate(names)
    ]
    (folder / "train-00000-of-00001").write_bytes(b"".join(map(frame_record, content)))
    counts = dict.fromkeys(names, 1)
    shards = [{"name": "train-00000-of-00001"}]
    manifest = {
        "source": "folder",
        "input": str(folder.parent / "raw"),
        "class_names": list(names),
        "splits": {"train": {"images": len(names), "class_counts": counts, "shards": shards}},
        "rejected": len(rejects.splitlines()),
        "warnings": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "rejects.csv").write_text(f"path,reason\n{rejects}")


def evaluate_detections(folder: Path, names: Sequence[str], images: Sequence[Detections]) -> dict[str, float]:
    """Writes the folder of a detector's evaluation; returns the metrics."""
    result = tally.evaluate(images, len(names))
    metrics = {name: value for name, value in result.metrics.items() if not np.isnan(value)}
    draws = draw_metrics(images, len(names))
    (folder / "detection").mkdir(parents=True)
    png = make_coloured_png(0, 0)
    wrong = report.write_report(
        folder / "detection",
        Judged(list(images), list(names), result),
        draws,
        lambda wanted: dict.fromkeys(wanted, png),
    )
    write_about(str(folder), features.DETECTION, len(wrong))
    write_draws(str(folder), draws)
    files.write_text(str(folder / "mistakes.csv"), report.format_mistakes(images, wrong))
    per_class = {place: {"map": of_class["map"]} for place, of_class in enumerate(result.per_class)}
    found = Evaluation(metrics, per_class, True, [], example_count=len(images))  # type: ignore[arg-type]
    write_evaluation(str(folder), dataclasses.replace(found, intervals=find_intervals(draws)))
    return metrics


def write_examples(folder: Path, images: Sequence[Detections]) -> None:
    """Writes the test split of a detector's data, each image of a colour of its own."""
    records = [
        {
            features.ENCODED: encode_image(
                np.full((image.height, image.width, 3), place * 9, np.uint8), "JPEG"
            ),
            features.FILENAME: image.name.encode(),
            features.HEIGHT: image.height,
            features.WIDTH: image.width,
            features.BOX_LABEL: image.labels.tolist(),
            **dict(zip(features.BOX_SIDES, image.boxes.T.tolist(), strict=True)),
        }
        for place, image in enumerate(images)
    ]
    content = b"".join(frame_record(serialize_example(values)) for values in records)
    files.write_bytes(str(folder / "Split-test" / "data_tfrecord-00000-of-00001.gz"), gzip.compress(content))


def make_run(
    root: Path,
    names: Sequence[str],
    labels: Sequence[int] | None = None,
    probabilities: Any = None,
    *,
    rejects: str = "",
    prefix: str = "image",
    slices: Mapping[str, dict[str, float]] | None = None,
    detections: Sequence[Detections] | None = None,
    **result: Any,
) -> PastRun:
    """Returns a run with an evaluation of a classifier or a detector; without one it failed before."""
    folder = root / "runs" / RUN_ID
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        yaml.safe_dump({"name": "made", "training": {"epochs": 3, "seed": 0}})
    )
    write_data(root / "data", names, rejects)
    outputs = {"Ingest": {"data": Output(str(root / "data"), {})}}
    metrics: dict[str, float] = {}
    if labels is not None:
        metrics = evaluate(root / "evaluation", names, labels, probabilities, prefix, slices)
    if detections is not None:
        metrics = evaluate_detections(root / "evaluation", names, detections)
        write_examples(root / "examples", detections)
        outputs["ImportExampleGen"] = {"examples": Output(str(root / "examples"), {})}
    if metrics or labels is not None:
        outputs["Evaluator"] = {"evaluation": Output(str(root / "evaluation"), {})}
    nodes = {"Trainer": {"status": "completed", "seconds": 1.5, "peak_memory_bytes": 1 << 30}}
    found = {
        "root": str(root),
        "components": nodes,
        "metrics": metrics,
        "blessed": True if "Evaluator" in outputs else None,
    }
    (folder / "result.json").write_text(json.dumps(found | result))
    task = features.CLASSIFICATION if detections is None else features.DETECTION
    write_record(folder, RunRecord(task, list(names), outputs, {"tfx": "1"}, "abc"))
    return choose_run(str(folder), [])
