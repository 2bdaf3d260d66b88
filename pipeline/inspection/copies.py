"""Images that are there several times, as the plan of an ingest knows them."""

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
    examples["alike"] = [
        [one, other]
        for one, other in db.execute(
            "SELECT min(a.path), min(b.path) FROM alike JOIN items a ON a.hash = one "
            "JOIN items b ON b.hash = other GROUP BY one, other ORDER BY 1, 2 LIMIT ?",
            (MOST_EXAMPLES,),
        )
    ]
    return Copies(
        int(repeated),
        plan.cross_split_duplicates,
        plan.label_conflicts,
        plan.copies.alike,
        {name: groups for name, groups in examples.items() if groups},
    )
