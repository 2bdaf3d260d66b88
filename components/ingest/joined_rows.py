"""Images of several classes, once all inputs are found.

Rows about one image are joined. Then the name that stands for no class is taken away: until then it is among
the classes, so that a row with it contradicts a row with a class.
"""

from components.base.words import format_count
from components.ingest.files import label_of
from components.ingest.sources.context import SourceContext
from components.ingest.truth import Labels


def join_rows(context: SourceContext) -> int:
    """Join items of one file and split; return how many items there are fewer. The first one stays."""
    db = context.index.db
    db.execute("CREATE INDEX items_by_path ON items (path)")
    # Images within other files, as pixels are, have no path of their own. SQLite keeps the table in a file.
    db.execute(
        "CREATE TEMP TABLE several AS SELECT min(id) AS first, path, brought FROM items "
        "WHERE offset IS NULL GROUP BY path, brought HAVING count(*) > 1"
    )
    images = joined = 0
    for first, path, brought in db.execute("SELECT first, path, brought FROM several"):
        rows = db.execute(
            "SELECT id, truth FROM items WHERE path = ? AND brought IS ? AND offset IS NULL", (path, brought)
        ).fetchall()
        names = [name for _, text in rows for name in Labels.from_text(text).names]
        db.execute("UPDATE items SET truth = ? WHERE id = ?", (Labels(tuple(names)).to_text(), first))
        db.executemany("DELETE FROM items WHERE id = ?", [(key,) for key, _ in rows if key != first])
        images += 1
        joined += len(rows) - 1
    if joined:
        context.index.warn(
            f"{format_count(images, 'image has', 'images have')} several rows: each has the classes of "
            "all its rows."
        )
    db.execute("DROP TABLE several")
    db.execute("DROP INDEX items_by_path")
    db.commit()
    if context.announced:
        context.announce(-joined)
    return joined


def settle_no_class(context: SourceContext) -> None:
    """Take away the name that stands for no class, from images and from the list of classes.

    Images that have it next to a class become rejects.
    """
    if context.config.no_class is None:
        return
    name, db = label_of(context.config.no_class), context.index.db
    db.execute("UPDATE items SET truth = ? WHERE truth = ?", (Labels().to_text(), Labels((name,)).to_text()))
    db.execute(
        "CREATE TEMP TABLE mixed AS SELECT id, truth FROM items "
        "WHERE EXISTS (SELECT 1 FROM json_each(truth) WHERE value = ?)",
        (name,),
    )
    for key, text in db.execute("SELECT id, truth FROM mixed"):
        others = ", ".join(one for one in Labels.from_text(text).names if one != name)
        context.index.drop_item(key, f"{name!r} stands for no class, and is listed with {others}")
    db.execute("DROP TABLE mixed")
    db.execute("DELETE FROM classes WHERE name = ?", (name,))
    db.commit()
