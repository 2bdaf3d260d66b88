"""`mirante inspect --html`: the page of data before any training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.make.commands import mirante
from tests.make.folders import write_photos
from tests.pages.test_views import text_of

pytestmark = pytest.mark.stack_free


def test_the_page_of_raw_and_of_ingested_data(tmp_path: Path) -> None:
    write_photos(tmp_path, ("größe", "dogs"))
    (tmp_path / "photos" / "dogs" / "<b>broken.png").write_bytes(b"no image")
    done = mirante("inspect", "photos", "--html", "raw.html", cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    page = (tmp_path / "raw.html").read_text(encoding="utf-8")
    words = text_of(page)
    assert "could not be made" not in page
    assert "60 images 2 classes" in words
    assert page.count("<img") >= 2  # a grid of each class, and of what is suspicious
    assert "größe" in words
    assert "<b>broken" not in page
    assert "&lt;b&gt;broken.png" in page
    assert "/mirante-inspect-" not in page + done.stdout  # the folder of the drawings is gone
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", page)

    ingested = mirante("ingest", "folder", "photos", "data", "--max-reject-share", "0.5", cwd=tmp_path)
    assert ingested.returncode == 0, ingested.stderr
    done = mirante("inspect", "data", "--html", "data.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    assert "could not be made" not in page
    assert "Ingested data" in text_of(page)
    assert "Images of train" in page
    assert page.count("<img") > 2


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = mirante("inspect", "photos", "--html", "folder", cwd=tmp_path)
    assert done.returncode == 2
    assert "--html" in done.stderr
