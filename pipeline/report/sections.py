"""The sections of a report on metrics, data, training and test: parts of the nodes' pages, as they are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from components.base.outcome import Output
from components.data_gate import page as data_gate
from components.distribution_validator import page as distribution_validator
from components.evaluator import page as evaluator
from components.example_validator import page as example_validator
from components.ingest import page as ingest
from components.ingest.manifest import REJECTS
from components.pages.events import read_stages
from components.pages.page import Page
from components.statistics_gen import page as statistics_gen
from components.trainer import page as trainer
from components.transform import page as transform
from components.tuner import page as tuner
from pipeline.history.runs import PastRun
from pipeline.report.lineage import NOT_RECORDED
from pipeline.steps import INGEST
from schemas import features

# The name of a run is cut to milliseconds, and the times of files may be coarse.
_SLACK_SECS = 1


def show_metrics(page: Page, run: PastRun) -> None:
    """Add the overall metrics with intervals and bounds, next to those of the baseline."""
    evaluator.show_metrics(page, run.outputs["Evaluator"]["evaluation"].uri)


def show_data(page: Page, run: PastRun) -> None:
    """Add images of each class, counts by split, sizes, rejects, anomalies and drift."""
    data = find_output(run, INGEST.id, "data")
    if data is None:
        _show_refused(page, run)
        return
    show_images(page, data)
    with page.part("Sizes of the images"):
        if statistics := run.outputs.get("StatisticsGen"):
            statistics_gen.show_sizes(page, statistics)
        else:
            page.add_note("They were not measured.")
    with page.part("Rejected"):
        ingest.show_rejects(page, data.uri)
    parts: tuple[tuple[str, str, Callable[[Page, Mapping[str, Output]], None]], ...] = (
        ("ExampleValidator", "Anomalies", example_validator.fill_page),
        ("DistributionValidator", "Drift between train and eval", distribution_validator.fill_page),
        ("DataGate", "Gate", data_gate.fill_page),
    )
    for node, heading, show in parts:
        if outputs := run.outputs.get(node):
            with page.part(heading):
                show(page, outputs)


def _show_refused(page: Page, run: PastRun) -> None:
    """Add what the run left of data that no node had, such as data that it refused."""
    folder = run.root / "data"
    if not run.result:
        page.add_note(NOT_RECORDED)
    elif _is_from(run, folder / features.MANIFEST):
        page.add_note(_describe_end(run))
        page.class_names = page.class_names or (ingest.read_manifest(str(folder)) or {})["class_names"]
        show_data_folder(page, Output(str(folder), {}))
    elif _is_from(run, folder / REJECTS):
        page.add_note("The data were refused.")
        with page.part("Rejected"):
            ingest.show_rejects(page, str(folder), str(run.settings.get("data.path") or ""))
    else:
        page.add_note("The run used no data.")


def _describe_end(run: PastRun) -> str:
    # A run has facts about its data as soon as it has taken them.
    are_refused = run.status == "failed" and not run.data
    return "The data were refused." if are_refused else "The run ended before a node had the data."


def _is_from(run: PastRun, path: Path) -> bool:
    """Return whether a file was written during the run, and not by an earlier or later one."""
    if not path.is_file() or run.began is None:
        return False
    since_began = path.stat().st_mtime - run.began.timestamp()
    return -_SLACK_SECS <= since_began <= (run.result.get("wall_seconds") or 0) + _SLACK_SECS


def show_data_folder(page: Page, data: Output) -> None:
    """Add what a data folder says by itself: source, images of each class, counts by split, rejects."""
    show_images(page, data)
    with page.part("Rejected"):
        ingest.show_rejects(page, data.uri)


def show_images(page: Page, data: Output) -> None:
    """Add the source of a data folder, images of each class, and counts by split."""
    with page.part():
        ingest.show_source(page, data)
    with page.part(f"Images of {features.TRAIN}"):
        ingest.show_samples(page, data.uri)
    with page.part("Classes by split"):
        ingest.show_counts(page, data.uri)


def show_inputs(page: Page, run: PastRun) -> None:
    """Add what the network sees after Transform and augmentation."""
    with page.part():
        transform.show_shape(page, run.outputs["Transform"]["transform_graph"].uri)
    training = find_output(run, "Trainer", "model_run")
    if training is not None and not trainer.show_inputs(page, training.uri, read_stages(training.uri)):
        page.add_note(
            "No batch was kept as images: the training used features that the frozen part of the network "
            "gave, or was of an earlier version."
        )


def show_training(page: Page, run: PastRun) -> None:
    """Add the curves of every stage, what the training started from, and the trials of a search."""
    if trials := run.outputs.get("Tuner"):
        with page.part("Search"):
            tuner.fill_page(page, trials)
    folder = run.outputs["Trainer"]["model_run"].uri
    trainer.show_curves(page, read_stages(folder))
    trainer.show_notes(page, folder)


def show_test(page: Page, run: PastRun) -> None:
    """Add what the task shows of the test split: confusions or boxes, curves, classes, mistakes, slices."""
    evaluator.show_test(page, run.outputs["Evaluator"]["evaluation"].uri)


def find_output(run: PastRun, node: str, channel: str) -> Output | None:
    """Return an output of a node; None if the node did not run, or if the run is of an earlier version."""
    return run.outputs.get(node, {}).get(channel)
