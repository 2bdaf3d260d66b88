"""Models in GridFS of a MongoDB: one file per version, a ZIP of the SavedModel.

The collection `models.files` has a document for each version: `filename` is the model's name, or the name
with `/taken-back` for a version that was taken back; `metadata` has the version and the digest of its files.
GridFS writes that document after all of a file's chunks, so that a version appears whole or not at all. A
reader without Mirante takes the file of the model's name with the highest `metadata.version`.

User and password are MIRANTE_MONGODB_USER and MIRANTE_MONGODB_PASSWORD, or in the files that the same names
with _FILE name.
"""

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from components.base import files
from components.base.errors import MiranteError
from components.base.redact import redact
from components.model_stores.address import Address
from components.model_stores.protocol import StoredVersion, read_credential

USER, PASSWORD = "MIRANTE_MONGODB_USER", "MIRANTE_MONGODB_PASSWORD"
BUCKET = "models"
_TAKEN_BACK = "/taken-back"
_TIMEOUT_MS = 10_000


class GridFsStore:
    """One model in GridFS; see `components.model_stores.protocol.ModelStore`."""

    def __init__(self, address: Address):
        self._address = address

    def list_versions(self) -> list[StoredVersion]:
        """Return all versions, the highest first."""
        with self._opened() as bucket:
            found = [*self._find(bucket)]
        return [
            StoredVersion(
                file.metadata["version"], file.metadata["sha256"], file.filename.endswith(_TAKEN_BACK)
            )
            for file in found
        ]

    def find_served(self) -> int | None:
        """Return the highest version that was not taken back."""
        return next((each.number for each in self.list_versions() if not each.is_taken_back), None)

    def add(self, folder: str, version: int, digest: str) -> None:
        """Add a SavedModel as a version."""
        metadata = {"version": version, "sha256": digest, "format": "zip of a TensorFlow SavedModel"}
        with tempfile.TemporaryFile() as packed:
            _pack(folder, packed)
            packed.seek(0)
            with self._opened() as bucket:
                bucket.upload_from_stream(self._address.model, packed, metadata=metadata)

    def fetch(self, version: int, folder: str) -> None:
        """Write a version's files into an empty folder."""
        with tempfile.TemporaryFile() as packed:
            with self._opened() as bucket:
                (file, *_) = (each for each in self._find(bucket) if each.metadata["version"] == version)
                bucket.download_to_stream(file._id, packed)
            try:
                with zipfile.ZipFile(packed) as archive:
                    archive.extractall(folder)
            except (zipfile.BadZipFile, zlib.error, EOFError) as e:
                raise MiranteError(f"{self._where}: version {version} is damaged: {e}; push it again") from e

    def serve(self, version: int) -> None:
        """Serve a version, and take all higher ones back."""
        with self._opened() as bucket:
            # The served one first: in between both are there, and the higher one is served as before.
            for file in sorted(self._find(bucket), key=lambda file: file.metadata["version"]):
                number = file.metadata["version"]
                name = self._address.model + (_TAKEN_BACK if number > version else "")
                if number >= version and file.filename != name:
                    bucket.rename(file._id, name)

    @property
    def _where(self) -> str:
        return redact(f"{self._address.server}{self._address.database}/{self._address.model}")

    def _find(self, bucket: Any) -> Iterator[Any]:
        names = [self._address.model, self._address.model + _TAKEN_BACK]
        found = bucket.find({"filename": {"$in": names}}).sort("metadata.version", -1)
        yield from (file for file in found if isinstance((file.metadata or {}).get("version"), int))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        import gridfs
        import pymongo
        from pymongo.errors import PyMongoError

        user, password = read_credential(USER), read_credential(PASSWORD)
        known: dict[str, Any] = {"username": user, "password": password} if user is not None else {}
        try:
            with pymongo.MongoClient(
                self._address.server, serverSelectionTimeoutMS=_TIMEOUT_MS, **known
            ) as client:
                yield gridfs.GridFSBucket(client[self._address.database], BUCKET)
        except (PyMongoError, gridfs.errors.GridFSError) as e:
            said = redact(str(e)).partition(", Timeout")[0]
            raise MiranteError(
                f"{self._where}: MongoDB does not do it: {said}; check the address, {USER} and {PASSWORD}"
            ) from e


def _pack(folder: str, packed: Any) -> None:
    """Write the files of a folder into a ZIP that is the same for the same files."""
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files.list_below(folder):
            info = zipfile.ZipInfo(os.path.relpath(path, folder))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with files.open_binary(path) as source, archive.open(info, "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
