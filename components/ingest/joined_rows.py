"""Rows of a list about one image, joined to one image with the classes of all of them."""

from components.base.words import format_count
from components.ingest.sources.context import SourceContext
from components.ingest.truth import Labels


def join_rows(context: SourceContext) -> int:
    """Join items of one file and split; return how many items there are fewer. The first one stays."""
    db = context.index.db
    db.execute("CREATE INDEX items_by_path ON items (path)")
    # Images within other files, as pixels are, have no path of their own.
    several = db.execute(
        "SELECT min(id), path, brought FROM items WHERE offset IS NULL GROUP BY path, brought "
        "HAVING count(*) > 1 ORDER BY min(id)"
    ).fetchall()
    joined = 0
    for first, path, brought in several:
        rows = db.execute(
            "SELECT id, truth FROM items WHERE path = ? AND brought IS ? AND offset IS NULL", (path, brought)
        ).fetchall()
        names = [name for _, text in rows for name in Labels.from_text(text).names]
        db.execute("UPDATE items SET truth = ? WHERE id = ?", (Labels(tuple(names)).to_text(), first))
        db.executemany("DELETE FROM items WHERE id = ?", [(key,) for key, _ in rows if key != first])
        joined += len(rows) - 1
    if joined:
        context.index.warn(
            f"{format_count(len(several), 'image has', 'images have')} several rows: each has the classes of "
            "all its rows."
        )
    db.execute("DROP INDEX items_by_path")
    db.commit()
    if context.announced:
        context.announce(-joined)
    return joined
