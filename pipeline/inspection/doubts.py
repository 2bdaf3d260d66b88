"""Labels that a trained model disagrees with: candidates for wrong ones."""

import contextlib
import os
import tempfile
from pathlib import Path

from components.base.errors import MiranteError, UsageError
from components.ingest.item import shape_from
from components.ingest.whole import RejectedImage
from pipeline.inspection.facts import Doubt, Doubts
from pipeline.inspection.look import Seen
from pipeline.inspection.measure import read_source, store

# Images that a model is asked about, unless all are asked for.
MOST_ASKED = 1_000
# A model that is less sure does not make a label doubtful.
MIN_SCORE = 0.8


def find_doubts(model: str, seen: Seen, *, all_images: bool) -> Doubts:
    """Ask a pushed model about the images, and return those of which it gives another class than the data.

    Args:
        model: A pushed model, as for `mirante predict`.
        seen: The data; with one class per image.
        all_images: Whether to ask about all of them.

    Raises:
        UsageError: It is no model, or one that gives no class per image.
    """
    from components.prediction.predict import answer_images

    index = seen.rehearsal.index
    rows = index.db.execute(
        "SELECT path, file, offset, size, shape, truth FROM items WHERE rejected = 0 ORDER BY hash, id"
    ).fetchall()
    rows = rows if all_images else rows[:MOST_ASKED]
    with tempfile.TemporaryDirectory(prefix="mirante-inspect-") as folder:
        files = []
        for number, (_, file, offset, size, shape, _) in enumerate(rows):
            if offset is None:
                files.append(os.fsdecode(file))
            else:
                files.append(str(Path(folder) / f"{number}.png"))
                data, raw = read_source(file, offset, size), shape_from(shape)
                with contextlib.suppress(RejectedImage):  # the model is then asked about a missing file
                    Path(files[-1]).write_bytes(store(data, raw, bit_depth=seen.config.bit_depth).encoded)
        answered = list(answer_images(model, files))
    if any(each.task is not None and each.task.DRAWS for each in answered):
        raise UsageError(f"--model {model}: expected a model that gives one class per image, got a detector")
    if answered and all("error" in each.answer for each in answered):
        raise MiranteError(f"--model {model}: {answered[0].answer['error']}")
    doubts, agreed, asked = [], 0, 0
    known: set[str] = set()
    labels: list[tuple[str, str, dict[str, object]]] = []
    for (path, _, _, _, _, text), each in zip(rows, answered, strict=True):
        if not (predictions := each.answer.get("predictions")):
            continue
        known |= {prediction["label"] for prediction in predictions}
        labels.append((path, index.truth.from_text(text).classes[0], predictions[0]))
    unknown = {label for _, label, _ in labels} - known
    for path, label, best in labels:
        if label in unknown:
            continue
        asked += 1
        agreed += best["label"] == label
        score = float(str(best["score"]))
        if best["label"] != label and score >= MIN_SCORE:
            doubts.append(Doubt(path, label, str(best["label"]), round(score, 4)))
    doubts.sort(key=lambda doubt: (-doubt.score, doubt.image))
    return Doubts(model, asked, agreed, MIN_SCORE, doubts, sorted(unknown))
