"""What a record says of its image: a class for each kind of records."""

from __future__ import annotations

import pytest

from components.base.task import TASKS, task_named
from components.ingest.truth import TRUTHS, Boxes, Label, truth_of
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.placing import Box
from schemas import features

CAT, DOG = Box("cat", 0, 0, 50, 20), Box("dog", 10, 10, 20, 30)


def test_a_task_and_its_kind_of_records_name_the_same_features() -> None:
    assert set(TRUTHS) == set(features.TASKS)
    for task in map(task_named, TASKS):
        kind = TRUTHS[task.records]
        assert (kind.label, kind.text, kind.first_label) == (task.label, task.text, task.first_label)


def test_a_label_is_its_own_text_and_has_no_place() -> None:
    label = Label("Wölfe [1]")
    assert (label.to_text(), Label.from_text(label.to_text()), label.classes) == (
        label.name,
        label,
        (label.name,),
    )
    counts = BoxCounts()
    placed = label.place((30, 40), 6)
    placed.count("1.jpg", counts)
    assert placed.record_features({"Wölfe [1]": 3}) == {
        "image/class/label": 3,
        "image/class/text": "Wölfe [1]".encode(),
    }
    assert counts == BoxCounts()
    assert Label.counted(counts) is None


def test_boxes_are_counted_as_they_are_placed() -> None:
    boxes = Boxes((CAT, DOG, Box("dog", 5, 5, 5, 9)), (100, 100))
    assert boxes.classes == ["cat", "dog", "dog"]
    placed = boxes.place((100, 100), 1)
    written = placed.record_features({"cat": 1, "dog": 2})
    assert written[features.BOX_LABEL] == [1, 2]
    assert written[features.BOX_XMAX] == (0.5, pytest.approx(0.2))
    counts = BoxCounts()
    placed.count("1.jpg", counts)
    assert (counts.boxes, counts.images, counts.most) == ({"cat": 1, "dog": 1}, {"cat": 1, "dog": 1}, 2)
    assert [path for path, _ in counts.left_out] == ["1.jpg"]
    assert BoxCounts.total([None, counts, None]) == counts
    assert Boxes.boxes_by_class(counts, ["cat", "cow"]) == {"cat": 1, "cow": 0}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([features.LABEL], Label),
        ([features.LABEL_TEXT, *features.BOX_SIDES], Label),  # as in ImageNet's records
        ([features.LABEL, features.BOX_TEXT], Boxes),
        ([features.BOX_LABEL], Boxes),
        ([*features.BOX_SIDES], None),
    ],
)
def test_the_features_with_the_classes_tell_the_kind(names: list[str], kind: type | None) -> None:
    assert truth_of({name: [] for name in names}) is kind


def test_the_unit_of_most_boxes_is_told() -> None:
    shares = Boxes((Box("cat", 0.1, 0.1, 0.5, 0.5),)).to_text()
    pixels = Boxes((CAT,), in_shares=True).to_text()
    fine = [Boxes((CAT,)).to_text(), Boxes((Box("cat", 0.1, 0.1, 0.5, 0.5),), in_shares=True).to_text()]
    assert Boxes.find_misreading(iter([shares, shares, *fine[:1]])) == (
        "expected boxes in pixels, got 2 of 3 boxes with no number outside of 0 .. 1: they seem to be "
        "shares; --box-units shares (in a recipe data.box_units: shares) reads them as such"
    )
    assert "got 1 of 1 box with numbers above 2" in str(Boxes.find_misreading(iter([pixels])))
    assert Boxes.find_misreading(iter(fine)) is None
    assert Label.find_misreading(iter(["cat"])) is None
