"""What a person sees of a task: a page of HTML, and numbers, from the artifacts that its node has written.

view.py         the view, as data
page.py         a page: tables, pictures, escaping
charts.py       curves as inline SVG
files.py        reading on a disk or in a bucket
events.py       the Trainer's event files
records.py      looking into records
data.py, statistics.py, training.py, evaluation.py, serving.py   the nodes' pages, in their order
boxes.py        what those of a detector have besides

Importing this imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.pages.page import Cell, Page, location, table
from components.pages.view import ConfusionMatrix, Roc, View
from pipeline.views import data, evaluation, serving, statistics, training

if TYPE_CHECKING:
    from components.base.outcome import Output

__all__ = ["ConfusionMatrix", "Roc", "View", "view_of"]

_Fill = Callable[[Page, "Mapping[str, Output]", Sequence[str]], None]
PAGES: dict[str, _Fill] = {
    "Ingest": data.ingest,
    "ImportExampleGen": data.example_gen,
    "ImportSchemaGen": data.schema_gen,
    "StatisticsGen": statistics.statistics_gen,
    "ExampleValidator": statistics.example_validator,
    "DistributionValidator": statistics.distribution_validator,
    "DataGate": statistics.data_gate,
    "Transform": training.transform,
    "BaseModelResolver": training.base_model_resolver,
    "Tuner": training.tuner,
    "Trainer": training.trainer,
    "Resolver": training.resolver,
    "Evaluator": evaluation.evaluator,
    "InfraValidator": serving.infra_validator,
    "Pusher": serving.pusher,
}


def view_of(node_id: str, outputs: Mapping[str, Output], class_names: Sequence[str]) -> View:
    """The view of a task whose node has run, or of `Ingest`.

    It never raises: what cannot be read or shown is said on the page.

    Args:
        node_id: A node of the pipeline; of one that is not known the outputs are listed.
        outputs: Its output artifacts by channel name. Of `Ingest`, one of any name: the data folder.
        class_names: In the order of the labels.
    """
    page = Page(node_id)
    with page.part():
        if node_id in PAGES:
            PAGES[node_id](page, outputs, list(class_names))
        else:
            page.text("There is no page for this node; its outputs are listed below.")
    with page.part("Artifacts"):
        rows: list[list[Cell]] = [[name, location(output.uri)] for name, output in sorted(outputs.items())]
        if rows:
            page.add(table(["output", "where"], rows))
        else:
            page.note("The node has no outputs.")
    return page.view()
