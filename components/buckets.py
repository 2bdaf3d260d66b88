"""Buckets as folders: the containers of Vertex AI find gs://bucket/file at /gcs/bucket/file."""

from __future__ import annotations

import os

SCHEME = "gs://"
# The folder that holds gcs/ and s3/; the root of the file system where it is not set.
FOLDER_VARIABLE = "MIRANTE_BUCKETS"


def mount() -> str:
    """The folder of all buckets of Google Cloud Storage, with a slash at its end."""
    return os.path.join(os.environ.get(FOLDER_VARIABLE) or "/", "gcs", "")


def is_in_bucket(path: str) -> bool:
    """Whether a path is an object's, by its address or below the mount: nothing there can be renamed."""
    return "://" in path or path.startswith(mount())
