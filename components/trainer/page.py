"""The page of the Trainer: curves of every stage, the images that the network was given, and its settings."""

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from components.base import files
from components.base.outcome import Output
from components.pages.charts import COLOURS, FAINT, OTHER, Curve, make_line_chart, put_side_by_side
from components.pages.events import Stage, read_stages
from components.pages.markup import Cell, Measure, make_table
from components.pages.page import Page
from components.pages.protocol import task_page
from components.pages.tables import find_output


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show what the Trainer kept next to the model."""
    folder = find_output(outputs, "model_run").uri
    stages: list[Stage] = []
    with page.part():
        stages = read_stages(folder)
        show_curves(page, stages)
    show_inputs(page, folder, stages)
    show_notes(page, folder)
    show_mistakes(page, stages)
    settings = next((stage.texts["settings"] for stage in stages if "settings" in stage.texts), None)
    if settings:
        with page.part("Settings"):
            _show_settings(page, json.loads(textwrap.dedent(settings)))


def show_curves(page: Page, stages: Sequence[Stage]) -> None:
    """Add the last values of the metrics, and the curves of every stage."""
    with_curves = [stage for stage in stages if stage.curves]
    if with_curves:
        _take_metrics(page, with_curves[-1])
    else:
        page.add_text(
            "No curves were kept next to the model: training.tracking.tensorboard was off. The task's "
            "log has the values of every epoch."
        )
    for stage in with_curves:
        with page.part(f"Curves: {stage.name or 'training'}"):
            _show_curves(page, stage)


def show_inputs(page: Page, folder: str, stages: Sequence[Stage]) -> int:
    """Add the first batch of every stage, as the network saw it; return the number of images."""
    order = {stage.name: place for place, stage in enumerate(stages)}
    paths = {
        os.path.basename(os.path.dirname(path)): path
        for path in files.list_below(folder)
        if os.path.basename(path) == "inputs.png"
    }
    shown: dict[bytes, str] = {}
    for name in sorted(paths, key=lambda name: order.get(name, len(order))):
        with page.part(f"Images of the stage {name}"):
            content = files.read_bytes(paths[name])
            if content in shown:
                page.add_note(f"The same as of the stage {shown[content]}.")
                continue
            shown[content] = name
            page.add_image(content, "As the network saw them, augmented where that is on.")
    return len(paths)


def show_notes(page: Page, folder: str) -> None:
    """Add what the training started from, and what it did about classes of different size."""
    for path in files.list_below(folder):
        if os.path.basename(path) == "warm_start.txt":
            with page.part("Warm start"):
                page.add_list(files.read_text(path).splitlines(), most=20)
        elif os.path.basename(path) == "class_balance.txt":
            said, *lines = files.read_text(path).splitlines()
            with page.part("Classes of different size"):
                page.add_text(said)
                page.add_list(lines)


def show_mistakes(page: Page, stages: Sequence[Stage]) -> None:
    """Add the image of the mistakes on the eval split, of every stage."""
    heading, words = task_page(page).MISTAKES
    for stage in stages:
        if "mistakes" in stage.images:
            with page.part(f"{heading}: {stage.name}"):
                page.add_image(stage.images["mistakes"], words)


def _take_metrics(page: Page, last: Stage) -> None:
    """Take the numbers of the last stage as metrics, and show them in large print."""
    curves = {tag: [value for _, value in points] for tag, points in last.curves.items()}
    measures = [name.removeprefix("eval_") for name in page.task.objectives]
    for measure in measures:
        for split, prefix in (("train", ""), ("eval", "eval_")):
            values = curves.get(f"epoch/{prefix}{measure}", [])
            # A stage that returned to earlier weights at its end evaluated them once more.
            final = curves.get(f"final/{prefix}{measure}", values)
            if final:
                page.metrics[f"{split}_{measure}"] = final[-1]
            if values:
                page.metrics[f"best_{split}_{measure}"] = (min if measure == "loss" else max)(values)
    epochs = len(curves.get("epoch/loss", []))
    names = [*page.task.objectives, *(f"train_{measure}" for measure in measures)]
    shown = [(name.replace("_", " "), Measure(page.metrics[name])) for name in names if name in page.metrics]
    page.add_cards([*shown, ("epochs", epochs), ("steps", last.curves["epoch/loss"][-1][0] if epochs else 0)])


def _show_curves(page: Page, stage: Stage) -> None:
    def curve(tag: str, name: str, colour: str, dashed: bool = False) -> Curve:
        return Curve(name, stage.curves.get(tag, []), colour, dashed)

    def of_both(name: str) -> list[Curve]:
        train, evaluated = COLOURS["train"], COLOURS["eval"]
        return [curve(f"epoch/{name}", "train", train), curve(f"epoch/eval_{name}", "eval", evaluated)]

    single = curve("step/loss", "train, single steps", FAINT, dashed=True)
    rate = curve("epoch/learning_rate", "at the end of each epoch", OTHER)
    charts = [
        ("Loss", [single, *of_both("loss")]),
        *((heading, of_both(name)) for name, heading in task_page(page).CURVES),
        ("Learning rate", [rate]),
        ("Speed", [curve("epoch/images_per_sec", "images/s", OTHER)]),
    ]
    if len(stage.curves.get("epoch/loss", [])) == 1:
        rows: list[list[Cell]] = [
            [heading, curve.name, curve.points[-1][1]]
            for heading, curves in charts
            for curve in curves
            if curve.points and not curve.dashed
        ]
        page.add(make_table(["after the only epoch", "", "value"], rows))
        return
    page.add(put_side_by_side([make_line_chart(heading, curves, "step") for heading, curves in charts]))


def _show_settings(page: Page, settings: Mapping[str, Any]) -> None:
    rows: list[list[Cell]] = []
    for part, values in settings.items():
        if isinstance(values, Mapping):
            rows += [
                [f"{part}.{key}", _format_setting(value)]
                for key, value in values.items()
                if value is not None
            ]
        else:
            rows.append([part, _format_setting(values)])
    page.add(make_table(["setting", "value"], rows))


def _format_setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
