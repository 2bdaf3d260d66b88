"""Buckets as folders: the containers of Vertex AI find gs://bucket/file at /gcs/bucket/file."""

from __future__ import annotations

import os

SCHEME = "gs://"
# The folder that holds gcs/ and s3/; the root of the file system where it is not set.
FOLDER_VARIABLE = "MIRANTE_BUCKETS"


def mount() -> str:
    """The folder of all buckets of Google Cloud Storage, with a slash at its end."""
    return os.path.join(os.environ.get(FOLDER_VARIABLE) or "/", "gcs", "")


def is_remote(path: str) -> bool:
    """Whether a path is an object's address, such as gs://bucket/file."""
    return "://" in path


def is_in_bucket(path: str) -> bool:
    """Whether a path is an object's, by its address, its mount or its copy: nothing there can be renamed."""
    base = os.environ.get(FOLDER_VARIABLE) or "/"
    return is_remote(path) or path.startswith(tuple(os.path.join(base, kind, "") for kind in ("gcs", "s3")))
