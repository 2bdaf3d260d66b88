"""Makes the page of a run."""

from collections.abc import Callable, Mapping
from pathlib import Path

from components.base.paths import write_atomically
from components.base.redact import redact
from components.base.task import task_named
from components.pages.page import Page
from pipeline.history.class_names import find_names, list_classes
from pipeline.history.runs import PastRun
from pipeline.report.lineage import show_lineage, show_model, show_nodes
from pipeline.report.sections import show_data, show_inputs, show_metrics, show_test, show_training
from pipeline.report.verdict import show_verdict

FILE = "report.html"
# For all images as base64, so that a report stays below 5 MB however large the data is.
IMAGES_BYTES = 4_000_000


# Each with the node whose outputs it shows; None if it needs none.
_SECTIONS: tuple[tuple[str, str | None, Callable[[Page, PastRun], None]], ...] = (
    ("Metrics on the test split", "Evaluator", show_metrics),
    ("Data", None, show_data),
    ("What the network sees", "Transform", show_inputs),
    ("Training", "Trainer", show_training),
    ("Test", "Evaluator", show_test),
    ("Model", "Trainer", show_model),
    ("Nodes", None, show_nodes),
    ("Lineage", None, show_lineage),
)


def make_report(run: PastRun, language: str | None = None) -> str:
    """Return the page of a run as HTML, whatever it got to; what cannot be read is said on the page.

    Args:
        run: The run.
        language: Of the class names; that of the recipe when None.

    Raises:
        UsageError: The classes have no names in the language.
    """
    title = f"{run.result.get('pipeline') or run.root.name}, run {run.run_id}"
    page = start_page(run, title, find_names([run], language))
    with page.part():
        show_verdict(page, run)
    missing = []
    for heading, node, show in _SECTIONS:
        if node is None or run.outputs.get(node):
            with page.section(heading):
                show(page, run)
        else:
            missing.append(heading)
    if missing and run.record is None and run.result.get("components"):
        page.add_note("The run is of an earlier version, which kept no list of its artifacts.")
    elif missing and run.result:
        page.add_note(f"The run did not get to: {', '.join(missing)}.")
    return redact(page.render().html)


def start_page(run: PastRun, title: str, translations: Mapping[str, str] | None = None) -> Page:
    """Return an empty page about a run, for sections.

    Args:
        run: The run.
        title: The heading of the page.
        translations: The names of classes on the page by their own, where these differ.
    """
    record = run.record
    task = record.task if record else str(run.settings.get("task", "classification"))
    page = Page(title, task_named(task), list_classes(run), images_bytes=IMAGES_BYTES, is_report=True)
    page.translations = translations or {}
    return page


def write_report(run: PastRun, path: Path, language: str | None = None) -> None:
    """Write the page of a run.

    Raises:
        OSError: It cannot be written.
        UsageError: The classes have no names in the language.
    """
    write_atomically(path, make_report(run, language).encode("utf-8", "replace"))
