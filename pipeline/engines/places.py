"""Refuses engines that would not see the files of the nodes, or that the nodes would not find. No Beam."""

import os
from collections.abc import Collection, Iterator, Mapping

from components.base.errors import UsageError
from components.base.paths import is_remote
from pipeline.engines.config import DATAFLOW, SERVED, BeamConfig, EngineConfig
from pipeline.steps import ENGINE_GROUPS, INGEST


def check_this_machine(config: BeamConfig) -> None:
    """Refuse what nodes with files on a disk cannot do.

    Raises:
        UsageError: Names the key.
    """
    _refuse_dataflow(config)
    prism = config.prism_location
    if prism is not None and not os.access(prism, os.X_OK):
        raise UsageError(
            f"beam.prism_location: expected Prism's binary, got {prism}, which cannot be executed; build it "
            "(docs/engines.md)"
        )


def check_tasks(config: BeamConfig, root: str, images: Mapping[str, Collection[str]]) -> None:
    """Refuse what tasks of Kubeflow cannot do, each of which is a pod of its own.

    Args:
        config: The recipe's.
        root: The pipeline root.
        images: The images that a group of nodes reads, by its name (`Recipe.images`).

    Raises:
        UsageError: Names the key.
    """
    _refuse_dataflow(config)
    for key, engine in _list(config):
        if engine.engine == "prism" and engine.endpoint is not None:
            raise UsageError(
                f"{key}endpoint: expected none for prism in a task of Kubeflow, got {engine.endpoint}, which "
                "looks for the workers on its own machine; leave it out"
            )
        if engine.endpoint is not None and engine.has_near_workers:
            raise UsageError(
                f"{key}environment: expected docker, process or external in a task of Kubeflow, got "
                "loopback, whose workers the job server looks for on its own machine"
            )
        if not engine.has_near_workers and is_remote(root):
            raise UsageError(
                f"{key}engine: {engine.engine} has workers that do not see a task's copies of {root}; give "
                "kubeflow.pipeline_root on a volume that they mount too, or take prism or in_memory"
            )
    for group, paths in images.items():
        for path in filter(is_remote, paths):
            check_copies(config, group, path)


def check_copies(
    config: BeamConfig, group: str, path: str, remedy: str = "put the images on a volume that they mount too"
) -> None:
    """Refuse workers elsewhere for what was copied from a bucket to this machine.

    Args:
        config: The recipe's.
        group: The group of nodes that reads it.
        path: In the bucket.
        remedy: What to do, besides another engine.

    Raises:
        UsageError: Names the key.
    """
    # An ingest that is not named uses the processes of its machine.
    if config.of(group).has_near_workers or (group == INGEST.engine_group and group not in config.nodes):
        return
    raise UsageError(
        f"beam.nodes.{group}.engine: {config.of(group).engine} has workers that do not see this machine's "
        f"copies of {path}; {remedy}, or take in_memory or prism"
    )


def check_vertex(config: BeamConfig) -> None:
    """Refuse engines whose workers see neither the mounts nor the folders of Vertex AI's containers.

    Raises:
        UsageError: Names the key.
    """
    for key, engine in _list(config):
        if engine.engine in SERVED or engine.endpoint is not None:
            raise UsageError(
                f"{key}engine: expected in_memory, a prism without an endpoint, or dataflow on Vertex AI, "
                f"got {engine.engine}{' with an endpoint' if engine.engine == 'prism' else ''}"
            )


def _refuse_dataflow(config: BeamConfig) -> None:
    for key, engine in _list(config):
        if engine.engine == DATAFLOW:
            raise UsageError(
                f"{key}engine: dataflow reads buckets, and the nodes' files are on a disk; compile with "
                "--target vertex, or take another engine"
            )


def _list(config: BeamConfig) -> Iterator[tuple[str, EngineConfig]]:
    """Yield the engine of each group of nodes, after the beginning of its keys."""
    for group in ENGINE_GROUPS:
        yield f"beam.nodes.{group}." if group in config.nodes else "beam.", config.of(group)
