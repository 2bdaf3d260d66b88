"""The compiled package with its root in a bucket: every task finds an empty disk, as a pod does."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from components.base.saved_model import CARD_FILES
from pipeline.recipe.load import load_recipe
from pipeline.steps import node_ids
from pipeline.storage.mirror import FOLDER_VARIABLE, Mirror
from tests import object_stores, servers
from tests.make.packages import compile_package
from tests.object_stores import BUCKET
from tests.targets.test_kubeflow_run import metrics, run
from tests.targets.test_task import OUTCOMES

pytestmark = pytest.mark.services

USER, PASSWORD = "mirante", "quite-secret"
# Python runs this first: the process of a task begins without what the one before had on its disk.
EMPTIES_THE_DISK = f"""
import os, shutil, sys
if "kfp.dsl.executor_main" in sys.orig_argv:
    shutil.rmtree(os.environ["{FOLDER_VARIABLE}"], ignore_errors=True)
"""


def zip_of_digits(path: Path) -> None:
    """Write a folder of images for each class, as people have them."""
    digits = load_digits()
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            buffer = io.BytesIO()
            Image.fromarray((image * 15).astype("uint8")).save(buffer, "PNG")
            archive.writestr(f"{label}/{number:04}.png", buffer.getvalue())


def test_every_task_finds_in_the_bucket_what_the_others_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"s3://{BUCKET}/runs/digits"
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "disk"))
    monkeypatch.setenv("MIRANTE_METADATA_USER", USER)
    monkeypatch.setenv("MIRANTE_METADATA_PASSWORD", PASSWORD)
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(EMPTIES_THE_DISK)
    with (
        servers.mariadb(USER, PASSWORD) as port,
        object_stores.s3(tmp_path / "s3") as store,
    ):
        for name, value in store.items():
            monkeypatch.setenv(name, value)
        upload = Mirror({**os.environ, FOLDER_VARIABLE: str(tmp_path / "mine")})
        pictures = Path(upload.local(f"s3://{BUCKET}/raw/digits.zip"))
        zip_of_digits(pictures)
        upload.send(str(pictures))
        here = upload.local(root)
        recipe = load_recipe(
            "digits",
            [
                *("training.epochs=2", "data.source=folder", f"kubeflow.pipeline_root={root}"),
                f"kubeflow.metadata={{type: mysql, host: 127.0.0.1, port: {port}}}",
                f"kubeflow.together=[[{', '.join(node_ids()[:8])}], [{', '.join(node_ids()[8:])}]]",
            ],
            elsewhere=True,
        )
        package = compile_package(recipe, tmp_path / "digits.yaml")
        settings = {
            "data_root": f"s3://{BUCKET}/raw/digits.zip",
            "threshold_accuracy": 0.1,
            "threshold_loss": 10.0,
        }
        found = {}
        for outputs, status in (("first", "completed"), ("second", "cached")):
            code, log = run(package, tmp_path, outputs, first_on_path=tmp_path / "start", **settings)
            assert code == 0, log[-5000:]
            assert dict(OUTCOMES.findall(log)) == dict.fromkeys(node_ids(), status)
            # What users read has the bucket's addresses.
            (pushed,) = re.findall(rf"pushed      ({root}/serving/\d+)$", log, re.MULTILINE)
            version = pushed.rpartition("/")[2]
            pages = [path.read_text() for path in (tmp_path / outputs).glob("*/*/view*")]
            assert pushed in "".join(pages)
            (text,) = (tmp_path / outputs).glob("*/*/pushed_model")
            assert text.read_text().startswith(f"{root}/Pusher/pushed_model/")
            for text in (log, *pages):
                assert str(tmp_path / "disk") not in text
            found[outputs] = version, metrics(tmp_path / outputs), upload.names(here)
        # In the bucket after the first run; the second one added its plan alone.
        names = set(found["first"][2])
        version = found["first"][0]
        assert {f"serving/{version}/saved_model.pb", "data/manifest.json"} <= names
        assert {f"serving/{version}/{name}" for name in CARD_FILES} <= names
        assert any(re.match(r"checkpoints/\w+/checkpoint$", name) for name in names)
        assert not any(".system" in name or "metadata.sqlite" in name for name in names)
        assert found["second"][:2] == found["first"][:2]
        assert {name.rpartition("/")[2] for name in set(found["second"][2]) - names} == {
            "pipeline.pb",
            "plan.json",
            "recipe.json",
        }
        (plan, _) = (name for name in found["second"][2] if name.endswith("plan.json"))
        upload.fetch(f"{here}/{plan}")
        assert json.loads(Path(here, plan).read_text())["reads"]["ImportExampleGen"] == [f"{root}/data"]
