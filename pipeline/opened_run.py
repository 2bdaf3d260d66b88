"""A run in a notebook: its numbers as tables, its images, its artifacts, and its page. No TensorFlow."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.errors import MiranteError, UsageError
from components.base.outcome import Output
from components.base.table import read_table
from components.base.words import suggest_and_list
from pipeline.history.runs import PastRun

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGES = (".png", ".jpg", ".jpeg")
# The outputs of nodes that have images to look at.
_WITH_IMAGES = (("Trainer", "model_run"), ("Evaluator", "evaluation"))


class OpenRun:
    """A run, as its folder has it; a notebook shows it as a short table.

    Attributes:
        run_id: Its ID.
        root: The root that it ran in.
        folder: Its folder, `<root>/runs/<run id>`.
        status: pushed, taken back, not blessed, interrupted, failed, or unfinished.
        result: All of `result.json`; empty for a run that has not ended.
        metrics: Metrics on the test split by name.
        settings: The recipe as resolved, by dotted key.
        model: The folder of the pushed model; None if nothing was pushed.
        artifacts: The outputs of the nodes, such as `Trainer.model`, each with `uri` and `properties`.

    Example:
        >>> open_run("pushed").artifacts["Trainer.model"].uri
        'runs/digits/Trainer/model/9'
    """

    def __init__(self, run: PastRun):
        self._run = run
        self.run_id, self.root, self.folder = run.run_id, run.root, run.folder
        self.status, self.result, self.metrics = run.status, run.result, run.metrics
        self.settings, self.model = run.settings, run.pushed_model
        self.artifacts: dict[str, Output] = {
            f"{node}.{key}": output for node, found in run.outputs.items() for key, output in found.items()
        }

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in list(self.metrics.items())[:2])
        return f"<run {self.run_id} of {self.root}: {self.status}{', ' if shown else ''}{shown}>"

    def _repr_html_(self) -> str:
        rows = [("run", self.run_id), ("root", str(self.root)), ("status", self.status)]
        rows += [(name, f"{value:.4f}") for name, value in self.metrics.items()]
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows
        )
        return f"<table>{cells}</table>"

    @property
    def per_class(self) -> Any:
        """The metrics of each class: a pandas DataFrame, or a list of dicts without pandas."""
        per_class = self.result.get("per_class") or {}
        return _make_table([{"class": name, **values} for name, values in per_class.items()], "class")

    @property
    def mistakes(self) -> Any:
        """The test images that are wrong, the worst first: a pandas DataFrame, or a list of dicts."""
        path = self._run.find(str((self.result.get("mistakes") or {}).get("file")))
        if not path.is_file():
            return _make_table([])
        return _make_table(read_table(path.read_text(encoding="utf-8")))

    @property
    def images(self) -> dict[str, Path]:
        """Files of images by name: a sample of the data, what the network saw, and mistakes."""
        found = {}
        if (sample := self.result.get("sample_image")) and (path := self._run.find(str(sample))).is_file():
            found["sample"] = path
        for node, key in _WITH_IMAGES:
            if output := self.artifacts.get(f"{node}.{key}"):
                folder = Path(output.uri)
                paths = sorted(path for path in folder.rglob("*") if path.suffix in _IMAGES)
                found |= {f"{node}/{path.relative_to(folder)}": path for path in paths}
        return found

    def image(self, name: str) -> Image:
        """Return one of `images`, which a notebook shows.

        Raises:
            UsageError: There is none of this name.
        """
        from PIL import Image

        images = self.images
        if name not in images:
            raise UsageError(
                f"image: expected one of the run's, got {name!r}{suggest_and_list(name, images)}"
            )
        with Image.open(images[name]) as file:
            file.load()
            return file

    def show(self, height_px: int = 800) -> Any:
        """Return the run's page, which a notebook shows in a frame; `mirante report` writes the same page.

        Args:
            height_px: The height of the frame.

        Raises:
            MiranteError: IPython is not installed.
        """
        from pipeline.report.make import FILE, make_report

        try:
            from IPython.display import HTML
        except ImportError as e:
            raise MiranteError("a page is shown in a notebook, by IPython, which is not installed") from e
        path = self.folder / FILE
        page = path.read_text(encoding="utf-8") if path.is_file() else make_report(self._run)
        frame = (
            f'<div><iframe title="report of run {html.escape(self.run_id)}" sandbox="allow-scripts" '
            f'style="width:100%;height:{height_px}px;border:0" srcdoc="{html.escape(page)}"></iframe></div>'
        )
        return HTML(frame)


def _make_table(rows: Sequence[dict[str, Any]], index: str | None = None) -> Any:
    try:
        import pandas as pd
    except ImportError:
        return list(rows)
    table = pd.DataFrame(list(rows))
    return table.set_index(index) if index is not None and rows else table
