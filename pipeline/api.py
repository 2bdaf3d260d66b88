"""Mirante from Python and notebooks: what the commands do, as functions. Imports no TensorFlow by itself.

docs/everyday.md has an example. `~` and `${VARIABLE}` in paths mean what they do in a recipe, but in names of
images `~` alone. Libraries log to the run's log file, as with the commands.
"""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from components.base.errors import NotBlessedError, UsageError
from components.base.limits import DEFAULT_MAX_PIXELS
from components.base.outcome import RunResult
from components.base.paths import FOLDER_VARIABLE, is_remote
from pipeline.opened_run import OpenRun
from pipeline.recipe.load import list_keys, load_recipe, parse_overrides
from pipeline.recipe.recipe import Recipe

__all__ = ["OpenRun", "RunResult", "load_recipe", "load_run", "open_run", "predict", "read_result", "run"]

_PathLike = str | os.PathLike[str]


def load_run(
    recipe: _PathLike,
    overrides: Iterable[str] = (),
    data: _PathLike | None = None,
    root: _PathLike | None = None,
) -> tuple[Recipe, Path]:
    """Read a recipe for a run on this machine, and check all that can be known before it.

    Args:
        recipe: Name of a built-in recipe, or a YAML file.
        overrides: `key.sub=value`, the value read as YAML.
        data: Raw input, or a folder of TFRecords, also in a bucket; the recipe's `data.path` when None.
        root: The pipeline root; `runs/<recipe>` when None.

    Returns:
        The recipe, and the absolute path of the root.

    Raises:
        UsageError: Not a valid recipe, or weights that cannot be downloaded.
    """
    from components.models.published import check_download
    from pipeline.data.prepare import check_config, check_effect
    from pipeline.steps import TRAINER

    overrides = list(overrides)
    given = None if data is None else os.fspath(data)
    if given is not None and is_remote(given):
        loaded = _load_fetched(recipe, overrides, given)
    else:
        loaded = load_recipe(_expand("recipe", recipe), overrides, given)
    # Before the root is touched.
    check_config(loaded.data, loaded.task)
    check_effect(loaded.data, list_keys(parse_overrides(overrides)))
    folder = Path(os.path.abspath(_expand("--root", root) if root else Path("runs") / loaded.name))
    if not (folder / TRAINER).exists():  # else there may be nothing to train, and no network needed
        check_download(loaded.model, loaded.transform)
    return loaded, folder


def _load_fetched(recipe: _PathLike, overrides: list[str], url: str) -> Recipe:
    """Read a recipe for data in a bucket, and fetch them; of spans that which is taken."""
    from pipeline.data.prepare import find_ready
    from pipeline.data.window import check_window
    from pipeline.engines.places import check_copies
    from pipeline.storage.here import make_mirror
    from pipeline.targets.kubeflow.inputs import fetch_raw

    mirror = make_mirror()
    loaded = load_recipe(_expand("recipe", recipe), overrides, mirror.local(url))
    check_window(loaded.data, url)
    remedy = f"set {FOLDER_VARIABLE} to a folder that they mount too"
    is_shared = bool(os.environ.get(FOLDER_VARIABLE))
    if not is_shared:
        check_copies(loaded.beam, "ingest", url, remedy)
    fetch_raw(mirror, loaded.data)
    if not is_shared and find_ready(loaded.data) is not None:
        check_copies(loaded.beam, "examples", url, remedy)
    return loaded


def run(
    recipe: _PathLike,
    overrides: Iterable[str] = (),
    *,
    data: _PathLike | None = None,
    root: _PathLike | None = None,
    quiet: bool = False,
) -> RunResult:
    """Run a recipe on this machine, as `mirante run` does, and print its progress.

    Args:
        recipe: As for `load_run`.
        overrides: As for `load_run`.
        data: As for `load_run`.
        root: As for `load_run`.
        quiet: Whether to print nothing.

    Returns:
        The result, as `result.json` has it. For a model that was refused, `pushed_model` is None and `error`
        says why.

    Raises:
        MiranteError: The run failed; the message says why, and what to do.

    Example:
        >>> run("digits", ["training.epochs=3"]).metrics["accuracy"]
        0.96
    """
    from rich.console import Console

    from pipeline.run.console import Redacted
    from pipeline.targets import local

    loaded, folder = load_run(recipe, overrides, data, root)
    # The stream itself: in a notebook it has no file. No terminal's width, so that paths stay whole.
    console = Console(
        file=cast(IO[str], Redacted(sys.stdout)),
        force_jupyter=False,
        force_terminal=False,
        no_color=True,
        highlight=False,
        soft_wrap=True,
        width=200,
        quiet=quiet,
    )
    _silence_tensorflow()
    with _quiet_streams():
        result, error = local.run(loaded, folder, console)
    if error is not None and not isinstance(error, NotBlessedError):
        raise error
    return result


def read_result(root: _PathLike, run_id: str | None = None) -> RunResult:
    """Return the result of a run: its metrics, mistakes, pushed model and so on.

    Args:
        root: The pipeline root.
        run_id: The run; the newest one when None.

    Raises:
        UsageError: There is no such run, or it has no result.
    """
    runs = Path(_expand("root", root)) / "runs"
    files = sorted(runs.glob(f"{run_id or '*'}/result.json"))
    if not files:
        raise UsageError(f"{runs}: expected a run with a result.json, got none; run a recipe first")
    kept = json.loads(files[-1].read_text(encoding="utf-8"))
    # Another version of Mirante may have written other fields.
    known = [field.name for field in dataclasses.fields(RunResult) if field.name in kept]
    return RunResult(**{name: kept[name] for name in known})


def open_run(name: _PathLike = "latest", roots: Iterable[_PathLike] = ()) -> OpenRun:
    """Open a run to look at it: metrics, tables, images, artifacts, and its page.

    Args:
        name: Its ID or the beginning of it, the path of its folder, the path of a root for its latest run,
            `latest`, or `pushed` for the last run that pushed a model.
        roots: Where to look for IDs, `latest` and `pushed`: roots, and folders with roots in them; `runs/` of
            the current folder if there are none.

    Raises:
        UsageError: There is no such run, or there are several.

    Example:
        >>> open_run("runs/digits").per_class["f1"].min()
        0.93
    """
    from pipeline.history.runs import choose_run

    return OpenRun(choose_run(_expand("name", name), [_expand("roots", root) for root in roots]))


def predict(
    model: _PathLike,
    images: Iterable[_PathLike],
    min_score: float | None = None,
    *,
    top: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    language: str | None = None,
) -> list[dict[str, Any]]:
    """Classify images, or detect objects in them, with a pushed model, as `mirante predict` does.

    Args:
        model: A pushed model, the folder of its versions, or a run's root.
        images: Files, and folders of files.
        min_score: The lowest score of a prediction; when None 0, for a detector 0.01.
        top: The most predictions of an image, the best ones; all of them when None.
        max_pixels: The answer for an image with more pixels is an error.
        language: Of the class names, such as `pt`; their own when None.

    Returns:
        `{"image": path, "predictions": [{"label", "score"}, ...]}` for each image, scores descending; a
        detector's also have `"box": [xmin, ymin, xmax, ymax]` in pixels. For a file that is not a usable
        image `{"image": path, "error": why}`.

    Raises:
        UsageError: There is no model.
    """
    _silence_tensorflow()
    from components.prediction import predict as asking

    given = [os.path.expanduser(os.fspath(image)) for image in images]
    return asking.predict(
        _expand("model", model), given, min_score, top=top, max_pixels=max_pixels, language=language
    )


def _expand(name: str, path: _PathLike) -> str:
    """Return a path with the home in place of `~` and the values of `${VARIABLE}`."""
    from pipeline.recipe.paths import expand

    try:
        return expand(name, os.fspath(path))
    except ValueError as e:
        raise UsageError(str(e)) from e


def _silence_tensorflow() -> None:
    """Have TensorFlow's C++ part log errors only, if it is not loaded yet; as the commands have it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextlib.contextmanager
def _quiet_streams() -> Iterator[None]:
    """Send what libraries print through Python to the file of standard error, which is the log during a run.

    In a notebook `sys.stdout` and `sys.stderr` are no files, so `quiet_libraries` does not reach them.
    """
    # Never closed: a logging handler that a library makes meanwhile keeps it.
    stream = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield
