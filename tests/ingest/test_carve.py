"""Splits carved out of train: no class is left out, what belongs together stays together, little moves."""

from __future__ import annotations

import collections
import hashlib
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from components.ingest.carve import assign_splits
from components.ingest.examine import Examined
from components.ingest.index import Index
from components.ingest.item import Item
from components.ingest.truth import Boxes, Label
from components.ingest.truth.placing import Box
from components.ingest.units import Copies

pytestmark = pytest.mark.stack_free

SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}


Image = tuple[str, str, "str | None"]


class Assign:
    """Assigns splits to made items, in a fresh index each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copies, self.small = Copies(), dict[str, int]()

    def items(
        self, items: Iterable[Item], shares: Mapping[str, float], contents: Mapping[str, str]
    ) -> dict[str, str]:
        """The split by path; an item's content is its path unless `contents` has another."""
        path = self.folder / "index.sqlite"
        path.unlink(missing_ok=True)
        index = Index(path)
        index.add(items)
        rows = index.db.execute("SELECT id, path FROM items").fetchall()
        index.set_examined(
            [Examined(key, hashlib.sha256(contents.get(path, path).encode()).digest()) for key, path in rows]
        )
        self.copies, self.small = assign_splits(index, shares)
        splits = dict(index.db.execute("SELECT path, split FROM items"))
        index.close()
        return splits

    def __call__(
        self, images: Iterable[Image], shares: Mapping[str, float] = SHARES, contents: Mapping[str, str] = {}
    ) -> dict[str, str]:
        """The split by path of (path, class, split that the data brings)."""
        items = (Item(path, path.encode(), 1, Label(label), split) for path, label, split in images)
        return self.items(items, shares, contents)


@pytest.fixture
def assign(tmp_path: Path) -> Assign:
    return Assign(tmp_path)


def photos(classes: int, each: int, seed: int = 0) -> list[tuple[str, str, None]]:
    return [(f"{seed}/{c}/{i}.jpg", f"class {c:04d}", None) for c in range(classes) for i in range(each)]


def table(images: Iterable[Image], splits: dict[str, str]) -> dict[str, set[str]]:
    found = collections.defaultdict(set)
    for path, label, _ in images:
        found[label].add(splits[path])
    return found


@pytest.mark.parametrize(("classes", "each"), [(12, 15), (1000, 6), (1000, 3)])
def test_every_class_is_in_every_split(assign: Assign, classes: int, each: int) -> None:
    images = photos(classes, each)
    splits = assign(images)
    assert set(map(frozenset, table(images, splits).values())) == {frozenset(("train", "eval", "test"))}
    assert len(splits) == classes * each


def test_the_shares_stay_what_was_asked_for(assign: Assign) -> None:
    counts = collections.Counter(assign(photos(20, 500)).values())
    assert counts["eval"] == pytest.approx(1000, abs=100)
    assert counts["test"] == pytest.approx(1000, abs=100)


def test_too_few_images_for_all_splits_are_only_learned(assign: Assign) -> None:
    one, two, three = photos(50, 1), photos(50, 2, seed=1), photos(50, 3, seed=2)
    assert set(assign(one).values()) == {"train"}
    assert assign.small == {f"class {number:04d}": 1 for number in range(50)}
    assert set(assign(two).values()) == {"train"}
    assert set(map(frozenset, table(three, assign(three)).values())) == {frozenset(("train", "eval", "test"))}
    assert not assign.small
    # Copies count once: three images of two originals are too few.
    splits = assign([(f"{i}.jpg", "a", None) for i in range(3)], contents={"1.jpg": "0.jpg"})
    assert set(splits.values()) == {"train"}
    assert assign.small == {"a": 2}


@pytest.mark.parametrize("seed", range(30))
def test_shares_are_those_of_a_hash_and_of_the_images_that_are_lent(assign: Assign, seed: int) -> None:
    classes, each = random.Random(seed).choice([(12, 15), (100, 6), (40, 30), (5, 200), (30, 3)])
    counts = collections.Counter(assign(photos(classes, each, seed)).values())
    images = classes * each
    for split in ("eval", "test"):
        # Binomial with p 0.1, and one for each class that the hash leaves out, which is 0.9 ** each of them.
        expected = 0.1 * images + classes * 0.9**each
        assert abs(counts[split] - expected) <= 4.5 * (0.09 * images) ** 0.5 + 1, (classes, each, counts)


@pytest.mark.parametrize("seed", range(30))
def test_one_image_more_or_less_moves_only_images_of_its_class(assign: Assign, seed: int) -> None:
    rng = random.Random(seed)
    images = [image for c in range(8) for image in photos(1, rng.randint(1, 25), seed * 100 + c)]
    images = [(path, f"class {path.split('/')[0]}", None) for path, _, _ in images]
    before = assign(images)
    gone = rng.choice(images)
    after = assign([image for image in images if image != gone])
    moved = [path for path in after if before[path] != after[path]]
    assert {path.split("/")[0] for path in moved} <= {gone[0].split("/")[0]}
    # One for each split; both of a class of three, which is then too small.
    assert len(moved) <= 3
    # The other way round, it is an image more.
    assert assign(images) == before


@pytest.mark.parametrize("seed", range(20))
def test_more_images_move_no_other_but_those_that_were_lent(assign: Assign, seed: int) -> None:
    rng = random.Random(seed)
    images = photos(rng.randint(2, 30), rng.randint(3, 40), seed)
    more = photos(rng.randint(2, 30), 1, seed=1000 + seed)
    before, after = assign(images), assign(images + more)
    moved = [path for path in before if before[path] != after[path]]
    # Where the hash alone decides: what the shares alone say, for classes that lack nothing.
    of_hash = assign([(path, "all", None) for path in before])
    assert all(before[path] != of_hash[path] or after[path] != of_hash[path] for path in moved)
    # At most one image for each split and each class that got another.
    assert len(moved) <= 3 * len(more)


def test_large_classes_stay_as_they_are(assign: Assign) -> None:
    images = photos(3, 300)
    before = assign(images)
    after = assign(images + photos(3, 200, seed=1) + photos(5, 4, seed=2))
    assert {path: after[path] for path in before} == before


def test_renaming_moves_nothing(assign: Assign) -> None:
    images = photos(12, 15)
    before = assign(images)
    renamed = {path: f"other/{number}.png" for number, path in enumerate(before)}
    after = assign(
        [(renamed[path], label, None) for path, label, _ in images],
        contents={new: old for old, new in renamed.items()},
    )
    assert {path: after[renamed[path]] for path in before} == before


def test_what_the_data_brings_wins(assign: Assign) -> None:
    images = [(f"{i}.jpg", f"class {i % 4}", "test" if i < 20 else "train") for i in range(60)]
    splits = assign(images)
    assert all(splits[f"{i}.jpg"] == "test" for i in range(20))
    assert all("eval" in found for found in table(images[20:], splits).values())
    assert set(assign([(f"{i}.jpg", "a", "test") for i in range(9)]).values()) == {"test"}


def test_copies_of_an_exporter_stay_together(assign: Assign) -> None:
    images = [
        (f"{c}/{i}_jpg.rf.{hashlib.md5(f'{c}{i}{n}'.encode()).hexdigest()}.jpg", c, None)
        for c in ("ants", "bees")
        for i in range(60)
        for n in range(3)
    ]
    splits = assign(images)
    by_original = collections.defaultdict(set)
    for path in splits:
        by_original[path.split(".rf.")[0]].add(splits[path])
    assert len(by_original) == 120
    assert all(len(found) == 1 for found in by_original.values())
    assert set(splits.values()) == {"train", "eval", "test"}
    # Another copy of an original goes where the others are.
    again = assign([*images, ("ants/0_jpg.rf.ffffffffffff.jpg", "ants", None)])
    assert again["ants/0_jpg.rf.ffffffffffff.jpg"] in by_original["ants/0_jpg"]


def test_copies_are_counted(assign: Assign) -> None:
    images = [(f"{i % 2}_png.rf.abcdef{i}.png", "a", None) for i in range(6)]
    assign([*images, ("alone_jpg.rf.abcdef.jpg", "a", None), ("7.jpg", "a", None), ("x.rf.jpg", "a", None)])
    assert assign.copies == Copies(images=6, originals=2)


def test_equal_bytes_join_two_originals(assign: Assign) -> None:
    names = [f"{original}_jpg.rf.{n}{n}{n}{n}{n}{n}.jpg" for original in ("x", "y") for n in (1, 2)]
    for salt in range(30):  # some of these would be apart
        contents = {name: f"{name} {salt}" for name in names}
        contents[names[0]] = contents[names[2]] = contents["plain.jpg"] = f"same {salt}"
        splits = assign(
            [(name, "a", None) for name in [*names, "plain.jpg"]],
            {"train": 0.5, "eval": 0.5},
            contents,
        )
        assert len(set(splits.values())) == 1


def boxes(*names: str) -> Boxes:
    return Boxes(tuple(Box(name, 0, 0, 5, 5) for name in names))


def test_a_class_of_boxes_is_in_every_split(assign: Assign) -> None:
    # Each image shows a common class; 6 of 200 show a rare one as well, and 3 a rarer one.
    items = [
        Item(f"{i}.jpg", b"", 1, boxes("car", *["bus"] * (i < 6), *["tram"] * (i in (5, 7, 9))))
        for i in range(200)
    ]
    splits = assign.items(items, SHARES, {})
    assert {splits[f"{i}.jpg"] for i in range(6)} == {"train", "eval", "test"}
    assert {splits[f"{i}.jpg"] for i in (5, 7, 9)} == {"train", "eval", "test"}
    moved = sum(
        splits[path] != of_hash
        for path, of_hash in assign.items(
            [Item(f"{i}.jpg", b"", 1, boxes("car")) for i in range(200)], SHARES, {}
        ).items()
    )
    assert moved <= 4


def grouped(images: Iterable[tuple[str, str, str | None]]) -> list[Item]:
    """Items of (path, class, group)."""
    return [Item(path, path.encode(), 1, Label(label), None, group=group) for path, label, group in images]


@pytest.mark.parametrize("seed", range(15))
def test_no_group_is_in_two_splits(assign: Assign, seed: int) -> None:
    rng = random.Random(seed)
    images = [
        (
            f"{i}{rng.choice(['', f'_jpg.rf.{i:08x}'])}.jpg",
            f"class {rng.randrange(4)}",
            rng.choice([None, f"patient {rng.randrange(40)}"]),
        )
        for i in range(rng.randint(50, 400))
    ]
    contents = {path: f"same {rng.randrange(9)}" for path, _, _ in images if rng.random() < 0.05}
    splits = assign.items(grouped(images), SHARES, contents)
    of_group, of_content = collections.defaultdict(set), collections.defaultdict(set)
    for path, _, group in images:
        of_group[group].add(splits[path])
        of_content[contents.get(path, path)].add(splits[path])
    del of_group[None]
    assert {len(found) for found in of_group.values()} == {1}
    assert {len(found) for found in of_content.values()} == {1}


def test_a_chain_of_ties_is_one_unit(assign: Assign) -> None:
    # Patients 1 and 2 share an image; so do patient 2 and an exporter's copies of one original.
    images = [
        *((f"p1/{i}.jpg", "a", "1") for i in range(3)),
        *((f"p2/{i}.jpg", "a", "2") for i in range(3)),
        *((f"x_jpg.rf.abcdef{i}.jpg", "a", None) for i in range(3)),
        ("alone.jpg", "a", None),
    ]
    for salt in range(30):  # apart, some of them would be in different splits
        contents = {path: f"{path} {salt}" for path, _, _ in images}
        contents["p1/0.jpg"] = contents["p2/0.jpg"]
        contents["x_jpg.rf.abcdef0.jpg"] = contents["p2/1.jpg"]
        splits = assign.items(grouped(images), {"train": 0.5, "eval": 0.5}, contents)
        assert len({split for path, split in splits.items() if path != "alone.jpg"}) == 1


def test_more_images_of_a_group_move_none(assign: Assign) -> None:
    images = [(f"{i}.jpg", f"class {i % 3}", f"video {i % 50}") for i in range(300)]
    before = assign.items(grouped(images), SHARES, {})
    more = [(f"more/{i}.jpg", f"class {i % 3}", f"video {i}") for i in range(50)]
    after = assign.items(grouped([*images, *more]), SHARES, {})
    assert {path: after[path] for path in before} == before
    assert all(after[f"more/{i}.jpg"] == before[f"{i}.jpg"] for i in range(50))


@pytest.mark.parametrize("seed", range(40))
def test_classes_of_boxes_are_in_every_split_where_units_allow_it(assign: Assign, seed: int) -> None:
    rng = random.Random(seed)
    names = [f"class {number}" for number in range(rng.randint(3, 12))]
    items = [
        Item(f"{seed}/{i}.jpg", b"", 1, boxes(*rng.sample(names, rng.randint(1, 3))))
        for i in range(rng.randint(40, 120))
    ]
    splits = assign.items(items, SHARES, {})
    shown = collections.Counter(name for item in items for name in item.truth.classes)
    found = collections.defaultdict(set)
    for item in items:
        for name in item.truth.classes:
            found[name].add(splits[item.path])
    assert all(len(found[name]) == 3 for name in names if shown[name] >= 6), (shown, found)


def test_a_chain_of_moves_gives_every_class_its_splits(assign: Assign) -> None:
    # Nine images, three classes; each image shows two classes, so that most moves take another's last one.
    for salt in range(60):
        items = [
            Item(f"{salt}/{i}.jpg", b"", 1, boxes(f"class {i % 3}", f"class {(i + 1) % 3}")) for i in range(9)
        ]
        splits = assign.items(items, SHARES, {})
        for name in range(3):
            of_class = {splits[f"{salt}/{i}.jpg"] for i in range(9) if name in (i % 3, (i + 1) % 3)}
            assert of_class == {"train", "eval", "test"}, salt
