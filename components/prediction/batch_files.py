"""Files of answers: Parquet, or TFRecord with a tf.train.Example for each image.

Parquet has a row per image: `image`, `error`, `converted`, `warning` (texts, null for none), `predictions`, a
list of `label`, `score`, of a detector `box` (xmin, ymin, xmax, ymax in pixels of the upright image), and of
a model of several labels `predicted`. The examples have the features `image`, `error`, `converted`,
`warning`, `label` (texts), `score`, `box` and `predicted` (numbers).
"""

import gzip
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal, cast

from components.base import files
from components.base.example import parse_example
from components.base.tfrecord import iterate_records
from components.prediction.drawings import Answer

FileFormat = Literal["parquet", "tfrecord"]
_TEXTS = ("error", "converted", "warning")


def write_answers(path: str, answers: Sequence[Answer], file_format: FileFormat) -> None:
    """Write the answers of a shard; the file appears whole, on a disk or in a bucket."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "answers")
        if file_format == "parquet":
            _write_parquet(temporary, answers)
        else:
            _write_examples(temporary, answers)
        files.put(temporary, path)


def read_answers(path: str, file_format: FileFormat) -> Iterator[Answer]:
    """Yield the answers of a shard, as `write_answers` got them."""
    if file_format == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        for row in parquet.read_table(pa.BufferReader(files.read_bytes(path))).to_pylist():
            predictions = [_drop_nulls(each) for each in row["predictions"] or ()]
            yield _drop_nulls({**row, "predictions": predictions})
        return
    with gzip.open(io.BytesIO(files.read_bytes(path))) as file:
        for record in iterate_records(cast(BinaryIO, file), path):
            yield _read_example(parse_example(record))


def count_answers(path: str, file_format: FileFormat) -> tuple[int, int]:
    """Return the number of images of a shard, and of those whose answer is an error."""
    if file_format == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        errors = parquet.read_table(pa.BufferReader(files.read_bytes(path)), columns=["error"])["error"]
        return len(errors), len(errors) - errors.null_count
    are_errors = ["error" in answer for answer in read_answers(path, file_format)]
    return len(are_errors), sum(are_errors)


def _drop_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _read_example(found: Mapping[str, Sequence[Any]]) -> Answer:
    answer: Answer = {name: found[name][0].decode() for name in ("image", *_TEXTS) if found.get(name)}
    boxes, predicted = found.get("box", ()), found.get("predicted", ())
    answer["predictions"] = [
        {
            "label": label.decode(),
            "score": score,
            **({"box": list(boxes[4 * place : 4 * place + 4])} if boxes else {}),
            **({"predicted": bool(predicted[place])} if predicted else {}),
        }
        for place, (label, score) in enumerate(zip(found["label"], found["score"], strict=True))
    ]
    return answer


def _write_parquet(path: str, answers: Sequence[Answer]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    prediction = pa.struct(
        [
            ("label", pa.string()),
            ("score", pa.float32()),
            ("box", pa.list_(pa.float32())),
            ("predicted", pa.bool_()),
        ]
    )
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("predictions", pa.list_(prediction)),
            *((name, pa.string()) for name in _TEXTS),
        ]
    )
    rows = [
        {
            "image": answer["image"],
            "predictions": [
                {name: each.get(name) for name in ("label", "score", "box", "predicted")}
                for each in answer["predictions"]
            ],
            **{name: answer.get(name) for name in _TEXTS},
        }
        for answer in answers
    ]
    parquet.write_table(pa.Table.from_pylist(rows, schema), path)


def _write_examples(path: str, answers: Sequence[Answer]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for answer in answers:
            example: Any = tf.train.Example()
            feature = example.features.feature
            predictions = answer["predictions"]
            texts = {"image": [answer["image"]], "label": [each["label"] for each in predictions]}
            texts |= {name: [answer[name]] for name in _TEXTS if name in answer}
            for name, values in texts.items():
                feature[name].bytes_list.value.extend(value.encode() for value in values)
            feature["score"].float_list.value.extend(each["score"] for each in predictions)
            if predicted := [int(each["predicted"]) for each in predictions if "predicted" in each]:
                feature["predicted"].int64_list.value.extend(predicted)
            boxes = [number for each in predictions for number in each.get("box", ())]
            if boxes:
                feature["box"].float_list.value.extend(boxes)
            writer.write(example.SerializeToString())
