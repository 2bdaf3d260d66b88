"""Downloads what a node reads from a bucket before it runs, and uploads what it wrote afterwards."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from components.base import files, serving_folder
from components.base.errors import MiranteError
from components.base.saved_model import ASSETS, FINGERPRINT_FILE, IDENTITY, MODEL_FILE
from components.base.serving_folder import RECORDS, list_versions, version_number
from components.resolver.baseline import link_served
from pipeline.steps import TRAINER, imports_folder, step_named
from pipeline.storage.mirror import Mirror

# The files that say which model it is and what it answers.
_BESIDE_MODELS = (f"*/{ASSETS}/*.txt", f"*/{FINGERPRINT_FILE}")
# Of an artifact without files, such as the Pusher's: a bucket has no folders, only files.
_EMPTY = "EMPTY"
# No page and no result shows what is in these.
_NOT_SHOWN = ("model", "base_model", "candidate", "best_model")


class NodeFiles:
    """The files of a pipeline's nodes.

    Args:
        mirror: The buckets.
        root: The pipeline root, its local path.
        reads: The files besides artifacts that each node reads; local paths.
        push_destination: Where the Pusher puts versions; a local path.
    """

    def __init__(self, mirror: Mirror, root: str, reads: Mapping[str, Sequence[str]], push_destination: str):
        self._mirror = mirror
        self._root = root
        self._reads = reads
        self._push_destination = push_destination
        self._taken: set[int | None] = set()

    @property
    def are_copies(self) -> bool:
        """Return whether the pipeline root is in a bucket."""
        return self._mirror.copies(self._root)

    def before(self, node_id: str) -> None:
        """Fetch what is looked at to tell whether a node has to execute."""
        self._make_folders(node_id)
        looks_at = step_named(node_id).looks_at
        if looks_at == "shards":  # their sizes and times
            self._fetch(self._reads.get(node_id, ()))
        if looks_at in ("models", "versions"):
            for only in _BESIDE_MODELS:
                self._mirror.fetch(os.path.join(self._root, TRAINER, "model"), only=only)
        if looks_at in ("models", "versions"):
            fetch_versions(self._mirror, self._push_destination)
        if looks_at == "versions":
            self._taken = self._list_numbers()

    @contextlib.contextmanager
    def executing(self, node_id: str, inputs: Sequence[str], outputs: Sequence[str]) -> Iterator[None]:
        """Fetch a node's inputs, and send its outputs before ML Metadata records that it succeeded.

        Args:
            node_id: The node.
            inputs: The local paths of its artifacts.
            outputs: Likewise; sent when the body has ended well.
        """
        step = step_named(node_id)
        self._fetch([*inputs, *self._reads.get(node_id, ())])
        for path in inputs:
            self._fetch_served(path)
        with contextlib.ExitStack() as stack:
            if step.keeps:
                folder = os.path.join(self._root, step.keeps)
                stack.enter_context(self._mirror.following(folder))
            yield
        try:
            for path in outputs:
                if self._mirror.copies(path) and not any(os.scandir(path)):
                    Path(path, _EMPTY).touch()
                self._mirror.send(path)
        except MiranteError:
            # The execution has failed, and nobody looks for what it has sent.
            for path in outputs:
                with contextlib.suppress(MiranteError):
                    self._mirror.remove(path)
            raise
        if step.is_pusher:
            self._send_version()

    def after(self, outputs: Mapping[str, str]) -> None:
        """Fetch the outputs that a node's page shows; those of a node that has just executed are here."""
        self._fetch(path for name, path in outputs.items() if name not in _NOT_SHOWN)

    def remove(self, path: str) -> None:
        """Remove what an execution that was killed has sent."""
        self._mirror.remove(path)

    def _fetch(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._mirror.fetch(path)

    def _list_numbers(self) -> set[int | None]:
        """Return the versions that the bucket has, or has a part of."""
        names = self._mirror.names(self._push_destination)
        return {version_number(name.partition("/")[0]) for name in names}

    def _send_version(self) -> None:
        """Send what was pushed; a bucket has no lock, so another run may have taken the same number."""
        new = self._list_numbers() - self._taken
        for version in new.intersection(list_versions(self._push_destination)):
            raise MiranteError(
                f"{self._push_destination}: another run pushed version {version} at the same time: run this "
                "one again"
            )
        self._mirror.send(self._push_destination)

    def _fetch_served(self, uri: str) -> None:
        """Fetch the served model that an artifact stands for, which a Resolver made in another task."""
        folder, name = os.path.split(uri)
        if folder == imports_folder(self._root) and self._mirror.copies(uri):
            path = os.path.join(self._push_destination, name.split("-")[1])
            self._mirror.fetch(path)
            link_served(uri, path)

    def _make_folders(self, node_id: str) -> None:
        """Make the folder of each artifact that the bucket has of a node: TFX's cache gives no other."""
        folder = os.path.join(self._root, node_id)
        for name in self._mirror.names(folder):
            channel, _, rest = name.partition("/")
            execution, slash, _ = rest.partition("/")
            if slash:
                Path(folder, channel, execution).mkdir(parents=True, exist_ok=True)


def fetch_versions(mirror: Mirror, push_destination: str) -> None:
    """Make the folder of each version, and fetches the records and what tells which models they are.

    One without its saved_model.pb is not a version: the process that was sending it was killed.
    """
    if not mirror.copies(push_destination):
        return
    names = mirror.names(push_destination)
    folders = {name.partition("/")[0] for name in names if name.endswith(f"/{MODEL_FILE}")}
    there = {number: folder for folder in folders if (number := version_number(folder)) is not None}
    for path in list_versions(push_destination).values():
        if os.path.basename(path) not in there.values():
            shutil.rmtree(path)  # removed in the bucket, or never whole there
    for record in Path(push_destination, RECORDS).glob("*.json"):
        if f"{RECORDS}/{record.name}" not in names:
            record.unlink()
    mirror.fetch(os.path.join(push_destination, RECORDS))
    for folder in there.values():
        Path(push_destination, folder).mkdir(parents=True, exist_ok=True)
        for name in IDENTITY:
            mirror.fetch(os.path.join(push_destination, folder, name))


def check_can_push(mirror: Mirror, push_destination: str) -> None:
    """Write a small file where versions will go, on a volume or in a bucket, and removes it.

    Raises:
        UsageError, MiranteError: It cannot be written.
    """
    serving_folder.check_can_push(push_destination)
    if mirror.copies(push_destination):
        probe = Path(push_destination, RECORDS, f"{uuid.uuid4().hex}.txt")
        files.write_text(str(probe), "mirante")
        mirror.send(str(probe))
        mirror.remove(str(probe))
        probe.unlink()
