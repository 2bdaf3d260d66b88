"""Paths with ExampleGen's placeholders: which span is taken, compared with TFX's answers; what is kept."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest.config import IngestConfig
from components.ingest.spans import Span, check_pattern, find_span, is_pattern
from pipeline.data import prepare
from pipeline.data.examples import Examples
from pipeline.recipe.load import load_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.run.nodes import prepare_data
from tests import failures
from tests.make.commands import unwrap
from tests.make.images import make_png

pytestmark = pytest.mark.usefixtures("inline_workers")

# Folders, a pattern, the span that is asked for; number, version and folder that are to be found.
FOUND = [
    ("span-1 span-2 span-10", "span-{SPAN}", None, (10, None, "span-10")),
    ("span-1 span-2 span-10", "span-{SPAN}", 2, (2, None, "span-2")),
    ("0 7", "{SPAN}", 0, (0, None, "0")),
    ("001 002 010", "{SPAN:3}", None, (10, None, "010")),
    ("001 002 010", "{SPAN:3}", 1, (1, None, "001")),
    ("2025-12-31 2026-11-26 2026-09-30", "{YYYY}-{MM}-{DD}", None, (20783, None, "2026-11-26")),
    ("2026/01/31 2026/02/01", "{YYYY}/{MM}/{DD}", None, (20485, None, "2026/02/01")),
    ("20260131 20260201", "{YYYY}{MM}{DD}", 20484, (20484, None, "20260131")),
    ("1/v9 2/v1 2/v3 2/v2", "{SPAN}/v{VERSION}", None, (2, 3, "2/v3")),
    ("1/v9 1/v10 2/v1", "{SPAN}/v{VERSION}", 1, (1, 10, "1/v10")),
    ("1-01 1-02", "{SPAN}-{VERSION:2}", None, (1, 2, "1-02")),
    ("in/3.d/(a)+b in/4.d/(a)+b", "in/{SPAN}.d/(a)+b", None, (4, None, "in/4.d/(a)+b")),
]
# What neither takes, and what is said.
REFUSED = [
    ("1", "{SPAN}-{YYYY}-{MM}-{DD}", None, "{SPAN} and a date cannot go together"),
    ("2026-11", "{YYYY}-{MM}", None, "a date needs each of {YYYY}, {MM} and {DD} once"),
    ("1/1", "{SPAN}/{SPAN}", None, "{SPAN} is there more than once"),
    ("1/1/2", "{SPAN}/{VERSION}/{VERSION}", None, "{VERSION} is there more than once"),
    ("1", "{VERSION}", None, "{VERSION} is of a span: add {SPAN}"),
    ("1", "{SPAN:0}", None, "{SPAN:0}: expected how many digits it has"),
    ("1", "{SPAN:x}", None, "{SPAN:x}: expected how many digits it has"),
    ("12", "{SPAN}{VERSION}", None, "nothing tells where one number ends"),
    (
        "photos",
        "span-{SPAN}",
        None,
        "expected names like {base}/span-1; {base} holds photos. Correct the path",
    ),
    (
        "span-1 span-2x",
        "span-{SPAN}",
        None,
        "{base}/span-2x is no span of {base}/span-{SPAN}: expected a number",
    ),
    ("2026-13-01", "{YYYY}-{MM}-{DD}", None, "expected a date. Rename it"),
    ("01 100", "{SPAN:2}", None, "{base}/100 is no span of {base}/{SPAN:2}"),
    ("1 2", "{SPAN}", 7, "there is no span 7 of {base}/{SPAN}; the newest of 2: 1, 2."),
]


def folders(base: Path, names: str) -> None:
    for name in names.split():
        (base / name).mkdir(parents=True)
        (base / name / "train-00000-of-00001").touch()


def answer(base: Path, pattern: str, wanted: int | None) -> tuple[int, int | None, str]:
    """Ours."""
    path = str(base / pattern)
    try:
        check_pattern(path)
    except ValueError as e:
        raise UsageError(str(e)) from e
    span = find_span(path, wanted)
    return span.number, span.version, str(Path(span.path).relative_to(base))


def answer_of_tfx(base: Path, pattern: str, wanted: int | None) -> tuple[int, int | None, str]:
    """Return the answer of the driver of TFX's ImportExampleGen."""
    from tfx.components.example_gen.input_processor import FileBasedInputProcessor
    from tfx.proto import example_gen_pb2, range_config_pb2

    only = None
    if wanted is not None:
        static = range_config_pb2.StaticRange(start_span_number=wanted, end_span_number=wanted)
        only = range_config_pb2.RangeConfig(static_range=static)
    split = example_gen_pb2.Input.Split(name="train", pattern=f"{pattern}/train-*")
    processor = FileBasedInputProcessor(str(base), [split], only)
    number, version = processor.resolve_span_and_version()
    filled = processor.get_pattern_for_span_version(split.pattern, number, version)
    return number, version, filled.removesuffix("/train-*")


@pytest.mark.parametrize(("names", "pattern", "wanted", "expected"), FOUND)
def test_the_span_is_that_which_tfx_takes(
    names: str, pattern: str, wanted: int | None, expected: tuple[int, int | None, str], tmp_path: Path
) -> None:
    folders(tmp_path, names)
    assert answer(tmp_path, pattern, wanted) == expected
    assert answer_of_tfx(tmp_path, pattern, wanted) == expected


@pytest.mark.parametrize(("names", "pattern", "wanted", "said"), REFUSED)
def test_what_tfx_does_not_take_is_refused_with_a_reason(
    names: str, pattern: str, wanted: int | None, said: str, tmp_path: Path
) -> None:
    folders(tmp_path, names)
    with pytest.raises(UsageError) as refused:
        answer(tmp_path, pattern, wanted)
    assert said.replace("{base}", str(tmp_path)) in str(refused.value)
    with pytest.raises(ValueError, match=r".+"):
        answer_of_tfx(tmp_path, pattern, wanted)


def test_what_is_no_span_is_passed_over_or_refused(tmp_path: Path) -> None:
    folders(tmp_path, "span-1 span-new .span-3 lost+found span-")
    (tmp_path / "span-2.txt").touch()
    (tmp_path / "span-2.zip").touch()
    assert answer(tmp_path, "span-{SPAN}", None) == (1, None, "span-1")
    # An archive is as good as a folder.
    assert answer(tmp_path, "span-{SPAN}.zip", None) == (2, None, "span-2.zip")
    # TFX finds span 4 there, and then looks for its files in a folder span-4.
    folders(tmp_path, "span-04")
    with pytest.raises(UsageError, match="expected a number without leading zeros"):
        answer(tmp_path, "span-{SPAN}", None)
    with pytest.raises(UsageError, match=f"there is no folder {tmp_path}/nowhere. Correct the path"):
        answer(tmp_path, "nowhere/{SPAN}", None)


def test_a_span_says_what_it_is(tmp_path: Path) -> None:
    folders(tmp_path, "2026-11-26/1 7/1")
    assert str(find_span(f"{tmp_path}/{{YYYY}}-{{MM}}-{{DD}}/{{VERSION}}")) == (
        "span 20783 (2026-11-26), version 1"
    )
    assert str(Span("/", "{SPAN}", 7)) == "span 7"
    assert [is_pattern(path) for path in (None, "photos", "a/{span}", "{SPAN", "a/{SPAN:3}b", "{DD}")] == [
        *[False] * 4,
        True,
        True,
    ]


# --- in a recipe


def test_braces_are_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for typed in ("photos/span-{SPAN:3}/v{VERSION}", "photos/{YYYY}-{MM}-{DD}", "./{SPAN}"):
        expected = str(tmp_path / typed)
        assert load_recipe("folder", [f"data.path={typed}"]).data.path == expected
        assert load_recipe("folder", data_path=typed).data.path == expected
        written = tmp_path / "mine.yaml"
        written.write_text(
            f"name: mine\ndata:\n  path: {typed}\nevaluation: {{thresholds: {{accuracy: 0.5}}}}\n"
        )
        recipe = load_recipe(str(written))
        assert recipe.data.path == expected
        # As it goes through the package, and is kept by a run.
        assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe
        assert Recipe.model_validate(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))) == recipe


@pytest.mark.parametrize("given", ["20783", "2026-11-26", "'2026-11-26'"])
def test_a_span_is_asked_for_by_its_number_or_its_date(given: str) -> None:
    recipe = load_recipe("folder", ["data.path=photos/{YYYY}/{MM}/{DD}", f"data.span={given}"])
    assert recipe.data.span == 20783
    assert IngestConfig(path="{SPAN}", span=datetime.date(1970, 1, 3)).span == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["data.path={SPAN}"],
            "data.path: expected a path, got a mapping, {'SPAN': None}: YAML reads a value",
        ),
        (["data.path=a/{SPAN}/{DD}"], "a/{SPAN}/{DD}: {SPAN} and a date cannot go together"),
        (["data.path=photos", "data.span=3"], "data.span: 3, and the path has no {SPAN}"),
        (["data.span=first"], "data.span: expected a whole number, got 'first'"),
        (["data.span=-1"], "data.span: expected 0 or more, got -1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(overrides: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_recipe("folder", overrides, elsewhere=True)
    assert said in str(refused.value)


# --- what a run reads and keeps


def photos(span: Path, numbers: range, classes: tuple[str, ...] = ("cats", "dogs")) -> None:
    """Class folders; the content of an image depends on its class and number, not on its span."""
    for name in classes:
        (span / name).mkdir(parents=True)
        for number in numbers:
            (span / name / f"{number}.png").write_bytes(make_png(1000 * ord(name[0]) % 60000 + number))


def prepared(root: Path, path: str, **settings: Any) -> tuple[Examples, str]:
    """Return what a run would read, and what it says."""
    recipe = load_recipe("folder", ["model.weights=null"], path)
    recipe = recipe.model_copy(
        update={"data": IngestConfig.model_validate({**recipe.data.model_dump(), **settings})}
    )
    prepare.check_config(recipe.data)
    console = Console(record=True, width=300, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    return prepare_data(recipe, root, console), unwrap(console.export_text())


def test_raw_data_are_ingested_a_span_at_a_time(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/{{YYYY}}-{{MM}}-{{DD}}"
    photos(tmp_path / "photos" / "2026-11-25", range(30))
    examples, said = prepared(root, path)
    assert f"span 20782 (2026-11-25) of {path}" in said
    assert examples.folder == root / "data" / "span-20782"
    photos(tmp_path / "photos" / "2026-11-26", range(40))
    examples, said = prepared(root, path)
    assert "span 20783 (2026-11-26)" in said
    assert examples.span == Span(str(root / "data"), "span-{SPAN}", 20783, is_day=True)
    assert sum(examples.split_sizes.values()) == 80
    # Only what is in use is kept.
    assert [found.name for found in (root / "data").iterdir()] == ["span-20783"]
    _, said = prepared(root, path)
    assert "unchanged" in said
    examples, said = prepared(root, path, span="2026-11-25")
    assert "span 20782 (2026-11-25)" in said
    assert [found.name for found in (root / "data").iterdir()] == ["span-20782"]
    # Without placeholders the folder is as it ever was.
    examples, _ = prepared(root, f"{tmp_path}/photos/2026-11-26")
    assert (examples.folder, examples.span) == (root / "data", None)
    assert not list((root / "data").glob("span-*"))


def test_a_span_that_arrives_meanwhile_is_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Span] = []

    def find(path: str, wanted: int | None = None) -> Span:
        looks.append(find_span(path, wanted))
        photos(tmp_path / "photos" / f"span-{len(looks) + 1}", range(10))
        return looks[-1]

    monkeypatch.setattr(prepare, "find_span", find)
    photos(tmp_path / "photos" / "span-1", range(30))
    config = IngestConfig(source="folder", path=f"{tmp_path}/photos/span-{{SPAN}}")
    prepared = prepare.prepare(config, tmp_path / "root")
    assert [span.number for span in looks] == [1]
    assert (prepared.folder, prepared.span) == (
        tmp_path / "root" / "data" / "span-1",
        Span(str(tmp_path / "root" / "data"), "span-{SPAN}", 1),
    )
    # A task looks more than once, and asks for what it found the first time.
    config = prepare.choose_newest_span(config)
    assert config.span == 2
    assert prepare.ingest_folder(config, tmp_path / "root").name == "span-2"
    prepared = prepare.prepare(config, tmp_path / "root")
    assert prepared.span is not None
    assert (prepared.folder.name, prepared.span.number) == ("span-2", 2)


def test_images_of_two_spans_are_in_one_split(tmp_path: Path) -> None:
    """A newer model is not trained on what an older one was tested on."""
    splits: list[dict[str, str]] = []
    photos(tmp_path / "photos" / "span-1", range(60))
    photos(tmp_path / "photos" / "span-2", range(30, 120))
    for number in (1, 2):
        examples, _ = prepared(tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}", span=number)
        splits.append({})
        for split in ("train", "eval", "test"):
            for shard in examples.folder.glob(f"{split}-*"):
                for record in read_records(shard):
                    splits[-1][parse_example(record)["image/key/sha256"][0].decode()] = split
    both = splits[0].keys() & splits[1].keys()
    assert len(both) == 60
    assert {splits[0][key] for key in both} == {"train", "eval", "test"}
    assert all(splits[0][key] == splits[1][key] for key in both)


def test_contract_data_are_read_where_they_lie(tmp_path: Path) -> None:
    for span in ("1/v1", "2/v1", "2/v2"):
        failures.shards(tmp_path)
        (tmp_path / "data" / span).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shards").rename(tmp_path / "data" / span)
    examples, _ = prepared(tmp_path / "root", f"{tmp_path}/data/{{SPAN}}/v{{VERSION}}")
    assert examples.folder == tmp_path / "data" / "2" / "v2"
    assert examples.span == Span(str(tmp_path / "data"), "{SPAN}/v{VERSION}", 2, 2)
    assert not (tmp_path / "root" / "data").exists()


def test_versions_of_raw_data_have_their_own_folders(tmp_path: Path) -> None:
    photos(tmp_path / "photos" / "3" / "01", range(30))
    photos(tmp_path / "photos" / "3" / "02", range(30))
    path = f"{tmp_path}/photos/{{SPAN}}/{{VERSION:2}}"
    examples, _ = prepared(tmp_path / "root", path)
    assert examples.span is not None
    assert (examples.folder.name, examples.span.pattern) == (
        "span-3-version-2",
        "span-{SPAN}-version-{VERSION}",
    )
    # Taken back: TFX would find the version that was ingested, were it still there.
    shutil.rmtree(tmp_path / "photos" / "3" / "02")
    assert prepared(tmp_path / "root", path)[0].folder.name == "span-3-version-1"
    assert [found.name for found in (tmp_path / "root" / "data").iterdir()] == ["span-3-version-1"]


def test_a_class_that_the_pushed_model_knows_must_not_be_missing(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    labels = root / "serving" / "17" / "assets.extra" / "labels.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("cats\ndogs\n")
    (root / "serving" / "17" / "saved_model.pb").touch()
    (root / "serving" / "9").mkdir()
    (root / "serving" / ".18.incomplete").mkdir()
    photos(tmp_path / "photos" / "span-1", range(30))
    assert "warning" not in prepared(root, path)[1]
    photos(tmp_path / "photos" / "span-2", range(30), classes=("cats", "dogs", "owls"))
    examples, said = prepared(root, path)
    assert examples.class_names == ("cats", "dogs", "owls")
    assert (
        "version 17 knows other classes (new: owls): evaluation.max_regression compares both models" in said
    )
    labels.write_text("cats\ndogs\nowls\n")  # it was pushed
    photos(tmp_path / "photos" / "span-3", range(30), classes=("cats", "emus", "dogs"))
    with pytest.raises(
        DataRefusedError,
        match=r"span 3 of .*: expected images of the 3 classes .*, got none of 1: owls; add images",
    ):
        prepared(root, path)
    assert (root / "data" / "span-2").is_dir()  # nothing was accepted in its place
    _, said = prepared(root, path, retired_classes=["owls"])
    assert "(new: emus; given up: owls)" in said
