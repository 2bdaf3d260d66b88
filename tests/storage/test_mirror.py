"""What tasks fetch from buckets and send: a real store that speaks S3, an emulator of Google's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from components.base import object_store, serving_folder
from components.base.errors import MiranteError, UsageError
from components.ingest import published_completely
from components.ingest.config import IngestConfig
from components.ingest.spans import find_span
from components.pusher.executor import TakenBackError, push
from components.resolver.baseline import import_folder
from pipeline import task
from pipeline.api import load_run
from pipeline.commands.ingest import ingest
from pipeline.recipe.load import load_recipe
from pipeline.steps import imports_folder
from pipeline.storage import follower
from pipeline.storage.here import IngestCopies
from pipeline.storage.mirror import FOLDER_VARIABLE, Mirror
from pipeline.storage.node_files import NodeFiles, check_can_push
from pipeline.targets.kubeflow.inputs import fetch_raw, take_weights
from tests import object_stores
from tests.make.folders import write_photos
from tests.object_stores import BUCKET, STRANGER
from tests.pages.test_views import text_of

pytestmark = pytest.mark.services

REPOSITORY = Path(__file__).resolve().parents[2]
SENDS = """
import os, sys
from pipeline.storage.mirror import Mirror
mirror = Mirror(os.environ)
path = mirror.local(sys.argv[2])
getattr(mirror, sys.argv[1])(path)
"""


@pytest.fixture(scope="module", params=["s3", "gs"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict]]:
    """Scheme and environment of a store."""
    start = {"s3": object_stores.s3, "gs": object_stores.gcs}[request.param]
    with start(tmp_path_factory.mktemp("store") / "data") as environment:
        yield request.param, environment


@pytest.fixture
def url(store: tuple[str, dict[str, str]], request: pytest.FixtureRequest) -> str:
    """A folder of the test's own in the bucket."""
    return f"{store[0]}://{BUCKET}/{request.node.originalname}"


@pytest.fixture
def pod(store: tuple[str, dict[str, str]], tmp_path: Path) -> Callable[[str], Mirror]:
    """Makes the mirror of a pod of that name, whose disk is empty at first."""
    return lambda name: Mirror({**store[1], FOLDER_VARIABLE: str(tmp_path / name)})


def write(folder: str | Path, **files: str) -> None:
    for name, content in files.items():
        path = Path(folder, name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def read(folder: str) -> dict[str, str]:
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def times(folder: str) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in Path(folder).rglob("*") if p.is_file()}


def test_what_one_pod_sends_another_fetches_with_equal_times(url: str, pod: Callable[[str], Mirror]) -> None:
    first, second, third = (pod(name) for name in ("first", "second", "third"))
    folder = first.local(url)
    write(folder, a_txt="a", deep__er__b_txt="b" * 10_000_000, empty="", _hidden="no")
    first.send(folder)
    others = [mirror.local(url) for mirror in (second, third)]
    for mirror, other in zip((second, third), others, strict=True):
        mirror.fetch(other)
        assert read(other) == {"a.txt": "a", "deep/er/b.txt": "b" * 10_000_000, "empty": ""}
    sent = times(folder)
    del sent[".hidden"]
    assert times(others[0]) == times(others[1]) == sent

    # What is the same is neither sent nor fetched again.
    inodes = [path.stat().st_ino for path in sorted(Path(others[0]).rglob("*"))]
    first.send(folder)
    second.fetch(others[0])
    assert [path.stat().st_ino for path in sorted(Path(others[0]).rglob("*"))] == inodes
    assert times(others[0]) == times(others[1])
    time.sleep(1)  # stores' clocks go by seconds
    write(others[1], a_txt="c")  # of the same size
    third.send(others[1])
    second.fetch(others[0])
    assert read(others[0])["a.txt"] == "c"

    fourth = pod("fourth")
    there = fourth.local(url)
    fourth.fetch(there, only="*/b.txt")
    fourth.fetch(f"{there}/empty")
    fourth.fetch(f"{there}/nothing")
    assert sorted(read(there)) == ["deep/er/b.txt", "empty"]
    fourth.remove(f"{there}/deep")
    assert sorted(fourth.names(there)) == ["a.txt", "empty"]
    assert fourth.shown(f"see {there}/empty, not {there}") == f"see {url}/empty, not {url}"


def killed_while_it_sends(
    how: str, url: str, mirror: Mirror, store: tuple[str, dict[str, str]], until: Callable[[], bool]
) -> None:
    """Sends in another process, which is killed there: the pipe gives it nothing to read."""
    pipe = Path(mirror.local(url), "pipe")
    os.mkfifo(pipe)
    base = pipe
    while base.name not in ("gcs", "s3"):
        base = base.parent
    environment = {**os.environ, **store[1], FOLDER_VARIABLE: str(base.parent), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", SENDS, how, url], env=environment)
    deadline = time.monotonic() + 60
    while not until():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    pipe.unlink()


def test_a_version_that_was_half_sent_is_none(
    url: str,
    pod: Callable[[str], Mirror],
    store: tuple[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = pod("first"), pod("second")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "second"))
    folder = first.local(url)
    write(folder, saved_model_pb="whole", variables__variables_index="i")
    os.rename(f"{folder}/saved.model.pb", f"{folder}/saved_model.pb")
    serving = os.path.dirname(first.local(f"{url}/1"))
    version = Path(serving, "1")
    version.mkdir()
    for name in ("saved_model.pb", "variables"):
        os.rename(f"{folder}/{name}", version / name)
    write(version, fingerprint_pb="f")
    killed_while_it_sends("send", url, first, store, lambda: len(second.names(second.local(url))) == 2)
    there = second.local(url)
    assert sorted(second.names(there)) == ["1/fingerprint.pb", "1/variables/variables.index"]
    files = NodeFiles(second, second.local(f"{url}/root"), {}, there)
    files.before("Pusher")
    assert not os.path.exists(f"{there}/1")

    first.send(folder)
    files.before("Pusher")
    assert read(there) == {"1/fingerprint.pb": "f", "1/saved_model.pb": "whole"}
    # A Pusher that is tried again finds its own model.
    write(tmp_path / "model", fingerprint_pb="f")
    (tmp_path / "model" / "saved_model.pb").write_text("whole")
    assert push(str(tmp_path / "model"), there, version=2) == f"{there}/1"
    second.fetch(there)
    assert sorted(read(there)) == [
        "1/fingerprint.pb",
        "1/saved_model.pb",
        "1/variables/variables.index",
        "pushes/1.json",
    ]


def model(folder: Path, fingerprint: str) -> str:
    """Write what marks a SavedModel as Mirante's, and its weights."""
    write(folder, fingerprint_pb=fingerprint, assets_extra="", variables__variables_index="i")
    (folder / "assets.extra").unlink()
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "labels.txt").write_text("cat\ndog\n")
    (folder / "saved_model.pb").write_text("graph")
    return str(folder)


def test_versions_of_a_bucket_are_recorded_compared_with_and_taken_back(
    url: str, pod: Callable[[str], Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model(tmp_path / "model", "f")

    def pushes(name: str, version: int) -> tuple[Mirror, str]:
        """A task of the Pusher, in a pod of its own."""
        mirror = pod(name)
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / name))
        there = mirror.local(f"{url}/serving")
        files = NodeFiles(mirror, mirror.local(f"{url}/root"), {}, there)
        files.before("Pusher")
        with files.executing("Pusher", [], []):
            push(made, there, version)
        return mirror, there

    first, there = pushes("first", 17)
    assert {"17/saved_model.pb", "pushes/17.json"} <= set(first.names(there))
    second, there = pushes("second", 18)
    assert "18/saved_model.pb" not in second.names(there)

    # A task of the Resolver sees it, and that of the Evaluator has all of it.
    files = NodeFiles(second, second.local(f"{url}/root"), {}, there)
    files.before("Resolver")
    (served,) = serving_folder.find_served_models(there)
    assert (served.version, served.class_names) == (17, ("cat", "dog"))
    third = pod("third")
    files = NodeFiles(third, third.local(f"{url}/root"), {}, third.local(f"{url}/serving"))
    uri = import_folder(imports_folder(third.local(f"{url}/root")), served)
    with files.executing("Evaluator", [uri], []):
        assert read(f"{uri}/Format-Serving") == read(made)

    # Removed in the bucket: nothing of it is left here, but the record, so that it stays back.
    second.remove(f"{there}/17")
    with pytest.raises(TakenBackError):
        pushes("second", 18)
    assert not os.path.exists(f"{there}/17")
    second.remove(f"{there}/pushes/17.json")
    second, there = pushes("second", 17)
    assert "17/saved_model.pb" in second.names(there)

    check_can_push(second, there)
    assert sorted({name.partition("/")[0] for name in second.names(there)}) == ["17", "pushes"]
    assert [name for name in second.names(there) if name.startswith("pushes")] == ["pushes/17.json"]


def test_two_pushes_of_one_version_to_a_bucket_are_noticed(
    url: str, pod: Callable[[str], Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    for name in ("first", "second"):
        mirror = pod(name)
        files = NodeFiles(mirror, mirror.local(f"{url}/root"), {}, mirror.local(f"{url}/serving"))
        files.before("Pusher")
        started.append((name, mirror, files))
    for name, mirror, files in started:
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / name))
        there = mirror.local(f"{url}/serving")
        expected = (
            contextlib.nullcontext()
            if name == "first"
            else pytest.raises(MiranteError, match="another run pushed version 17 at the same time")
        )
        with expected, files.executing("Pusher", [], []):
            push(model(tmp_path / f"model-{name}", name), there, 17)
    assert Path(started[0][1].local(f"{url}/serving"), "17", "fingerprint.pb").read_text() == "first"


def test_data_that_was_half_replaced_is_not_taken(
    url: str, pod: Callable[[str], Mirror], store: tuple[str, dict[str, str]]
) -> None:
    first, second = pod("first"), pod("second")
    folder, there = first.local(url), second.local(url)
    write(folder, manifest_json="1", train="old", eval="old", of_former_shards="x")
    first.replace(folder)
    second.fetch(there, unless_missing="manifest.json")
    assert len(read(there)) == 4
    before = times(folder)

    write(folder, manifest_json="2", train="new")
    Path(folder, "of.former.shards").unlink()
    names = lambda: set(second.names(there))  # noqa: E731
    killed_while_it_sends("replace", url, first, store, lambda: "manifest.json" not in names())
    third = pod("third")
    third.fetch(third.local(url), unless_missing="manifest.json")
    assert not os.path.exists(f"{third.local(url)}/train")

    first.replace(folder)
    third.fetch(third.local(url), unless_missing="manifest.json")
    assert read(third.local(url)) == {"eval": "old", "manifest.json": "2", "train": "new"}
    assert times(folder)["eval"] == before["eval"]  # not sent again
    # Nothing to do: nothing is withdrawn, no time changes.
    now = times(third.local(url))
    third.replace(third.local(url))
    assert times(third.local(url)) == now


def test_checkpoints_are_whole_in_the_bucket_while_they_come_and_go(
    url: str, pod: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_LOOK_SECS", 0.01)
    trains, looks = pod("trains"), pod("looks")
    folder, there = trains.local(url), looks.local(url)
    seen = set()

    def save(number: int) -> None:
        for part in ("data", "index"):
            Path(folder, "run", f"ckpt-{number}.{part}").write_text(f"{number}" * 100_000)
        sign = Path(folder, "run", ".checkpoint")
        sign.write_text(f"ckpt-{number}")
        sign.replace(sign.with_name("checkpoint"))
        for part in ("data", "index"):
            Path(folder, "run", f"ckpt-{number - 2}.{part}").unlink(missing_ok=True)

    def latest_there() -> str:
        path = Path(there, "run", "checkpoint")
        path.unlink(missing_ok=True)
        looks.fetch(str(path))
        return path.read_text()

    class KilledError(Exception):
        pass

    with pytest.raises(KilledError), trains.following(folder):  # noqa: PT012 - the killed body
        Path(folder, "run").mkdir(parents=True)
        # As many as it takes for the thread to send a few of them, on a busy machine too.
        for number in range(100, 1000):
            save(number)
            time.sleep(0.05)
            if "run/checkpoint" in looks.names(there):
                latest = latest_there()
                whole = {f"run/{latest}.{part}" for part in ("data", "index")} <= set(looks.names(there))
                assert whole or latest_there() != latest
                seen.add(latest)
            if number > 120 and len(seen) > 2:
                break
        raise KilledError
    assert len(seen) > 2
    fresh = pod("fresh")
    with fresh.following(fresh.local(url)):
        assert read(fresh.local(url)) == read(folder)
        assert sorted(read(folder))[0] == "run/checkpoint"
        assert Path(fresh.local(url), "run", "checkpoint").read_text() == f"ckpt-{number}"
        assert len(read(folder)) == 5
        for path in Path(fresh.local(url), "run").iterdir():
            path.unlink()
    assert looks.names(there) == []


def test_what_a_recipe_names_in_buckets_has_a_local_path(url: str, pod: Callable[[str], Mirror]) -> None:
    sends, ingests = pod("sends"), pod("ingests")
    folder = sends.local(url)
    write(folder, weights_h5="w", model__ckpt_index="i", model__ckpt_data="d", model__other="o")
    sends.send(folder)
    values = {
        "data": {"path": f"{url}/photos", "label_map": None},
        "model": {"weights": f"{url}/weights.h5"},
        "training": {"warm_start": {"from": f"{url}/model/ckpt"}},
        "push": {"destination": "/a/volume"},
    }
    weights = take_weights(values, ingests)
    there = ingests.local(url)
    assert values == {
        "data": {"path": f"{there}/photos", "label_map": None},
        "model": {"weights": f"{there}/weights.h5"},
        "training": {"warm_start": {"from": f"{there}/model/ckpt"}},
        "push": {"destination": "/a/volume"},
    }
    assert sorted(weights) == [
        f"{there}/{name}" for name in ("model/ckpt.data", "model/ckpt.index", "weights.h5")
    ]
    assert sorted(read(there)) == ["model/ckpt.data", "model/ckpt.index", "weights.h5"]
    with pytest.raises(UsageError, match=r"^model.weights: http://host/w.h5: expected a folder, gs://"):
        take_weights({"model": {"weights": "http://host/w.h5"}}, ingests)


def test_each_run_takes_the_newest_span_of_a_bucket(
    url: str,
    store: tuple[str, dict[str, str]],
    pod: Callable[[str], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in store[1].items():
        monkeypatch.setenv(name, value)
    sends = pod("sends")
    there = Path(sends.local(url))

    def arrives(span: str) -> None:
        shutil.copytree(write_photos(tmp_path / "made"), there / "photos" / span)
        sends.send(str(there / "photos"))

    def ingest(run: str) -> tuple[str, list[str]]:
        """Return what Ingest says on an empty disk, and the folders of photos that are there then."""
        shutil.rmtree(tmp_path / "disk", ignore_errors=True)
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "disk"))
        recipe = load_recipe("folder", ["model.weights=null", "training.fine_tune_epochs=0"], elsewhere=True)
        overrides = {"data.path": f"{url}/photos/span-{{SPAN}}"}
        values = recipe.model_dump()
        # A store each: in one, the root would be in use by the run before, which has not ended.
        values["kubeflow"]["metadata"]["path"] = str(tmp_path / f"{run}.sqlite")
        page = tmp_path / f"{run}.html"
        task.ingest(json.dumps(values), {}, overrides, f"{url}/root", run, SimpleNamespace(path=str(page)))
        photos = pod("disk").local(f"{url}/photos")
        return text_of(page.read_text()), [path.parent.name for path in Path(photos).glob("*/cats")]

    def ingested() -> set[str]:
        return {name.split("/")[0] for name in sends.names(str(there / "root" / "data"))}

    arrives("span-9")
    arrives("span-10")
    said, photos = ingest("first")
    assert "span 10" in said
    assert (photos, ingested()) == (["span-10"], {"span-10"})
    data = object_store.Bucket(store[0], BUCKET, store[1]).stored(f"{there.name}/root/data")
    assert ingest("second")[1] == ["span-10"]
    # Not written again: ImportExampleGen's cache goes by their times.
    assert object_store.Bucket(store[0], BUCKET, store[1]).stored(f"{there.name}/root/data") == data
    arrives("span-11")
    said, photos = ingest("third")
    assert "span 11" in said
    assert (photos, ingested()) == (["span-11"], {"span-11"})


def test_a_list_of_a_bucket_has_its_images_beside_it(url: str, pod: Callable[[str], Mirror]) -> None:
    sends, ingests = pod("sends"), pod("ingests")
    write(sends.local(url), photos__list_csv="a.jpg,cat", photos__a_jpg="a", other__b_jpg="b")
    sends.send(sends.local(url))
    there = ingests.local(url)
    listed = IngestConfig(source="csv", path=f"{there}/photos/list.csv")
    fetch_raw(ingests, listed)
    assert sorted(read(there)) == ["photos/a.jpg", "photos/list.csv"]
    fetch_raw(ingests, listed.model_copy(update={"images": f"{there}/other"}))
    assert sorted(read(there)) == ["other/b.jpg", "photos/a.jpg", "photos/list.csv"]


def test_mirante_ingest_fetches_a_list_with_its_images(
    store: tuple[str, dict[str, str]],
    url: str,
    pod: Callable[[str], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**store[1], FOLDER_VARIABLE: str(tmp_path / "here")}.items():
        monkeypatch.setenv(name, value)
    sends = pod("sends")
    files = {
        "set__list_tsv": "",
        "set__a_jpg": "",
        "coco__annotations__all_json": "",
        "coco__images__b_jpg": "",
    }
    write(sends.local(url), **files)
    sends.send(sends.local(url))

    def fetched(path: str, source: str, *, is_alone: bool = False) -> list[str]:
        """Return what is below the folder of the test when a file has been fetched to an empty disk."""
        shutil.rmtree(tmp_path / "here", ignore_errors=True)
        local = IngestCopies().fetch_input(f"{url}/{path}", source, is_alone=is_alone)
        assert local.is_file()
        return sorted(read(str(local).removesuffix(f"/{path}")))

    assert fetched("set/list.tsv", "csv") == ["set/a.jpg", "set/list.tsv"]
    assert fetched("set/list.tsv", "csv", is_alone=True) == ["set/list.tsv"]
    assert fetched("coco/annotations/all.json", "coco") == ["coco/annotations/all.json", "coco/images/b.jpg"]


def test_what_a_bucket_lacks_is_removed_from_an_exact_copy(
    url: str, pod: Callable[[str], Mirror], tmp_path: Path
) -> None:
    sends, reads = pod("sends"), pod("reads")
    there, here = Path(sends.local(url)), Path(reads.local(url))
    write(
        there,
        set__cats__1_jpg="1",
        set__cats__2_jpg="2",
        set__birds="a file",
        set__old__3_jpg="3",
        list_csv="",
    )
    sends.send(str(there))
    reads.fetch(str(here))
    write(here / "set", _ingest__index="", cats___hidden="")
    write(tmp_path / "elsewhere", kept="")
    (here / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (there / "set" / "dogs").mkdir()
    (there / "set" / "cats" / "1.jpg").rename(there / "set" / "dogs" / "1.jpg")
    shutil.rmtree(there / "set" / "old")
    (there / "set" / "birds").unlink()
    sends.remove(str(there / "set" / "birds"))
    write(there, set__birds__4_jpg="4")
    sends.replace(str(there / "set"))
    before = read(str(here))
    reads.fetch(str(here / "set"), unless_missing="manifest.json", exact=True)
    assert read(str(here)) == before
    reads.fetch(str(here / "set"), exact=True)
    assert set(read(str(here / "set"))) == {
        *(".ingest/index", "birds/4.jpg", "cats/.hidden", "cats/2.jpg", "dogs/1.jpg")
    }
    assert not (here / "set" / "old").exists()
    assert (here / "list.csv").exists()
    sends.remove(str(there / "list.csv"))
    reads.fetch(str(here / "list.csv"), exact=True)
    assert not (here / "list.csv").exists()
    # A folder that is a link leads out of the copies.
    reads.fetch(str(here / "set" / "linked"), exact=True)
    assert read(str(tmp_path / "elsewhere")) == {"kept": ""}


def test_a_span_that_a_bucket_lacks_is_not_taken(url: str, pod: Callable[[str], Mirror]) -> None:
    sends, ingests = pod("sends"), pod("ingests")
    there, here = Path(sends.local(url)), Path(ingests.local(url))
    config = IngestConfig(source="folder", path=f"{here}/span-{{SPAN}}")
    write(there, **{"span-1__cats__1_jpg": "1", "span-2__cats__2_jpg": "2", "more__a_txt": "a"})
    sends.send(str(there))
    fetch_raw(ingests, config)
    assert (here / "span-2" / "cats" / "2.jpg").exists()
    write(here, **{"span-2___ingest__index": "", "other__b_txt": "b"})
    sends.remove(str(there / "span-2"))
    fetch_raw(ingests, config)
    assert find_span(str(config.path)).number == 1
    assert set(read(str(here))) == {"other/b.txt", "span-1/cats/1.jpg"}


def test_errors_name_the_address_and_what_to_do(
    store: tuple[str, dict[str, str]],
    pod: Callable[[str], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_store, "_RETRY_SECS", 3)
    scheme, environment = store
    mirror = pod("pod")
    path = mirror.local(f"{scheme}://no-such-bucket/folder")
    with pytest.raises(
        MiranteError, match=f"^{scheme}://no-such-bucket/folder: there is no bucket no-such-buck"
    ):
        mirror.fetch(path)
    Path(path).mkdir(parents=True)
    Path(path, "file").touch()
    with pytest.raises(MiranteError, match=f"^{scheme}://no-such-bucket/folder.*there is no bucket"):
        mirror.send(path)
    if scheme == "s3":
        denied = Mirror({**environment, **STRANGER, FOLDER_VARIABLE: str(tmp_path / "denied")})
        with pytest.raises(
            MiranteError,
            match=rf"^s3://{BUCKET}/unresolved/not found: access is denied .*AWS_SECRET_ACCESS_KEY",
        ):
            denied.fetch(denied.local(f"s3://{BUCKET}/unresolved/not found"))
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}
    unreachable = Mirror({**environment, **away, FOLDER_VARIABLE: str(tmp_path / "away")})
    began = time.monotonic()
    with pytest.raises(MiranteError, match=rf"^{scheme}://{BUCKET}/a: the object store does not answer"):
        unreachable.fetch(unreachable.local(f"{scheme}://{BUCKET}/a"))
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("inline_workers")
def test_ingest_reads_and_writes_buckets_and_a_run_takes_its_data_from_one(
    store: tuple[str, dict[str, str]], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**store[1], "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    write_photos(tmp_path, images=20)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    far = Mirror({**store[1], FOLDER_VARIABLE: str(tmp_path / "far")})
    raw = far.local(f"{url}/photos")
    shutil.copytree(tmp_path / "photos", raw)
    far.send(raw)
    arguments = ["folder", f"{url}/photos", f"{url}/data", "--max-reject-share", "0.5", "--json"]
    done = CliRunner().invoke(ingest, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output.splitlines()[-1])
    assert told["rejects_file"] == f"{url}/data/rejects.csv"
    ingested = far.local(f"{url}/data")
    far.fetch(ingested)
    assert published_completely(Path(ingested))
    assert sum(split["images"] for split in told["splits"].values()) == 40
    # Fetched, and found unchanged, with the copies gone.
    shutil.rmtree(tmp_path / "cache")
    again = CliRunner().invoke(ingest, arguments[:-1])
    assert f"{url}/data: unchanged, nothing to do" in again.output
    # Shards of an earlier ingest of this machine, which another machine has replaced since.
    stale = next((tmp_path / "cache").glob(f"**/{Path(ingested).name}")) / "train-00000-of-00009.gz"
    stale.touch()
    again = CliRunner().invoke(ingest, arguments[:-1])
    assert f"{url}/data: unchanged, nothing to do" in again.output
    assert stale.name not in far.names(ingested)
    # An image has moved to another class.
    moved = next(Path(raw, "cats").iterdir())
    moved.rename(Path(raw, "dogs", f"moved-{moved.name}"))
    far.replace(raw)
    done = CliRunner().invoke(ingest, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output.splitlines()[-1])
    assert sum(split["images"] for split in told["splits"].values()) == 40
    loaded, _ = load_run("folder", ["model.weights=null"], f"{url}/data", tmp_path / "root")
    assert published_completely(Path(loaded.data.path or ""))
    # Workers on other machines do not see this copy.
    far_workers = "{engine: spark, endpoint: 'h:1', environment: process, worker_command: /boot}"
    for group, path in (("examples", f"{url}/data"), ("ingest", f"{url}/photos")):
        given = [f"beam.nodes={{{group}: {far_workers}}}", "model.weights=null"]
        with pytest.raises(
            UsageError, match=rf"beam\.nodes\.{group}\.engine: .* copies of {path}; set MIRANTE"
        ):
            load_run("folder", given, path, tmp_path / "root")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "shared"))
    assert load_run("folder", given, path, tmp_path / "root")[0].beam.of("ingest").engine == "spark"
    with pytest.raises(UsageError, match=r"data.window_spans: expected 1 with .* in a bucket"):
        load_run(
            "folder", ["data.window_spans=2", "model.weights=null"], f"{url}/{{SPAN}}", tmp_path / "root"
        )
