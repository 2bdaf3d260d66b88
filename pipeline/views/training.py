"""Pages of what makes the model: Transform, Tuner, Trainer, and the Resolvers."""

from __future__ import annotations

import csv
import io
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.base import files
from components.pages.charts import COLOURS, OTHER, Curve, line_chart, side_by_side
from components.pages.events import Stage, read_stages
from components.pages.page import Cell, Measure, Page, location, table
from pipeline.views.data import only

if TYPE_CHECKING:
    from components.base.outcome import Output

_TRAIN, _EVAL = COLOURS["train"], COLOURS["eval"]
_CLASSIFIER_CHARTS = (("accuracy", "Accuracy"),)
_DETECTOR_CHARTS = (
    ("map_50", "mAP@.5"),
    ("class_loss", "Loss of classes"),
    ("box_loss", "Loss of boxes"),
)
# Of a trial: the first is a classifier's, the second a detector's.
_MEASURES = ("eval_accuracy", "eval_map_50", "eval_loss", "seconds")
_NO_FIELDS = ("trial", "status", "reason", *_MEASURES)


def transform(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of Transform: the shape of what every image becomes, and the levels of black and white."""
    folder = only(outputs, "transform_graph").uri
    page.text(
        "Every image goes through one graph, in training, in evaluation and in the model that is served: it "
        "is decoded, resized and normalised."
    )
    height, width, channels = _image_shape(folder)
    page.cards([("height, px", height), ("width, px", width), ("channels", channels), ("type", "float32")])
    with page.part("Levels"):
        rows = [[name, black, white] for name, black, white in _levels(folder, height, width, channels)]
        page.add(table(["channel", "black becomes", "white becomes"], rows))
        page.note(
            "Measured by sending a black and a white image through the graph; what lies between them is in "
            "proportion."
        )
        if channels == 3:
            page.note("Red, green, blue; with the normalization imagenet_caffe blue, green, red.")


def _image_shape(folder: str) -> tuple[int, int, int]:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    text = files.read_text(os.path.join(folder, "transformed_metadata", "schema.pbtxt"))
    schema = text_format.Parse(text, schema_pb2.Schema())
    (image,) = (feature for feature in schema.feature if feature.name == "image")
    height, width, channels = (dim.size for dim in image.shape.dim)
    return height, width, channels


def _levels(folder: str, height: int, width: int, channels: int) -> list[tuple[int, float, float]]:
    import tensorflow_transform as tft

    from components.transform.config import TransformConfig
    from components.transform.levels import measured_levels

    config = TransformConfig(height_px=height, width_px=width, channels=1 if channels == 1 else 3)
    levels = measured_levels(tft.TFTransformOutput(folder), config)
    return [(place, *pair) for place, pair in enumerate(zip(levels.black, levels.white, strict=True), 1)]


def tuner(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the Tuner: the best values, and every trial."""
    with page.part():
        (file,) = files.below(outputs["best_hyperparameters"].uri)
        best = _chosen(file)
        page.text("The Trainer trains with the best values:")
        page.add(table(["field", "value"], [[name, str(value)] for name, value in best.items()]))
    with page.part("Trials"):
        (file,) = (p for p in files.below(outputs["tuner_results"].uri) if p.endswith("trials.csv"))
        trials = list(csv.DictReader(io.StringIO(files.read_text(file))))
        _show_trials(page, trials, best)


def _show_trials(page: Page, trials: Sequence[Mapping[str, str]], best: Mapping[str, Any]) -> None:
    fields = [name for name in (trials[0] if trials else ()) if name not in _NO_FIELDS]
    winner = _winner(trials, {name: str(best[name]) for name in fields if name in best})
    measures = [name for name in _MEASURES if name in trials[0]] if trials else []
    header = ["trial", *measures, *fields]
    rows: list[list[Cell]] = [
        [
            int(trial["trial"]),
            *(Measure(trial[name]) if trial[name] else None for name in measures),
            *(_shortened(trial[name]) for name in fields),
        ]
        for trial in trials
    ]
    page.add(table(header, rows, best=winner))
    page.note("The green row is the best one." if winner is not None else "Which one was best is not told.")
    failed = [
        f"trial {trial['trial']}: {trial['reason']}" for trial in trials if trial["status"] != "completed"
    ]
    if failed:
        page.text("Trials that failed:")
        page.sentences(failed)
    page.metrics["trials"] = len(trials)
    if winner is not None:
        for name in measures[:-1]:
            page.metrics[f"best_trial_{name}"] = float(trials[winner][name])


def _chosen(path: str) -> dict[str, Any]:
    from components.trainer.fields import chosen

    return chosen(json.loads(files.read_text(path)))


def _shortened(text: str) -> str:
    """A number to four digits; what is none as it is."""
    try:
        return text if text.isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def _winner(trials: Sequence[Mapping[str, str]], best: Mapping[str, str]) -> int | None:
    """The place of the completed trial with the best values; of several, of the one that came out best."""
    same = [
        place
        for place, trial in enumerate(trials)
        if trial["status"] == "completed" and all(trial[name] == value for name, value in best.items())
    ]

    def reached(place: int) -> float:
        return float(trials[place].get("eval_accuracy") or trials[place]["eval_map_50"])

    return max(same, key=reached, default=None)


def trainer(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the Trainer: curves of every stage, what the network was given first, and its settings."""
    folder = only(outputs, "model_run").uri
    stages: list[Stage] = []
    with page.part():
        stages = read_stages(folder)
        with_curves = [stage for stage in stages if stage.curves]
        if with_curves:
            _take_metrics(page, with_curves[-1])
        else:
            page.text(
                "No curves were kept beside the model: training.tracking.tensorboard was off. The task's log "
                "has the values of every epoch."
            )
        for stage in with_curves:
            _show_stage(page, stage)
    for path in files.below(folder):
        if os.path.basename(path) == "inputs.png":
            stage_name = os.path.basename(os.path.dirname(path))
            with page.part(f"What the network is given first: {stage_name}"):
                page.picture(files.read_bytes(path), "The first images of the first batch, augmented.")
        elif os.path.basename(path) == "warm_start.txt":
            with page.part("Warm start"):
                page.sentences(files.read_text(path).splitlines(), most=20)
    for stage in stages:
        if "mistakes" in stage.pictures:
            what, words = "were taken for another class", "The mistakes that the network was surest of."
            if _is_detector(stage):
                what = "have boxes that were missed or given without need"
                words = "What was found at a score of 0.3 and more; most mistakes first."
            with page.part(f"Eval images that {what}: {stage.name}"):
                page.picture(stage.pictures["mistakes"], words)
    settings = next((stage.texts["settings"] for stage in stages if "settings" in stage.texts), None)
    if settings:
        with page.part("Settings"):
            _show_settings(page, json.loads(textwrap.dedent(settings)))


def _is_detector(stage: Stage) -> bool:
    return "epoch/box_loss" in stage.curves


def _take_metrics(page: Page, last: Stage) -> None:
    """The numbers of the last stage, as metrics and large on the page."""
    curves = {tag: [value for _, value in points] for tag, points in last.curves.items()}
    for measure, best in (("accuracy", max), ("map_50", max), ("loss", min)):
        for split, prefix in (("train", ""), ("eval", "eval_")):
            values = curves.get(f"epoch/{prefix}{measure}", [])
            # What the stage ended with is evaluated anew where earlier weights were taken back.
            final = curves.get(f"final/{prefix}{measure}", values)
            if final:
                page.metrics[f"{split}_{measure}"] = final[-1]
            if values:
                page.metrics[f"best_{split}_{measure}"] = best(values)
    epochs = len(curves.get("epoch/loss", []))
    names = ("eval_accuracy", "eval_map_50", "eval_loss", "train_accuracy", "train_loss")
    shown = [(name.replace("_", " "), Measure(page.metrics[name])) for name in names if name in page.metrics]
    page.cards([*shown, ("epochs", epochs), ("steps", last.curves["epoch/loss"][-1][0] if epochs else 0)])


def _show_stage(page: Page, stage: Stage) -> None:
    with page.part(f"Curves: {stage.name or 'training'}"):

        def curve(tag: str, name: str, colour: str, dashed: bool = False) -> Curve:
            return Curve(name, stage.curves.get(tag, []), colour, dashed)

        charts = [
            line_chart(
                "Loss",
                [
                    curve("step/loss", "train, single steps", "#a9c4e4", dashed=True),
                    curve("epoch/loss", "train", _TRAIN),
                    curve("epoch/eval_loss", "eval", _EVAL),
                ],
                "step",
            ),
            *(
                line_chart(
                    words,
                    [curve(f"epoch/{name}", "train", _TRAIN), curve(f"epoch/eval_{name}", "eval", _EVAL)],
                    "step",
                )
                for name, words in (_DETECTOR_CHARTS if _is_detector(stage) else _CLASSIFIER_CHARTS)
            ),
            line_chart(
                "Learning rate", [curve("epoch/learning_rate", "at the end of each epoch", OTHER)], "step"
            ),
            line_chart("Speed", [curve("epoch/images_per_sec", "images/s", OTHER)], "step"),
        ]
        page.add(side_by_side(charts))


def _show_settings(page: Page, settings: Mapping[str, Any]) -> None:
    rows: list[list[Cell]] = []
    for part, values in settings.items():
        if isinstance(values, Mapping):
            rows += [[f"{part}.{key}", _words(value)] for key, value in values.items() if value is not None]
        else:
            rows.append([part, _words(values)])
    page.add(table(["setting", "value"], rows))


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def resolver(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the Resolver: the baseline, if there is one."""
    _show_found(
        page,
        outputs,
        "The model is compared with the one that is served:",
        "There is no baseline: nothing else is served, or the served model knows too few of the "
        "classes or is for another task, as the log says. The thresholds alone decide.",
    )


def base_model_resolver(page: Page, outputs: Mapping[str, Output], class_names: Sequence[str]) -> None:
    """Of the BaseModelResolver: the model that the training starts from, if there is one."""
    _show_found(
        page,
        outputs,
        "The training starts from the model that is served:",
        "No model is served yet: the training starts as model.weights says.",
    )


def _show_found(page: Page, outputs: Mapping[str, Output], found: str, none: str) -> None:
    if "model" not in outputs:
        page.text(none)
        return
    page.text(found)
    page.add(table(["model"], [[location(outputs["model"].uri)]]))
