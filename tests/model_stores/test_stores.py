"""Stores of models: versions come whole, one is served, others can be served again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.base.errors import MiranteError, UsageError
from components.base.saved_model import CARD_FILES
from components.base.serving_folder import list_versions, measure_files, model_digest
from components.model_stores.address import Address, is_store, parse_address
from components.model_stores.protocol import StoredVersion, read_credential
from components.model_stores.store import (
    check_can_publish,
    fetch_served,
    follow_store,
    open_store,
    publish,
    roll_back,
    update_folder,
)
from pipeline.commands.main import main
from tests.make.graphs import Exported, Tiny
from tests.servers import free_port, running
from tests.serving_contract.test_conformance import start

pytest_plugins = ["tests.fixtures"]
pytestmark = pytest.mark.stack_free

GO_MODULE = Path(__file__).parent / "ferretdb"


@contextlib.contextmanager
def start_mongodb(folder: Path) -> Iterator[str]:
    """Run FerretDB, which speaks MongoDB's protocol; yield the address of a model in it."""
    if shutil.which("go") is None:
        pytest.fail("no MongoDB to start: FerretDB is built with Go, which is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mirante-tests")
    program = cache / "ferretdb-1.24.2"
    if not program.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "build", "-o", f"{program}.new", "."], cwd=GO_MODULE, check=True)
        Path(f"{program}.new").rename(program)
    port = free_port()
    (folder / "data").mkdir(parents=True)
    with running([str(program), f"127.0.0.1:{port}", str(folder / "data")], port, folder):
        yield f"mongodb://127.0.0.1:{port}/cifar/my-model"


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a model in a MongoDB, or what speaks like one."""
    with start_mongodb(tmp_path_factory.mktemp("mongodb")) as address:
        yield address


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a model in MLflow's registry, in a database of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    return "models:/my-model"


def make_model(folder: Path, content: str) -> str:
    """Write files that are laid out as a SavedModel."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(content)
    (folder / "variables" / "variables.index").write_bytes(b"\0\xff" * 1000)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "labels.txt").write_text("Katze\nH\u00fchnchen\n", encoding="utf-8")
    for name in CARD_FILES:
        (folder / name).write_text(f"card of {content}")
    return str(folder)


def check_store(address: str, folder: Path) -> None:
    """Push three versions, go back, fetch, and push again."""
    store = open_store(address)
    assert store.list_versions() == []
    assert store.find_served() is None
    with pytest.raises(UsageError, match="no model there; push one"):
        fetch_served(address, str(folder / "fetched"))
    models = {
        version: make_model(folder / f"model {version}", f"model {version}") for version in (3, 5, 1795361144)
    }
    files = {version: measure_files(path) for version, path in models.items()}
    digests = {version: model_digest(measured) for version, measured in files.items()}
    for version, path in models.items():
        assert publish(address, path, version, files[version])
        assert store.find_served() == version
    assert not publish(address, models[1795361144], 1795361144, files[1795361144])
    with pytest.raises(MiranteError, match="version 5 is another model there"):
        publish(address, models[3], 5, files[3])
    assert store.list_versions() == [
        StoredVersion(version, digests[version], False) for version in (1795361144, 5, 3)
    ]
    path = fetch_served(address, str(folder / "fetched"))
    assert path == str(folder / "fetched" / "1795361144")
    assert measure_files(path) == files[1795361144]
    assert {Path(path, name).read_text() for name in CARD_FILES} == {"card of model 1795361144"}

    assert roll_back(address) == (5, [1795361144])
    assert store.find_served() == 5
    assert store.list_versions()[0].is_taken_back
    assert Path(fetch_served(address, str(folder / "fetched")), "saved_model.pb").read_text() == "model 5"
    assert roll_back(address) == (3, [5])
    with pytest.raises(UsageError, match="got only version 3; train a better one"):
        roll_back(address)
    with pytest.raises(UsageError, match=r"--to 4: expected a version in .*; there are 1795361144, 5, 3"):
        roll_back(address, 4)
    assert roll_back(address, 5) == (5, [])
    assert [each.is_taken_back for each in store.list_versions()] == [True, False, False]
    # The folder of versions serves it again, so does the store.
    assert not publish(address, models[1795361144], 1795361144, files[1795361144])
    assert store.find_served() == 1795361144
    assert [each.is_taken_back for each in store.list_versions()] == [False, False, False]


@pytest.mark.slow
def test_mlflow(mlflow: str, tmp_path: Path) -> None:
    check_store(mlflow, tmp_path)
    from mlflow import MlflowClient

    client = MlflowClient()
    champion = client.get_model_version_by_alias("my-model", "champion")
    assert champion.tags["mirante.version"] == "1795361144"
    experiment = client.get_experiment_by_name("mirante")
    logged = client.search_logged_models([experiment.experiment_id])
    assert {(each.name, each.tags["mirante.version"]) for each in logged} == {
        ("my-model", version) for version in ("3", "5", "1795361144")
    }
    assert {str(each.status) for each in logged} == {"READY"}
    # An alias that was moved by hand is the served version.
    client.set_registered_model_alias("my-model", "champion", "1")
    assert open_store(mlflow).find_served() == 3


@pytest.mark.slow
def test_a_folder_follows_its_store(mlflow: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "served")
    with pytest.raises(UsageError, match="no model there"):
        update_folder(mlflow, folder)
    for version in (3, 5):
        model = make_model(tmp_path / str(version), f"model {version}")
        publish(mlflow, model, version, measure_files(model))
        assert update_folder(mlflow, folder) == version
        assert list(list_versions(folder)) == [version]
    stopped = follow_store(mlflow, folder, 0.05)
    roll_back(mlflow)
    deadline = time.monotonic() + 60
    while list(list_versions(folder)) != [3] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(list_versions(folder)) == [3]
    stopped.set()


@pytest.mark.services
def test_mongodb(mongodb: str, tmp_path: Path) -> None:
    check_store(mongodb, tmp_path)


@pytest.mark.services
def test_a_model_in_mongodb_is_asked_served_and_rolled_back(
    mongodb: str, export: Callable[[int], Exported], make_tiny: Callable[[int], Tiny], tmp_path: Path
) -> None:
    address, folder = mongodb.replace("my-model", "served"), str(export(3).folder)
    for version in (1, 2):
        publish(address, folder, version, measure_files(folder))
    image = tmp_path / "H\u00fchnchen.png"
    image.write_bytes(make_tiny(3).encoded[0])

    def ask(model: str) -> str:
        asked = CliRunner().invoke(main, ["predict", model, str(image), "--json"])
        assert asked.exit_code == 0, asked.output
        return asked.stdout

    assert ask(address) == ask(folder)
    with start([address], tmp_path / "server.log") as (_, rest):

        def wait_for(version: int) -> None:
            deadline, states = time.monotonic() + 60, []
            while time.monotonic() < deadline:
                with urllib.request.urlopen(f"http://{rest}/v1/models/default") as answer:
                    states = json.load(answer)["model_version_status"]
                if [each["version"] for each in states if each["state"] == "AVAILABLE"] == [str(version)]:
                    return
                time.sleep(0.1)
            pytest.fail(f"version {version} is not served: {states}")

        wait_for(2)
        told = CliRunner().invoke(main, ["rollback", address])
        assert (told.exit_code, told.stdout.splitlines()) == (
            0,
            [f"version 1 is served from {address}", "  version 2 is taken back"],
        )
        wait_for(1)


@pytest.mark.services
def test_mongodb_keeps_what_is_not_mirantes(mongodb: str, tmp_path: Path) -> None:
    import gridfs
    import pymongo

    with pymongo.MongoClient(mongodb.rpartition("/cifar/")[0]) as client:
        bucket = gridfs.GridFSBucket(client["cifar"], "models")
        bucket.upload_from_stream("other", b"another program's")
        bucket.upload_from_stream("other", b"damaged", metadata={"version": 4, "sha256": "?"})
    address = mongodb.replace("my-model", "other")
    assert [each.number for each in open_store(address).list_versions()] == [4]
    with pytest.raises(MiranteError, match="version 4 is damaged: File is not a zip file; push it again"):
        fetch_served(address, str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("models:/mnist", Address("mlflow", "mnist")),
        ("mongodb://db:27017/cifar/mnist", Address("mongodb", "mnist", "mongodb://db:27017/", "cifar")),
        (
            "mongodb+srv://db.example.org/models/cats.v2?tls=true",
            Address("mongodb", "cats.v2", "mongodb+srv://db.example.org/?tls=true", "models"),
        ),
        ("models:/mnist@champion", None),
        ("models:/a/b", None),
        ("models:/", None),
        ("mongodb://db/cifar", None),
        ("mongodb:///cifar/mnist", None),
        ("mongodb://db/cifar/../mnist", None),
        ("mongodb://db/cifar/K\u00e4se", None),
    ],
)
def test_addresses(address: str, parsed: Address | None) -> None:
    assert is_store(address)
    if parsed is not None:
        assert parse_address(address) == parsed
        return
    with pytest.raises(ValueError, match="expected mongodb://HOST/DATABASE/MODEL or models:/MODEL"):
        parse_address(address)
    with pytest.raises(UsageError, match="expected mongodb://HOST/DATABASE/MODEL"):
        open_store(address)


@pytest.mark.parametrize(
    "path", ["runs/digits", "gs://bucket/serving", "/models/mnist", "models", "./mongodb"]
)
def test_paths_are_no_stores(path: str) -> None:
    assert not is_store(path)


def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.model_stores.gridfs._TIMEOUT_MS", 100)
    monkeypatch.setenv("MIRANTE_MONGODB_USER", "someone")
    monkeypatch.setenv("MIRANTE_MONGODB_PASSWORD", "very-secret-word")
    address = f"mongodb://127.0.0.1:{free_port()}/cifar/mnist"
    with pytest.raises(MiranteError, match=r"MongoDB does not do it: .*; check the address") as raised:
        check_can_publish([address])
    assert "very-secret-word" not in str(raised.value)


def test_mlflow_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    with pytest.raises(UsageError, match="expected the registry's address in MLFLOW_TRACKING_URI, got none"):
        check_can_publish(["models:/mnist"])


def test_credentials_are_read_from_a_mounted_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_credential("MIRANTE_MONGODB_PASSWORD") is None
    (tmp_path / "password").write_text("from a file\n")
    monkeypatch.setenv("MIRANTE_MONGODB_PASSWORD_FILE", str(tmp_path / "password"))
    assert read_credential("MIRANTE_MONGODB_PASSWORD") == "from a file"
    monkeypatch.setenv("MIRANTE_MONGODB_PASSWORD", "direct")
    assert read_credential("MIRANTE_MONGODB_PASSWORD") == "direct"
    monkeypatch.delenv("MIRANTE_MONGODB_PASSWORD")
    monkeypatch.setenv("MIRANTE_MONGODB_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="MIRANTE_MONGODB_PASSWORD_FILE: expected a file with the value"):
        read_credential("MIRANTE_MONGODB_PASSWORD")
