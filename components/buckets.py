"""Buckets as folders: the containers of Vertex AI find gs://bucket/file at /gcs/bucket/file."""

from __future__ import annotations

import os

SCHEME = "gs://"
# For where Cloud Storage FUSE mounts the buckets elsewhere.
_VARIABLE = "MIRANTE_GCS_MOUNT"


def mount() -> str:
    """The folder of all buckets, with a slash at its end."""
    return os.environ.get(_VARIABLE, "/gcs").rstrip("/") + "/"


def is_in_bucket(path: str) -> bool:
    """Whether a path is an object's, by its address or below the mount: nothing there can be renamed."""
    return "://" in path or path.startswith(mount())
