"""TFRecord framing and tf.train.Example without TensorFlow."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from components.base.errors import DataRefusedError
from components.base.example import FeatureValue, parse_example, serialize_example
from components.base.tfrecord import frame_record, masked_crc32c, read_records
from components.ingest import IngestConfig, ingest
from schemas import features

pytestmark = pytest.mark.stack_free


def test_the_checksum_is_the_published_one() -> None:
    # RFC 3720, B.4: the CRC-32C of 32 zero bytes is 0x8a9136aa; masked as TFRecord does.
    crc = 0x8A9136AA
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == masked


def test_an_example_has_the_bytes_that_the_format_prescribes() -> None:
    # Example{1: Features{1: entry{1: "a", 2: Feature{3: Int64List{1: packed [3, 300]}}}}}
    expected = bytes.fromhex("0a0e 0a0c 0a0161 1207 1a05 0a03 03ac02".replace(" ", ""))
    assert serialize_example({"a": [3, 300]}) == expected


def test_the_order_of_the_features_does_not_matter_and_they_come_back() -> None:
    values: dict[str, FeatureValue] = {"b": b"\xff\x00", "a": 7, "c": [0.5, 1.0], "d": [b"x", b"y"], "e": []}
    data = serialize_example(values)
    assert data == serialize_example(dict(reversed(list(values.items()))))
    assert parse_example(data) == {"a": [7], "b": [b"\xff\x00"], "c": [0.5, 1.0], "d": [b"x", b"y"], "e": []}


def test_records_come_back_and_damage_is_found(tmp_path: Path) -> None:
    file = tmp_path / "records"
    data = frame_record(b"one") + frame_record(b"") + frame_record(b"three")
    file.write_bytes(data)
    assert list(read_records(file)) == [b"one", b"", b"three"]
    zipped = tmp_path / "records.gz"
    zipped.write_bytes(gzip.compress(data))
    assert list(read_records(zipped)) == [b"one", b"", b"three"]
    for damaged, message in (
        (data[:-1], "record 2: expected 5 bytes"),
        (data[:14] + b"X" + data[15:], "record 0: the checksum of the data"),
        (b"\x04" + data[1:], "record 0: its length is damaged"),
        (data + b"\x00", "record 3: its length is damaged"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(DataRefusedError, match=message):
            list(read_records(file))


def test_tensorflow_reads_the_records_beside_its_own_messages(tmp_path: Path) -> None:
    import tensorflow as tf

    file = tmp_path / "records"
    values: dict[str, FeatureValue] = {
        "text": "ä".encode(),
        "number": -5,
        "floats": [0.25, -1.0],
        "nothing": [],
    }
    file.write_bytes(frame_record(serialize_example(values)))
    (record,) = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    read = tf.train.Example.FromString(record).features.feature
    assert list(read["text"].bytes_list.value) == ["ä".encode()]
    assert list(read["number"].int64_list.value) == [-5]
    assert list(read["floats"].float_list.value) == [0.25, -1.0]
    assert read["nothing"].WhichOneof("kind") is None
    theirs = tf.train.Example.FromString(record).SerializeToString(deterministic=True)
    assert theirs == serialize_example(values)


def test_tensorflow_parses_the_shards_of_an_ingest(tmp_path: Path) -> None:
    import tensorflow as tf

    folder = tmp_path / "in" / "dots"
    folder.mkdir(parents=True)
    Image.new("RGB", (5, 3), (1, 2, 3)).save(folder / "one.png")
    ingest("folder", tmp_path / "in", tmp_path / "out", IngestConfig(splits={"train": 1}))
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "out" / "train-00000-of-00001"))
    text, number = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64)
    spec = {
        **dict.fromkeys([features.ENCODED, features.FORMAT, features.FILENAME, features.SHA256], text),
        **dict.fromkeys([features.HEIGHT, features.WIDTH, features.LABEL], number),
        features.LABEL_TEXT: text,
    }
    read = {name: value.numpy() for name, value in tf.io.parse_single_example(record, spec).items()}
    assert (read[features.HEIGHT], read[features.WIDTH], read[features.LABEL]) == (3, 5, 0)
    assert (read[features.LABEL_TEXT], read[features.FILENAME]) == (b"dots", b"dots/one.png")
    assert read[features.SHA256].decode() == hashlib.sha256(read[features.ENCODED]).hexdigest()
    assert tf.io.decode_png(read[features.ENCODED]).numpy().tolist() == [[[1, 2, 3]] * 5] * 3


def test_importing_ingest_loads_nothing_heavy() -> None:
    heavy = ("tensorflow", "apache_beam", "numpy", "PIL", "google.protobuf")
    code = (
        "import sys, components.ingest, components.ingest.canonical; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
