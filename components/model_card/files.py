"""Reads the facts of a model card from what the nodes left, and writes the card next to a model."""

import datetime
import json
import os

from components.base import files
from components.base.redact import redact, redact_values
from components.base.saved_model import CARD_FILES
from components.base.versions import find_commit, find_versions
from components.evaluator.evaluation import read_stored
from components.exporter.facts import read_exports
from components.model_card.card import format_card, make_card
from components.model_card.facts import Facts, Given


def read_facts(
    given: Given,
    *,
    version: str,
    run_id: str,
    blessed_at: int,
    model: str,
    evaluation: str,
    baseline: str | None,
    exports: str | None = None,
) -> Facts:
    """Return the facts about a model that is pushed.

    Args:
        given: What was known before.
        version: As which it is pushed.
        run_id: The run; empty if it is not known.
        blessed_at: When it was blessed, in seconds since 1970.
        model: The folder of the SavedModel.
        evaluation: The folder of its evaluation.
        baseline: As in `Facts`.
        exports: The folder of its exports; None if there are none.

    Raises:
        ValueError: The evaluation is of an earlier version.
    """
    found = read_stored(evaluation)
    if found is None:
        raise ValueError(f"{evaluation}: expected the results of this version's Evaluator, got none")
    sizes = [os.path.getsize(path) for path in files.list_below(model)]
    names = given.class_names
    return Facts(
        given=given,
        version=version,
        run_id=run_id,
        date=datetime.datetime.fromtimestamp(blessed_at, datetime.timezone.utc).strftime("%Y-%m-%d"),
        versions=find_versions(),
        code=find_commit(),
        size_bytes=sum(sizes),
        metrics=found.metrics,
        intervals={name: each for name, each in found.intervals.items() if name in found.metrics},
        bounds={name: found.bounds[name][0] for name in found.metrics if name in found.bounds},
        per_class={names[index]: values for index, values in found.per_class.items()},
        slices=found.slices,
        test_images=found.example_count,
        baseline=baseline,
        baseline_metrics=found.baseline,
        warnings=[_make_sentence(text) for text in found.warnings],
        exports=read_exports(exports) if exports else (),
    )


def write_card(folder: str, facts: Facts) -> None:
    """Write a model's card into its folder, as Markdown and as JSON.

    Raises:
        OSError: It cannot be written.
    """
    card = redact_values(make_card(facts))
    texts = {
        ".md": redact(format_card(card, facts)),
        ".json": json.dumps(card, indent=1, allow_nan=False) + "\n",
    }
    for name in CARD_FILES:
        files.write_text(os.path.join(folder, name), texts[os.path.splitext(name)[1]])


def _make_sentence(text: str) -> str:
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
