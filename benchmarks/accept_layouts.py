"""From each layout of a public data set to a pushed model: `make accept-layouts`, or some by their names.

For each layout of tests/make/layouts.py: `mirante inspect DATA`, then the command in its last line, with a
small network and one epoch, so that no weights are downloaded. A model must be pushed.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.make.layouts import LAYOUTS, Layout

MIRANTE = str(Path(sys.executable).with_name("mirante"))
# Nothing is learned in one epoch, and that is not what is tried here.
_SMALL = {
    "classification": {
        "model.name": "lenet",
        "model.weights": "null",
        "training.epochs": "1",
        "training.warmup_epochs": "0",
        "training.global_batch_size": "8",
        "evaluation.thresholds": "{accuracy: 0}",
        "evaluation.refuse_trivial": "false",
    },
    "detection": {
        "model.weights": "null",
        "training.epochs": "1",
        "training.fine_tune_epochs": "0",
        "training.global_batch_size": "4",
        "transform.height_px": "96",
        "transform.width_px": "96",
        "evaluation.thresholds": "{map_50: 0}",
        "evaluation.refuse_trivial": "false",
    },
}


def choose_arguments(command: str, small: dict[str, str]) -> list[str]:
    """Return the words after `mirante` of the command, with these values instead of its own."""
    words = shlex.split(command)[1:]
    kept: list[str] = []
    for at, word in enumerate(words):
        is_value = at > 0 and words[at - 1] == "--set"
        text = word if is_value else words[at + 1] if word == "--set" else ""
        if not text.startswith(tuple(small)):
            kept.append(word)
    return [*kept, *(part for key, value in small.items() for part in ("--set", f"{key}={value}"))]


def run_layout(layout: Layout, folder: Path) -> str:
    """Inspect a layout, run what is advised, and return what went wrong; "" if a model was pushed."""
    data = layout.write(folder / "my data")
    looked = subprocess.run(
        [MIRANTE, "inspect", data.name], cwd=folder, capture_output=True, text=True, check=False
    )
    if looked.returncode:
        return f"inspect ended with {looked.returncode}: {looked.stderr or looked.stdout}"
    command = looked.stdout.splitlines()[-1]
    print(f"  {command}", flush=True)
    arguments = choose_arguments(command, _SMALL[layout.task])
    run = subprocess.run(
        [MIRANTE, *arguments, "--root", "root"], cwd=folder, capture_output=True, text=True, check=False
    )
    if run.returncode:
        return (
            f"{shlex.join(arguments)} ended with {run.returncode}: {run.stdout[-3000:]}{run.stderr[-2000:]}"
        )
    pushed = list((folder / "root" / "serving").glob("[0-9]*/saved_model.pb"))
    return "" if len(pushed) == 1 else f"expected one pushed model, got {len(pushed)}"


def main(names: Sequence[str]) -> int:
    """Run the layouts of these names, all by default, and print what became of each."""
    missed = 0
    for name in names or LAYOUTS:
        layout = LAYOUTS[name]
        print(f"{name}:", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mirante-layout-") as folder:
            problem = run_layout(layout, Path(folder))
        missed += bool(problem)
        print(f"  {problem or 'a model was pushed'}, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
