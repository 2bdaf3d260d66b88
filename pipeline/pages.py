"""The pages of the nodes: each is filled by the module `page` in the room of the node's step.

Importing this imports neither TensorFlow nor TFX.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import cast

from components.base.outcome import Output
from components.base.task import task_named
from components.pages.markup import Cell, format_path, make_table
from components.pages.page import Page
from components.pages.protocol import StepPage
from components.pages.rendered import RenderedPage
from pipeline.steps import INGEST, step_named


def make_page(
    node_id: str, outputs: Mapping[str, Output], task: str, class_names: Sequence[str]
) -> RenderedPage:
    """Return the page of a node that has run, or of the Kubeflow task that ingests.

    Whatever cannot be read or shown is reported on the page, and not raised.

    Args:
        node_id: The node.
        outputs: Its output artifacts by channel name. Of an ingest one of any name: the data folder.
        task: The recipe's task.
        class_names: All classes, in the order of the labels.
    """
    page = Page(node_id, task_named(task), class_names)
    with page.part():
        step = INGEST if node_id == INGEST.id else step_named(node_id)
        cast(StepPage, importlib.import_module(f"{step.room}.page")).fill_page(page, outputs)
    with page.part("Artifacts"):
        rows: list[list[Cell]] = [[name, format_path(output.uri)] for name, output in sorted(outputs.items())]
        if rows:
            page.add(make_table(["output", "where"], rows))
        else:
            page.add_note("The node has no outputs.")
    return page.render()
