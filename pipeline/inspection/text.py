"""What was found out, as text of 80 columns; the last line is the command to run next."""

from collections.abc import Iterator, Sequence

from components.base.printable import printable
from components.base.task import task_named
from components.base.words import format_count, format_row, format_some
from pipeline.inspection.facts import Boxes, Copies, Doubts, Facts, Group, Labels, Sizes, Spread

_TITLE = 14
_MOST_CLASSES, _MOST_GROUPS, _MOST_NAMES, _MOST_DOUBTS = 20, 8, 3, 10
# From here on a model of the rare class learns little.
_UNEVEN = 3.0
_EVEN = 1.1
_MOST_LETTERS = 30
_CHANNELS = {"1": "gray", "3": "colour"}
_COPIES = {
    "identical": "identical to another one, byte for byte",
    "across_splits": "in more than one split",
    "with_different_truth": "with different labels",
    "alike": "looking like another one",
}


def format_facts(facts: Facts) -> str:
    """Return the lines."""
    before = "Once that is corrected:" if facts.refused else "To train a model:"
    return "\n".join([*_lines(facts), "", before, facts.command])


def _lines(facts: Facts) -> Iterator[str]:
    source = facts.source
    kind = "ingested data" if facts.ingested else f"read by the source {source.source}"
    yield from _row(printable(facts.data), f"{kind}: {source.why}", indent=0)
    for other in facts.other_sources:
        yield from _row("or", f"{other.source}: {other.why}; {other.option} reads it so")
    yield from _row("for", f"{task_named(facts.task).gives} (task: {facts.task})")
    yield from _row("images", _format_images(facts))
    if facts.splits:
        yield from _row("splits", _format_splits(facts))
    yield from _classes(facts)
    if facts.sizes is not None:
        yield from _sizes(facts.sizes)
    if facts.boxes is not None:
        yield from _boxes(facts.boxes, facts.images)
    if facts.labels is not None:
        yield from _labels(facts.labels, facts.images)
    yield from _copies(facts.copies)
    yield from _groups("rejected", facts.rejects)
    yield from _groups("left out", facts.left_out)
    yield from _groups("suspicious", facts.suspicious)
    yield from _row("looked at", _format_looked_at(facts))
    if facts.doubts is not None:
        yield from _doubts(facts.doubts)
    if facts.drawn:
        shown = format_count(facts.drawn, "file")
        yield from _row("drawn", f"{shown}, the first is {printable(facts.drawn[0])}")
    for warning in facts.warnings:
        yield from _row("warning", printable(warning))
    for reason in facts.refused:
        yield from _row("refused", " ".join(map(printable, reason.splitlines())))


def _row(title: str, text: str, indent: int = 2) -> Iterator[str]:
    """Yield a title and the text next to it, or below it where it is too long."""
    yield format_row(title, text, _TITLE, indent)


def _format_images(facts: Facts) -> str:
    rejected = sum(group.count for group in facts.rejects)
    left_out = sum(group.count for group in facts.left_out)
    more = [f"{rejected:,} rejected"] if rejected else []
    more += [f"{left_out:,} left out"] if left_out else []
    shown = f"{facts.images:,} of {format_count(facts.classes, 'class', 'classes')}"
    return ", ".join([shown, *more])


def _format_splits(facts: Facts) -> str:
    shown = ", ".join(f"{split} {images:,}" for split, images in facts.splits.items())
    carved = [split for split in facts.splits if split not in facts.splits_brought]
    if not facts.splits_brought:
        return f"{shown}; the data have none, ingest makes them"
    if carved:
        them = "it" if len(carved) == 1 else "them"
        return f"{shown}; the data have no {' and '.join(carved)}, ingest takes {them} out of train"
    return f"{shown}; as the data have them"


def _format_looked_at(facts: Facts) -> str:
    took = f"in {facts.seconds:.1f} s"
    if facts.looked_at >= facts.images:
        return f"the pixels of all images {took}"
    return f"the pixels of {facts.looked_at:,} of {facts.images:,} images {took}; --all looks at all"


def _classes(facts: Facts) -> Iterator[str]:
    if facts.imbalance is not None:
        times = f"the largest has {facts.imbalance:g} times as many images as the smallest"
        uneven = "; rare classes are learned worse" if facts.imbalance >= _UNEVEN else ""
        if uneven and facts.boxes is None:
            uneven += ", --set training.class_weights=balanced helps"
        even = "all have about as many images"
        yield from _row("classes", f"{times}{uneven}" if facts.imbalance > _EVEN else even)
    shown = sorted(facts.classes, key=lambda one: -one.images)  # those of one number in the order of labels
    half = _MOST_CLASSES // 2
    cut = shown if len(shown) <= _MOST_CLASSES else [*shown[:half], *shown[-half:]]
    width = min(_MOST_LETTERS, max((len(printable(one.name)) for one in cut), default=0))
    heads = ["images", *facts.splits, *(["boxes"] if facts.boxes is not None else [])]
    if cut:
        yield " " * (_TITLE + width) + "".join(f"{head:>9}" for head in heads)
    for number, one in enumerate(cut):
        if len(cut) < len(shown) and number == half:
            yield " " * _TITLE + f"({len(shown) - len(cut):,} more)"
        counts = [one.images, *(one.by_split[split] for split in facts.splits)]
        counts += [one.boxes] if one.boxes is not None else []
        name = printable(one.name)
        name = name if len(name) <= width else f"{name[: width - 3]}..."
        yield " " * _TITLE + f"{name:{width}}" + "".join(f"{count:>9,}" for count in counts)


def _sizes(sizes: Sizes) -> Iterator[str]:
    for name, spread in (("width", sizes.width), ("height", sizes.height)):
        yield from _row(name, _format_spread(spread, " px"))
    yield from _row("aspect", f"{_format_spread(sizes.aspect)} (width / height)")
    formats = ", ".join(f"{name} {count:,}" for name, count in sizes.formats.items())
    channels = ", ".join(f"{_CHANNELS[name]} {count:,}" for name, count in sizes.channels.items())
    yield from _row("formats", f"{formats}; {channels}")


def _format_spread(spread: Spread, unit: str = "") -> str:
    if spread.min == spread.max:
        return f"{spread.min:,.6g}{unit} in all"
    return f"{spread.min:,.6g} to {spread.max:,.6g}{unit}, median {spread.median:,.6g}"


def _labels(labels: Labels, images: int) -> Iterator[str]:
    mean = f"{labels.cardinality:.2f} per image on average"
    yield from _row("labels", f"{labels.labels:,} on {format_count(images, 'image')}, {mean}")
    counts = ", ".join(f"{number} on {count:,}" for number, count in labels.images.items())
    yield from _row("", f"images by their number of labels: {counts}")


def _boxes(boxes: Boxes, images: int) -> Iterator[str]:
    yield from _row("boxes", f"{boxes.boxes:,} on {format_count(images, 'image')}")
    for spread, unit, what in (
        (boxes.per_image, "", "boxes per image"),
        (boxes.width_px, " px", "width"),
        (boxes.height_px, " px", "height"),
        (boxes.share, "", "share of the image"),
    ):
        if spread is not None:
            yield from _row("", f"{what} {_format_spread(spread, unit)}")
    for count, what in (
        (boxes.empty_images, "images without a box, which are background"),
        (boxes.small, f"boxes below 8 px at an image size of {boxes.scaled_px} px, which are hard to find"),
        (boxes.beyond, "boxes beyond the edge of their image, where they are cut"),
        (boxes.copies, "boxes that repeat another one of their image and are dropped"),
    ):
        if count:
            yield from _row("", f"{count:,} {what}")
    for group in boxes.unusable:
        yield from _row("", f"{group.count:,} unusable, {_format_group(group)}")


def _copies(copies: Copies) -> Iterator[str]:
    title = "copies"
    for name, what in _COPIES.items():
        if count := getattr(copies, name):
            first = next(iter(copies.examples.get(name, [])), [])
            example = " = ".join(map(printable, first[:_MOST_NAMES]))
            yield from _row(
                title, f"{format_count(count, 'image')} {what}" + (f": {example}" if example else "")
            )
            title = ""


def _groups(title: str, groups: Sequence[Group]) -> Iterator[str]:
    for group in groups[:_MOST_GROUPS]:
        yield from _row(title, f"{group.count:,} {_format_group(group)}")
        title = ""
    if len(groups) > _MOST_GROUPS:
        yield from _row("", f"and {format_count(len(groups) - _MOST_GROUPS, 'other reason')}; --json has all")


def _format_group(group: Group) -> str:
    shown = [printable(name) for name in group.examples[:_MOST_NAMES]]
    more = f" and {group.count - len(shown):,} more" if group.count > len(shown) else ""
    return f"{printable(group.what)}: {', '.join(shown)}{more}"


def _doubts(doubts: Doubts) -> Iterator[str]:
    share = f" ({doubts.agreed / doubts.asked:.1%})" if doubts.asked else ""
    yield from _row("model", f"agrees with {doubts.agreed:,} of {doubts.asked:,} labels{share}")
    if doubts.unknown_classes:
        shown = format_some(map(printable, doubts.unknown_classes), _MOST_NAMES)
        yield from _row("", f"it does not know the classes {shown}")
    for doubt in doubts.images[:_MOST_DOUBTS]:
        labels = f"{doubt.label} in the data, {doubt.predicted} by the model ({doubt.score:.2f})"
        yield from _row("", printable(f"{doubt.image}: {labels}"))
    if len(doubts.images) > _MOST_DOUBTS:
        yield from _row("", f"and {len(doubts.images) - _MOST_DOUBTS:,} more; --json has all")
