"""The `mirante` command. Imports nothing heavy: `mirante --help` answers at once."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from components.base.errors import MiranteError, UsageError
from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.base.printable import printable_lines
from components.base.redact import redact, redact_values
from pipeline.commands.field_options import FieldsCommand, ShareRange, settings_from
from pipeline.commands.kubeflow import compile as compile_command
from pipeline.commands.kubeflow import submit
from pipeline.run.interrupts import interruptible
from pipeline.run.output import (
    end_output,
    hold_standard_streams,
    is_of_output,
    quote,
    say,
    say_error,
    worded_os_error,
)

INTERRUPTED = 130
INTERRUPTED_SAID = "interrupted; the same command goes on from here"


class _Group(click.Group):
    """Ends every command with the exit codes that scripts depend on."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:  # type: ignore[override]
        hold_standard_streams()
        try:
            kwargs["standalone_mode"] = False
            with interruptible():
                code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            say_error(INTERRUPTED_SAID)
            code = INTERRUPTED
        except click.ClickException as e:
            shown = io.StringIO()
            e.show(shown)
            say(redact(shown.getvalue()).rstrip())
            code = 2
        except MiranteError as e:
            say_error(str(e))
            code = e.exit_code
        except OSError as e:
            code = 1
            if not is_of_output(e):
                say_error(worded_os_error(e))
        sys.exit(end_output(code if isinstance(code, int) else 0))


def _command() -> str:
    """How the user can call this program: by its name where it is on PATH, else by its path."""
    return "mirante" if shutil.which("mirante") else os.path.relpath(sys.argv[0])


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, MiranteError) else 1


def _example(text: str) -> str:
    return "\b\nExample:\n  " + text


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mirante", prog_name="mirante")
def main() -> None:
    """From a folder of images to a validated, served model.

    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 data refused, 4 model not blessed and
    nothing pushed, 130 interrupted.
    """
    # By itself TensorFlow takes these kernels on few CPUs only (docs/decisions/007-fast-on-cpus.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


main.add_command(compile_command)
main.add_command(submit)


@main.command(epilog=_example("mirante recipes"))
def recipes() -> None:
    """List the built-in recipes."""
    from pipeline.recipe.load import RECIPES, recipe_names

    names = recipe_names()
    width = max(map(len, names)) + 2
    for name in names:
        first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        click.echo(f"{name:{width}}{first.removeprefix('#').strip()}")


class _Path(click.Path):
    """A path; an empty text, such as a variable that is not set, would be the folder of the shell."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path_type=Path, **kwargs)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("expected a path, got an empty text", param, ctx)
        return super().convert(value, param, ctx)


def _ingest_settings() -> Any:
    from components.ingest.config import OPTIONS, IngestConfig

    return IngestConfig, OPTIONS


@main.command(
    cls=FieldsCommand,
    settings=_ingest_settings,
    given={
        "label_map": {"type": _Path(), "metavar": "FILE"},
        "resize_px": {"flag": "--resize", "metavar": "PX"},
    },
    epilog=_example("mirante ingest folder photos/ data/ --splits train=0.8,eval=0.1,test=0.1"),
)
@click.argument("source")
@click.argument("input_path", metavar="INPUT", type=_Path())
@click.argument("output", metavar="OUTPUT", type=_Path())
@click.option("--force", is_flag=True, help="Do everything again, also in a folder with other files.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def ingest(
    source: str,
    input_path: Path,
    output: Path,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Turn raw images into checked TFRecord shards.

    SOURCE is the format of INPUT: idx (MNIST family), cifar (python batches), folder (class folders), csv
    (filename,label), tfrecord (the contract's features), tfds (tensorflow_datasets), digits (scikit-learn's;
    INPUT is then -). With boxes: voc (Pascal VOC XML), coco (JSON), yolo (data.yaml and labels/*.txt), csv
    (filename,width,height,class,xmin,ymin,xmax,ymax), tfrecord (the Object Detection API's). INPUT is a
    folder, a .zip or a .tar(.gz), the CSV, JSON or TFRecord file itself, or for tfds a name such as
    oxford_iiit_pet:4.0.0.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the source tfds loads TensorFlow
    from components import ingest as ingest_package
    from components.base.os_errors import explain_os_error
    from pipeline.run.console import make_console, progress_bar

    console = make_console(to_stderr=True)
    result: dict[str, Any] = {}
    code = 0
    try:
        config = settings_from(ingest_package.IngestConfig, options)
        with progress_bar(console) as progress:
            given = None if str(input_path) == "-" else input_path
            done = ingest_package.ingest(source, given, output, config, progress, force=force)
    except UsageError:
        raise
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - scripts read it from the JSON
        e = explain_os_error(raised, [output]) or raised
        code = _exit_code(e)
        error = INTERRUPTED_SAID if isinstance(e, KeyboardInterrupt) else str(e) or type(e).__name__
        # Of this call alone: OUTPUT may hold the list of an earlier one.
        rejects = getattr(e, "rejects_file", None)
        result = {
            "splits": {},
            "rejected": getattr(e, "rejected", None),
            "rejects_file": None if rejects is None else str(rejects),
            "error": error,
        }
        console.print(f"mirante: {printable_lines(error)}", markup=False, soft_wrap=True)
    else:
        result = {
            "splits": {name: dataclasses.asdict(summary) for name, summary in done.splits.items()},
            "rejected": done.rejected,
            "rejects_file": str(done.rejects_file),
            "left_out": done.left_out,
        }
        for warning in done.warnings:
            console.print(f"warning: {printable_lines(warning)}", markup=False, soft_wrap=True)
        if not as_json:
            what = "unchanged, nothing to do" if done.unchanged else "ingested"
            click.echo(f"{output}: {what}; {len(done.class_names)} classes, {done.rejected} rejected")
            for name, summary in done.splits.items():
                click.echo(f"  {name:6}{summary.images:10,} images in {summary.shards} shards")
            if done.rejected:
                click.echo(f"rejected files and why: {done.rejects_file}")
            if done.left_out:
                click.echo(f"left out, {done.left_out} files and folders: {done.left_out_file}")
    if as_json:
        click.echo(json.dumps(redact_values(result)))
    return code


@main.command(epilog=_example("mirante run mnist --data mnist/ --set training.epochs=3"))
@click.argument("recipe")
@click.option("--data", "data_path", metavar="DIR", help="Raw input, or a folder of contract TFRecords.")
@click.option("--root", type=_Path(), help="Pipeline root.  [default: runs/<recipe>]")
@click.option("--set", "overrides", multiple=True, metavar="KEY.SUB=VALUE", help="Override a recipe's key.")
@click.option(
    "--gpu", "num_gpus", type=click.IntRange(1, 1024), metavar="N", help="Same as --set training.num_gpus=N."
)
@click.option("--no-cache", is_flag=True, help="Execute every node. Same as --set use_cache=false.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def run(
    recipe: str,
    data_path: str | None,
    root: Path | None,
    overrides: tuple[str, ...],
    num_gpus: int | None,
    no_cache: bool,
    as_json: bool,
) -> int:
    """Run a recipe: ingest, validate, train, evaluate, push.

    RECIPE is a built-in name (`mirante recipes`) or a YAML file. Nodes whose inputs did not change keep their
    results; a run that was killed goes on where it was.
    """
    from components.models.published import check_download
    from pipeline.data.prepare import check_config, check_effect
    from pipeline.recipe.load import load_recipe

    if no_cache:
        overrides = (*overrides, "use_cache=false")
    if num_gpus:
        overrides = (*overrides, f"training.num_gpus={num_gpus}")
    loaded = load_recipe(recipe, overrides, data_path)
    # Before the root is touched.
    check_config(loaded.data, loaded.task)
    check_effect(loaded.data, [given.partition("=")[0].strip() for given in overrides])
    root = Path(os.path.abspath(root or Path("runs") / loaded.name))
    if not (root / "Trainer").exists():  # else there may be nothing to train, and no network needed
        check_download(loaded.model, loaded.transform)

    from pipeline.run.console import make_console
    from pipeline.targets import local as runner

    console = make_console(to_stderr=as_json)
    code = 0
    result, error = runner.run(loaded, root, console)
    if error is None:
        serving = os.path.relpath(Path(result.pushed_model or "").parent)
        image = quote(os.path.relpath(result.sample_image)) if result.sample_image else "IMAGE..."
        console.print(
            f"\nAsk the model:  {quote(_command(), 'predict', serving)} {image}",
            soft_wrap=True,
            markup=False,
        )
    else:
        code = _exit_code(error)
        console.print(f"\nmirante: {printable_lines(str(result.error))}", soft_wrap=True, markup=False)
        if code == 1 and not isinstance(error, MiranteError) and result.log:
            console.print(f"The whole story is in {result.log}", soft_wrap=True, markup=False)
    if as_json and code != UsageError.exit_code:
        click.echo(json.dumps(redact_values(dataclasses.asdict(result)), allow_nan=False))
    return code


@main.command(epilog=_example("TF_CONFIG='{...}' mirante worker /shared/runs/cifar10"))
@click.argument("root")
def worker(root: str) -> int:
    """Take part in a training on several machines.

    ROOT is the pipeline root of the `mirante run` that is the chief, on a file system that all machines see
    (or a bucket). TF_CONFIG names the cluster and this process' place in it (in a worker pod, what its Job
    says does). Waits until the chief comes to its Trainer, and ends when the training does.
    """
    import logging
    import math

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from components.trainer.cluster.pods.environment import worker_place

    wait_secs = math.inf
    if place := worker_place(os.environ):
        os.environ["TF_CONFIG"], wait_secs = place
    from components.trainer.cluster.processes import run_as_worker
    from components.trainer.strategy import cluster_tasks
    from pipeline.run.console import RedactedFormatter

    if len(cluster_tasks()) < 2:
        raise UsageError(
            "TF_CONFIG names no cluster: expected JSON like {'cluster': {'worker': "
            "['host1:port', 'host2:port']}, 'task': {'type': 'worker', 'index': 1}}"
        )
    handler = logging.StreamHandler()
    handler.setFormatter(RedactedFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    run_as_worker(root, wait_secs)
    return 0


@main.command(epilog=_example("mirante predict runs/digits photo.jpg photos/ --json"))
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--min-score",
    type=ShareRange(),
    help="Leave out what scores less.  [default: 0; of boxes 0.01, of drawn ones 0.3]",
)
@click.option(
    "--draw",
    metavar="DIR",
    type=_Path(),
    help="Draw the boxes of a detector: one picture an image, in place of those of an earlier call.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=_Path(dir_okay=False),
    help="Write the answers as a table, a row per prediction.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, PILLOW_MAX_PIXELS),
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Images with more are answered with an error.",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the answers as JSON.")
def predict(
    model: str,
    images: tuple[str, ...],
    min_score: float | None,
    draw: Path | None,
    csv_file: Path | None,
    max_pixels: int,
    as_json: bool,
) -> int:
    """Ask a pushed model what is on images, and a detector where.

    MODEL is a pushed model, the folder of its versions, or a run's root. IMAGE is a file or a folder of them.
    A file that is no usable image is answered with an error, the others all the same, and the exit code is 1.
    Boxes are xmin, ymin, xmax, ymax in pixels of the upright image. The model is asked with the files as they
    are, as a client would; where it refuses one, with a PNG of it, which is said.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.base.printable import printable
    from components.ingest.files import displayed
    from pipeline.prediction.answers import as_lines, write_csv
    from pipeline.prediction.predict import Answered, ask

    if csv_file is not None and not csv_file.absolute().parent.is_dir():
        raise UsageError(f"--csv {csv_file}: expected a file in a folder that is there")
    try:
        answered = ask(model, images, min_score, draw, max_pixels=max_pixels)
    except UsageError:
        raise
    except Exception as e:  # noqa: BLE001 - every image is answered, also when the model is damaged
        told = worded_os_error(e) if isinstance(e, OSError) else str(e) or type(e).__name__
        reason = f"the model could not be asked: {told}"
        answers = [{"image": displayed(os.fsencode(image)), "error": reason} for image in images]
        answered = Answered(answers, None)
    answers = answered.answers
    failed = any("error" in item for item in answers)
    for item in answers:
        if "error" in item:
            click.echo(printable(f"{item['image']}: {item['error']}"), err=True)
        elif not as_json and answered.task is not None:
            click.echo(as_lines(item, answered.task, min_score))
    if csv_file is not None:
        try:
            write_csv(answers, csv_file)
        except OSError as e:
            click.echo(printable(f"--csv {csv_file}: cannot be written: {e.strerror or e}"), err=True)
            failed = True
    if as_json:
        click.echo(json.dumps(redact_values(answers)))
    return 1 if failed else 0


if __name__ == "__main__":
    main()
