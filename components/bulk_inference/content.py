"""Identifies the images of a user that the node asks about. Imports no TensorFlow for a folder on a disk."""

from pathlib import Path

from components.base.errors import UsageError
from components.bulk_inference.config import BulkInferenceConfig
from components.prediction.inputs import digest_input


def digest_images(config: BulkInferenceConfig | None, work: str) -> str:
    """Return a SHA-256 of the images; empty for a split, which is an artifact, or where none are asked about.

    Args:
        config: The recipe's part.
        work: The node's folder for its work so far, which remembers the digests of files.

    Raises:
        UsageError: There are no images.
    """
    if config is None or config.path is None:
        return ""
    digest = digest_input(config.path, Path(work, "digests.json"))
    if digest is None:
        raise UsageError(
            f"bulk_inference.input: expected images or TFRecord files, got none in {config.path}; check the "
            "path"
        )
    return digest
