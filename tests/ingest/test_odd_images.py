"""The table of the odd images in docs/ingest.md: what ingest really makes of every one.

`python -m tests.ingest.test_odd_images` writes the table anew, from the files in MIRANTE_TEST_DATA.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from components.base.errors import DataRefusedError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest
from tests.conftest import DEFAULT_REAL_DATA
from tests.make.folders import write_images

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ingest.md"
BEGIN = "<!-- The table below is written by `python -m tests.ingest.test_odd_images`. -->"
END = "<!-- End of that table. -->"
OF_IDX = "t10k-images-idx3-ubyte.gz"
_NOT_ODD = "not odd.png"
SIDES = ("xmin", "ymin", "xmax", "ymax")


def outcomes(real_data: Path, scratch: Path) -> dict[str, str]:
    """File name -> what became of it."""
    odd = real_data / "odd_images"
    images = scratch / "odd" / "a class"
    shutil.copytree(odd, images)
    # A single class is refused where files of other sources are, and here are some.
    write_images(scratch / "odd", f"another class/{_NOT_ODD}")
    output = scratch / "out"
    ingest("folder", scratch / "odd", output, IngestConfig(max_reject_share=1, splits={"train": 1}))
    found = {}
    for shard in output.glob("*-of-*"):
        for values in map(parse_example, read_records(shard)):
            name = Path(values["image/filename"][0].decode()).name
            if name == _NOT_ODD:
                continue
            size = f"{values['image/height'][0]} x {values['image/width'][0]}"
            kept = values["image/encoded"][0] == (odd / name).read_bytes()
            image_format = values["image/format"][0].decode().upper()
            found[f"`{name}`"] = f"{image_format}, {size}, {'its bytes as they are' if kept else 'rewritten'}"
    with (output / "rejects.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[f"`{Path(row['path']).name}`"] = f"rejected: {row['reason']}"
    found.update(with_boxes(odd, scratch))
    (cut_off,) = odd.glob(f"*{OF_IDX}")
    found[f"`{cut_off.name}`, given as MNIST's test images"] = refusal(cut_off, real_data, scratch)
    return found


def with_boxes(odd: Path, scratch: Path) -> dict[str, str]:
    """Return what the source voc makes of the images that have an XML file next to them."""
    stems = [path.stem for path in odd.glob("*.xml")]
    for path in odd.iterdir():
        if path.stem in stems:
            (scratch / "voc").mkdir(exist_ok=True)
            shutil.copy(path, scratch / "voc")
    output = scratch / "voc-out"
    ingest("voc", scratch / "voc", output, IngestConfig(max_reject_share=1, splits={"train": 1}))
    found = {}
    for values in map(parse_example, read_records(output / "train-00000-of-00001")):
        name = values["image/filename"][0].decode()
        size = f"{values['image/width'][0]} x {values['image/height'][0]}"
        (sides,) = zip(*(values[f"image/object/bbox/{side}"] for side in SIDES), strict=True)
        shown = ", ".join(f"{side:.4f}" for side in sides)
        found[name] = f"box {shown} of the image's {size} pixels"
    with (output / "rejects.csv").open(newline="", encoding="utf-8") as file:
        found.update((row["path"], f"rejected: {row['reason']}") for row in csv.DictReader(file))
    return {f"`{name}` and `{Path(name).stem}.xml`, by the source voc": what for name, what in found.items()}


def refusal(cut_off: Path, real_data: Path, scratch: Path) -> str:
    folder = scratch / "idx"
    folder.mkdir()
    shutil.copy(cut_off, folder / OF_IDX)
    shutil.copy(real_data / "mnist" / "t10k-labels-idx1-ubyte.gz", folder)
    with pytest.raises(DataRefusedError) as caught:
        ingest("idx", folder, scratch / "idx-out")
    assert not list((scratch / "idx-out").glob("*-of-*"))
    return f"refused, exit code 3: {str(caught.value).replace(str(folder), 'DIR')}"


def table(real_data: Path, scratch: Path) -> str:
    rows = sorted(outcomes(real_data, scratch).items())
    return "\n".join(
        ["| file | what becomes of it |", "|---|---|", *(f"| {n} | {what} |" for n, what in rows)]
    )


def written() -> tuple[str, str, str]:
    """The page: before the table, the table, after it."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    inside, end, after = rest.partition(END)
    assert begin
    assert end
    return before + begin, inside.strip(), end + after


@pytest.mark.real_data
def test_the_table_of_the_odd_images_is_what_ingest_does(tmp_path: Path, real_data_dir: Path) -> None:
    assert table(real_data_dir, tmp_path) == written()[1]
    for path in (real_data_dir / "odd_images").iterdir():
        assert f"`{path.name}`" in written()[1]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = table(Path(os.environ.get("MIRANTE_TEST_DATA") or DEFAULT_REAL_DATA).resolve(), Path(folder))
    before, _, after = written()
    PAGE.write_text(f"{before}\n\n{made}\n\n{after}", encoding="utf-8")
