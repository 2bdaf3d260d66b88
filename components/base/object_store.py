"""A bucket of Google Cloud Storage, or of S3 and what speaks it, through Arrow. No TensorFlow.

Credentials come from the environment as both services' own tools find them: workload identity, the variables
`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, `GOOGLE_APPLICATION_CREDENTIALS`, the machine's own role.
"""

import contextlib
import datetime
import functools
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.base.errors import MiranteError, UsageError
from components.base.paths import is_remote

# Of S3-compatible stores such as SeaweedFS or MinIO; the first one found holds.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# Of an emulator of Google Cloud Storage, as Google's own clients read it.
EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
_KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_CONNECT_SECS = 10
_REQUEST_SECS = 60
_RETRY_SECS = 15
_COPY_BYTES = 1 << 22
# What the two clients say, and Arrow hands on as text alone.
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket|bucket does not exist|NOT_FOUND|not found", re.I)
_DENIED = re.compile(
    r"ACCESS_DENIED|FORBIDDEN|PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|"
    r"SIGNATURE|UNRECOGNIZED_CLIENT|EXPIRED|OAuth2 access token|HTTP status 40[013]",
    re.I,
)
_UNREACHABLE = re.compile(r"NETWORK_CONNECTION|UNAVAILABLE|curlCode|CURL error|timed? ?out|resolve", re.I)


def parse_url(path: str) -> tuple[str, str, str] | None:
    """Return scheme, bucket and key of `gs://bucket/key` or `s3://bucket/key`; None if it is not a URL.

    Raises:
        UsageError: It is another kind of URL, or names no bucket.
    """
    if not is_remote(path):
        return None
    scheme, _, rest = path.partition("://")
    name, _, key = rest.partition("/")
    if scheme not in ("gs", "s3") or not name:
        raise UsageError(f"{path}: expected a folder, gs://BUCKET/FOLDER or s3://BUCKET/FOLDER")
    return scheme, name, key.strip("/")


class Bucket:
    """A bucket; nothing is asked of the service before the first call.

    Every method raises MiranteError, with the URL and what to do, when the bucket is not there, access is
    denied, or the service does not answer within half a minute or so.

    Args:
        scheme: gs or s3.
        name: The bucket's.
        environment: Has the endpoint of S3-compatible stores and of emulators.
    """

    def __init__(self, scheme: str, name: str, environment: Mapping[str, str]):
        self.url = f"{scheme}://{name}"
        self._scheme = scheme
        self._name = name
        self._environment = environment

    def stored(self, key: str) -> dict[str, int]:
        """Return when each object below a folder, or the one of that key, was written, in whole seconds.

        Sizes are not told: of what is called .gz SeaweedFS lists wrong ones.
        """
        from pyarrow import fs

        path = f"{self._name}/{key}".rstrip("/")
        with self._explained(key):
            found = [self._files.get_file_info(path)]
            if found[0].type != fs.FileType.File:
                selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
                found = self._files.get_file_info(selector)
        return {
            info.path.removeprefix(f"{self._name}/"): int(info.mtime.timestamp())
            for info in found
            if info.type == fs.FileType.File
        }

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a file, which is whole only when this returns."""
        with (
            self._explained(key),
            path.open("wb") as target,
            self._files.open_input_stream(f"{self._name}/{key}") as source,
        ):
            shutil.copyfileobj(source, target, _COPY_BYTES)

    def upload(self, content: Path | bytes, key: str) -> None:
        """Copy a file, or bytes, to an object, which appears whole or not at all."""
        with self._explained(key):
            target = self._files.open_output_stream(f"{self._name}/{key}")
            try:
                if isinstance(content, bytes):
                    target.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, target, _COPY_BYTES)
            except BaseException:
                # Arrow cannot give up an upload: what there is of it becomes an object.
                target.close()
                self._files.delete_file(f"{self._name}/{key}")
                raise
            target.close()

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with self._explained(key), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._name}/{key}")

    @functools.cached_property
    def _files(self) -> Any:
        """Arrow's file system; the bucket is there, as far as we may know."""
        from pyarrow import fs

        files = self._gcs() if self._scheme == "gs" else self._s3()
        try:
            missing = files.get_file_info(self._name).type == fs.FileType.NotFound
        except OSError as e:
            # Who may read and write objects need not be allowed to look at the bucket itself.
            if not _DENIED.search(str(e)):
                raise
            missing = False
        if missing:
            raise FileNotFoundError("NO_SUCH_BUCKET")
        return files

    def _gcs(self) -> Any:
        from pyarrow import fs

        limit = datetime.timedelta(seconds=_RETRY_SECS)
        emulator = self._environment.get(EMULATOR_VARIABLE)
        if not emulator:
            return fs.GcsFileSystem(retry_time_limit=limit)
        where = urlsplit(emulator if "://" in emulator else f"http://{emulator}")
        return fs.GcsFileSystem(
            anonymous=True, scheme=where.scheme, endpoint_override=where.netloc, retry_time_limit=limit
        )

    def _s3(self) -> Any:
        from pyarrow import fs

        options: dict[str, Any] = {"connect_timeout": _CONNECT_SECS, "request_timeout": _REQUEST_SECS}
        keys = [self._environment.get(name) for name in _KEY_VARIABLES]
        if keys[0] and keys[1]:
            options |= dict(zip(("access_key", "secret_key", "session_token"), keys, strict=True))
        region = _first(self._environment, _REGION_VARIABLES)
        endpoint = _first(self._environment, ENDPOINT_VARIABLES)
        if endpoint:
            where = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
            options |= {"scheme": where.scheme, "endpoint_override": where.netloc}
            region = region or "us-east-1"
        return fs.S3FileSystem(region=region or fs.resolve_s3_region(self._name), **options)

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Words what Arrow says; local files' errors pass as they are."""
        url = f"{self.url}/{key}"
        try:
            yield
        except (OSError, ValueError) as e:  # Arrow's of addresses is a ValueError
            # Not the words of a name: there are folders called expired and unresolved.
            said = str(e)
            for name in filter(None, (key, self._name)):
                said = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", "...", said)
            if getattr(e, "filename", None) is not None:
                raise
            if _UNREACHABLE.search(said) and not re.search("OAuth2", said):
                raise MiranteError(
                    f"{url}: the object store does not answer ({_shorten(said)}): {self._endpoint_hint()}"
                ) from e
            if _DENIED.search(said):
                raise MiranteError(
                    f"{url}: access is denied ({_shorten(said)}): {self._credentials_hint()}"
                ) from e
            if _NO_BUCKET.search(said):
                raise MiranteError(
                    f"{url}: there is no bucket {self._name}, or no such object: make the bucket, or correct "
                    f"the address. {self._endpoint_hint()}"
                ) from e
            raise MiranteError(f"{url}: {_shorten(said)}") from e

    def _endpoint_hint(self) -> str:
        is_gs = self._scheme == "gs"
        for variable in (EMULATOR_VARIABLE,) if is_gs else ENDPOINT_VARIABLES:
            if endpoint := self._environment.get(variable):
                # Without what may stand before the host: a password.
                shown = re.sub(r"(^|://)[^/]*@", r"\1", endpoint)
                return f"{variable} is {shown}; tasks on Kubeflow have it from kubeflow.defaults.env"
        if is_gs:
            return "it needs a way to storage.googleapis.com"
        return (
            f"it needs a way to AWS; for another store set {ENDPOINT_VARIABLES[-1]}, for tasks on Kubeflow "
            "by kubeflow.defaults.env"
        )

    def _credentials_hint(self) -> str:
        if self._scheme == "gs":
            return (
                "set GOOGLE_APPLICATION_CREDENTIALS, or log in, with an account that has the role "
                f"roles/storage.objectAdmin on {self.url}; for tasks on Kubeflow give it to "
                "kubeflow.service_account by workload identity"
            )
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for tasks on Kubeflow by "
            "kubeflow.defaults.secrets or a role of kubeflow.service_account; they must be allowed to list, "
            f"read, write and delete in {self.url}"
        )


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _shorten(said: str) -> str:
    """Return the part of a client's message that helps a user."""
    said = said.partition(" error_info=")[0].partition("\n")[0]
    said = re.sub(r"^.*AWS Error ", "", said)
    return said if len(said) <= 300 else f"{said[:300]} ..."
