"""What a run reads of its data before the pipeline starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import DataConfig
from components.errors import DataRefusedError, UsageError
from components.ingest import ingest
from pipeline.data import check_config, describe, write_sample
from tests import failures


def test_a_folder_with_a_manifest_is_described(tmp_path: Path) -> None:
    ingest("folder", failures.photos(tmp_path, classes=("cats", "dogs", "owls")), tmp_path / "data")
    examples = describe(tmp_path / "data", DataConfig())
    assert examples.class_names == ("cats", "dogs", "owls")
    assert examples.patterns == {split: f"{split}-*-of-*" for split in ("train", "eval", "test")}
    assert sum(examples.split_sizes.values()) == 90
    assert Path(write_sample(examples, tmp_path)).read_bytes().startswith(b"\x89PNG")


def test_shards_without_a_manifest_are_described(tmp_path: Path) -> None:
    failures.shards(tmp_path)
    examples = describe(tmp_path / "shards", DataConfig())
    assert examples.class_names == ("cat", "dog")


def test_how_many_test_images_a_class_must_have_can_be_set(tmp_path: Path) -> None:
    made = failures.shards(tmp_path)
    owls = b"".join(failures.record(2, "owl", 300 + n) for n in range(3))
    folder = tmp_path / "shards"
    (folder / "train-00000-of-00001").write_bytes(made["train"] + owls)
    with pytest.raises(DataRefusedError, match=r"1 of 3 classes \(owl\) have no image in split test"):
        describe(folder, DataConfig())
    assert describe(folder, DataConfig(min_test_images=0)).class_names == ("cat", "dog", "owl")
    (folder / "test-00000-of-00001").write_bytes(made["test"] + owls)
    assert describe(folder, DataConfig(min_test_images=3)).class_names == ("cat", "dog", "owl")
    with pytest.raises(DataRefusedError, match=r"\(owl \(3\)\) have fewer than 4 images in split test"):
        describe(folder, DataConfig(min_test_images=4))


def test_many_classes_are_counted_and_some_named(tmp_path: Path) -> None:
    made = failures.shards(tmp_path)
    more = b"".join(failures.record(2 + n, f"bird{n}", 400 + n) for n in range(8))
    (tmp_path / "shards" / "eval-00000-of-00001").write_bytes(made["eval"] + more)
    said = r"8 of 10 classes \(bird0, bird1, bird2, bird3, bird4 and 3 more\) have no image in split train"
    with pytest.raises(DataRefusedError, match=said):
        describe(tmp_path / "shards", DataConfig())


def test_contract_data_needs_no_input_that_the_source_reads(tmp_path: Path) -> None:
    failures.shards(tmp_path)
    check_config(DataConfig(source="digits", path=str(tmp_path / "shards")))
    with pytest.raises(UsageError, match="brings its own data"):
        check_config(DataConfig(source="digits", path=str(tmp_path)))
