"""Models in MLflow's registry: a LoggedModel for each version, and the alias `champion` for the served one.

The version of Mirante is a tag of MLflow's model version, `mirante.version`; MLflow counts its own from 1.
The registry is at MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI, with MLflow's own variables for user and
password.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base import files
from components.base.errors import MiranteError, UsageError
from components.base.extras import install_command
from components.base.redact import check_address, redact
from components.model_stores.address import Address
from components.model_stores.protocol import StoredVersion

ALIAS = "champion"
VERSION_TAG, DIGEST_TAG, TAKEN_BACK_TAG = "mirante.version", "mirante.sha256", "mirante.taken_back"
_EXPERIMENT = "mirante"
_SAVED_MODEL = "saved_model"


class MlflowStore:
    """One registered model of MLflow; see `components.model_stores.protocol.ModelStore`."""

    def __init__(self, address: Address):
        self._name = address.model

    def list_versions(self) -> list[StoredVersion]:
        """Return all versions that Mirante pushed, the highest first."""
        return [
            StoredVersion(number, entry.tags.get(DIGEST_TAG, ""), TAKEN_BACK_TAG in entry.tags)
            for number, entry in self._find().items()
        ]

    def find_served(self) -> int | None:
        """Return the version that has the alias."""
        with self._opened() as client:
            registered = _find_registered(client, self._name)
        entry = None if registered is None else registered.aliases.get(ALIAS)
        numbers = {str(found.version): number for number, found in self._find().items()}
        return numbers.get(str(entry))

    def add(self, folder: str, version: int, digest: str) -> None:
        """Log a SavedModel, register it, and give it the alias."""
        tags = {VERSION_TAG: str(version), DIGEST_TAG: digest}
        with self._opened() as client, tempfile.TemporaryDirectory() as temporary:
            if _find_registered(client, self._name) is None:
                client.create_registered_model(self._name)
            for path in files.list_below(folder):
                target = Path(temporary, _SAVED_MODEL, os.path.relpath(path, folder))
                target.parent.mkdir(parents=True, exist_ok=True)
                with files.open_binary(path) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
            logged = client.create_logged_model(_find_experiment(client), name=self._name, tags=tags)
            _describe(temporary, logged.model_id)
            client.log_model_artifacts(logged.model_id, temporary)
            client.finalize_logged_model(logged.model_id, "READY")
            entry = client.create_model_version(
                self._name, source=f"models:/{logged.model_id}", model_id=logged.model_id, tags=tags
            )
            client.set_registered_model_alias(self._name, ALIAS, entry.version)

    def fetch(self, version: int, folder: str) -> None:
        """Write a version's files into an empty folder."""
        from mlflow.artifacts import download_artifacts

        entry = self._find()[version]
        with self._opened() as client, tempfile.TemporaryDirectory() as temporary:
            source = client.get_model_version_download_uri(self._name, entry.version)
            fetched = download_artifacts(
                artifact_uri=f"{source}/{_SAVED_MODEL}", dst_path=temporary, tracking_uri=client.tracking_uri
            )
            shutil.copytree(fetched, folder, dirs_exist_ok=True)

    def serve(self, version: int) -> None:
        """Give a version the alias, and mark all higher ones as taken back."""
        found = self._find()
        with self._opened() as client:
            client.set_registered_model_alias(self._name, ALIAS, found[version].version)
            for number, entry in found.items():
                if number > version:
                    client.set_model_version_tag(self._name, entry.version, TAKEN_BACK_TAG, "true")
                elif number == version and TAKEN_BACK_TAG in entry.tags:
                    client.delete_model_version_tag(self._name, entry.version, TAKEN_BACK_TAG)

    def _find(self) -> dict[int, Any]:
        """Return MLflow's entries by Mirante's version, the highest first; of one version the newest."""
        with self._opened() as client:
            entries, token = [], None
            while token != "":
                page = client.search_model_versions(f"name = '{self._name}'", page_token=token)
                entries += page
                token = page.token or ""
        entries.sort(key=lambda entry: int(entry.version))
        found = {
            int(entry.tags[VERSION_TAG]): entry
            for entry in entries
            if entry.tags.get(VERSION_TAG, "").isdecimal() and entry.status == "READY"
        }
        return dict(sorted(found.items(), reverse=True))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as e:
            raise UsageError(
                f"models:/{self._name}: MLflow is not installed; install it: {install_command('mlflow')}"
            ) from e
        tracking = os.environ.get("MLFLOW_TRACKING_URI")
        registry = os.environ.get("MLFLOW_REGISTRY_URI") or tracking
        if not registry:
            raise UsageError(
                f"models:/{self._name}: expected the registry's address in MLFLOW_TRACKING_URI, got none; "
                "set it"
            )
        for name, uri in (("MLFLOW_TRACKING_URI", tracking), ("MLFLOW_REGISTRY_URI", registry)):
            check_address(name, uri or "")
        try:
            yield MlflowClient(tracking_uri=tracking or registry, registry_uri=registry)
        except (MlflowException, OSError) as e:
            said = redact(str(e)).partition("\n")[0]
            raise MiranteError(
                f"models:/{self._name}: MLflow at {redact(registry)} does not do it: {said}; check the "
                "address and the credentials"
            ) from e


def _find_registered(client: Any, name: str) -> Any:
    return next(iter(client.search_registered_models(f"name = '{name}'", max_results=1)), None)


def _find_experiment(client: Any) -> str:
    found = client.get_experiment_by_name(_EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    # Without a server MLflow would put artifacts into whatever is the working directory.
    uri, prefix = str(client.tracking_uri), "sqlite:///"
    database = Path(uri.removeprefix(prefix)).absolute()
    artifacts = (database.parent / "mlflow-artifacts").as_uri() if uri.startswith(prefix) else None
    return str(client.create_experiment(_EXPERIMENT, artifact_location=artifacts))


def _describe(folder: str, model_id: str) -> None:
    """Write the file MLmodel, by which `mlflow.tensorflow.load_model` knows what it is."""
    from mlflow.models import Model

    described = Model(model_id=model_id)
    described.add_flavor("tensorflow", saved_model_dir=_SAVED_MODEL, model_type="tf2-module", code=None)
    described.save(os.path.join(folder, "MLmodel"))
