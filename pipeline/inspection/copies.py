"""Images that are there several times, as the plan of an ingest knows them."""

from components.ingest.copies import find_near, list_copies
from components.ingest.index import Index
from components.ingest.plan import Plan
from pipeline.inspection.facts import MOST_EXAMPLES, Copies

_SEPARATOR = "\x1f"
# Which groups of equal bytes: any, those in several splits, those of several truths.
_HAVING = {
    "identical": "count(*) > 1",
    "across_splits": "min(split) < max(split)",
    "with_different_truth": "min(truth) < max(truth)",
}


def find_copies(index: Index, plan: Plan) -> Copies:
    """Return the images that are there several times, identical or nearly so."""
    db = index.db
    (repeated,) = db.execute(
        "SELECT total(more) FROM (SELECT count(*) - 1 AS more FROM items GROUP BY hash)"
    ).fetchone()
    examples = {
        name: [
            text.split(_SEPARATOR)
            for (text,) in db.execute(
                "SELECT group_concat(path, ?) FROM (SELECT hash, path, split, truth FROM items "
                f"ORDER BY hash, path) GROUP BY hash HAVING {having} LIMIT ?",
                (_SEPARATOR, MOST_EXAMPLES),
            )
        ]
        for name, having in _HAVING.items()
    }
    near = find_near(list_copies(index))
    for name, pairs in (
        ("across_splits", near.other_split),
        ("with_different_truth", near.other_labels),
        ("alike", near.alike),
    ):
        examples.setdefault(name, []).extend([one.path, copy.path] for one, copy in pairs)
    return Copies(
        int(repeated),
        plan.cross_split_duplicates + len(near.other_split),
        plan.label_conflicts + len(near.other_labels),
        len(near.alike),
        {name: groups[:MOST_EXAMPLES] for name, groups in examples.items() if groups},
    )
