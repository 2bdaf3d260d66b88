"""Runs one node of a compiled pipeline with TFX's portable launcher, in this process.

Every runner is a loop or a task around `NodeRunner.run`: same drivers, same cache, same lineage wherever.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Collection
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.dsl.io import fileio
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import execution_publish_utils, launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib

from components.base.outcome import Output
from pipeline.run import executions
from pipeline.run.cache_keys import relative_keys
from pipeline.run.executions import read_all_outputs
from pipeline.run.node_result import CACHED, COMPLETED, FAILED, NodeResult
from pipeline.run.unchanged import measure_files
from pipeline.storage.mirror import Mirror
from pipeline.storage.node_files import NodeFiles

_BEAM_SEED = 0
_RESOLVER = "tfx.dsl.components.common.resolver.Resolver"


class _Launcher(launcher.Launcher):
    """TFX's launcher, with the files of the node here while it executes."""

    files: NodeFiles
    anew: bool

    def _register_or_reuse_execution(
        self, metadata_handle: Any, contexts: Any, input_artifacts: Any = None, exec_properties: Any = None
    ) -> Any:
        """Take the node's last execution in this run, as TFX does, unless the node is to run anew.

        An execution that was put away keeps its outputs in ML Metadata: taken again, it had two of each.
        """
        found = execution_lib.get_executions_associated_with_all_contexts(metadata_handle, contexts)
        last = max(found, key=lambda execution: execution.id, default=None)
        put_away = (
            last is not None
            and last.last_known_state == executions.FAILED
            and read_all_outputs(metadata_handle.store, last.id)
        )
        if last is not None and not put_away and not self.anew:
            return last
        return execution_publish_utils.register_execution(
            metadata_handle,
            execution_type=self._pipeline_node.node_info.type,
            contexts=contexts,
            input_artifacts=input_artifacts,
            exec_properties=exec_properties,
        )

    def _run_executor(self, execution_info: Any) -> Any:
        inputs, outputs = (
            [artifact.uri for artifacts in channels.values() for artifact in artifacts]
            for channels in (execution_info.input_dict, execution_info.output_dict)
        )
        with self.files.executing(execution_info.pipeline_node.node_info.id, inputs, outputs):
            return super()._run_executor(execution_info)


class NodeRunner:
    """A compiled pipeline, ready to run its nodes one by one.

    Attributes:
        results: The results of the nodes that were run, by their ids.

    Args:
        intermediate: From `compile_pipeline`; TFX's `pipeline_pb2.Pipeline`.
        connection: The metadata store (`ml_metadata.proto.metadata_store_pb2.ConnectionConfig`).
        run_id: Identifies the run in ML Metadata.
        files: Copies each node's files from and to buckets; not needed when everything is on local disk.
    """

    def __init__(self, intermediate: Any, connection: Any, run_id: str, files: NodeFiles | None = None):
        self._ir = type(intermediate)()
        self._ir.CopyFrom(intermediate)
        runtime_parameter_utils.substitute_runtime_parameter(
            self._ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        self._run_id = run_id
        self._deployment = runner_utils.extract_local_deployment_config(self._ir)
        self._connection = connection
        self._root = self._ir.runtime_spec.pipeline_root.field_value.string_value
        self._files = files or NodeFiles(Mirror({}), self._root, {}, "")
        # In topological order.
        self._nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in self._ir.nodes}
        self.results: dict[str, NodeResult] = {}

    @property
    def node_ids(self) -> list[str]:
        """Return all nodes, each after those that it depends on."""
        return list(self._nodes)

    def clear_unfinished(self, only: Collection[str] | None = None) -> None:
        """Put away what a killed run left: its executions count as failed, and their files are removed.

        Args:
            only: The nodes whose executions in this run are put away, as when a task is retried. By default
                all nodes of all runs: safe only if nothing else uses the pipeline root.
        """
        with metadata.Metadata(self._connection) as handle:
            store = handle.store
            killed = [
                execution
                for execution in (store.get_executions() if only is None else self._executions(store, only))
                if execution.last_known_state in executions.UNFINISHED
            ]
            # The files first: if this is killed here, the next one finds the executions again.
            for node_id in self._nodes if only is None else only:
                node = os.path.join(self._root, node_id)
                system = os.path.join(node, ".system")
                places = [os.path.join(node, key) for key in self._nodes[node_id].outputs.outputs]
                left = [os.path.join(system, kind) for kind in _list_folder(system)]
                for execution in killed:
                    for place in (*places, *left):
                        _remove(os.path.join(place, str(execution.id)))
                    for place in places:
                        self._files.remove(os.path.join(place, str(execution.id)))
                for kind in ("driver_execution", "stateful_working_dir") if only is None else ():
                    for name in _list_folder(os.path.join(system, kind)):
                        _remove(os.path.join(system, kind, name))
            executions.put_away(store, killed)

    def _executions(self, store: Any, node_ids: Collection[str]) -> list[Any]:
        """Return the executions of nodes in this run."""
        return executions.find_executions(store, self._run_id, [self._nodes[node_id] for node_id in node_ids])

    def run(self, node_id: str, use_cache: bool = True) -> NodeResult:
        """Run a node whose upstream nodes have run. Never raises for what the node does.

        Where the pipeline was compiled without a cache, every node executes.

        Args:
            node_id: The node.
            use_cache: Whether an earlier result at equal inputs will do; without it the node executes, also
                when this run has a result of it already.
        """
        if not use_cache:
            self._forget(node_id)
        self.results[node_id] = self._run(node_id, use_cache)
        return self.results[node_id]

    def _forget(self, node_id: str) -> None:
        """Make a node's executions in this run count as failed, and their outputs as gone.

        TFX leaves a node alone that has succeeded, and hands on the outputs of all its executions in a run,
        whatever became of them. Runs before this one have read these outputs; no later one shall.
        """
        with metadata.Metadata(self._connection) as handle:
            found = self._executions(handle.store, [node_id])
            outputs = [artifact for e in found for _, artifact in read_all_outputs(handle.store, e.id)]
            for artifact in outputs:
                artifact.state = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
            if outputs:
                handle.store.put_artifacts(outputs)
            executions.put_away(handle.store, found)

    def _run(self, node_id: str, use_cache: bool) -> NodeResult:
        began = time.monotonic()
        # Beam draws the order of records by chance, and the order of sums decides their last bits. With this,
        # equal data and settings give an equal model.
        random.seed(_BEAM_SEED)
        node = self._nodes[node_id]
        node.execution_options.caching_options.enable_cache &= use_cache
        try:
            self._files.before(node_id)
            node_launcher = _Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(self._connection),
                pipeline_info=self._ir.pipeline_info,
                pipeline_runtime_spec=self._ir.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(self._deployment, node_id),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, node_id),
            )
            node_launcher.files = self._files
            node_launcher.anew = not use_cache
            with relative_keys(self._root):
                info = node_launcher.launch()
        except Exception as e:  # noqa: BLE001 - whatever a component raises is its result
            return NodeResult(FAILED, time.monotonic() - began, error=e)
        if info is None or info.execution_id is None:
            error = RuntimeError(f"{node_id} found no input: did an upstream node run under this root?")
            return NodeResult(FAILED, time.monotonic() - began, error=error)
        with metadata.Metadata(self._connection) as handle:
            store = handle.store
            (execution,) = store.get_executions_by_id([info.execution_id])
            if execution.last_known_state == executions.FAILED:
                # TFX's handler of resolvers logs an error and returns as if all were well.
                error = RuntimeError(f"{node_id}: its inputs could not be resolved")
                return NodeResult(FAILED, time.monotonic() - began, error=error)
            cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
            if node.node_info.type.name == _RESOLVER:
                cached = executions.is_resolved_as_before(store, node, execution)
            found = read_all_outputs(store, execution.id)
            damage = None
            # A bucket keeps checksums itself, and a task has copies of a few of its files only.
            if node.node_info.type.name != _RESOLVER and not self._files.are_copies:
                if cached:
                    damage = executions.find_damage(artifact for _, artifact in found)
                else:
                    executions.record_files(store, [artifact for _, artifact in found])
            outputs = {
                key: Output(artifact.uri, executions.read_properties(artifact)) for key, artifact in found
            }
        if cached and len(found) > len(outputs):
            # By releases that took an execution twice; every node that reads this one would fail.
            return self.run(node_id, use_cache=False)
        try:
            self._files.after({key: output.uri for key, output in outputs.items()})
        except Exception as e:  # noqa: BLE001 - as above
            return NodeResult(FAILED, time.monotonic() - began, error=e)
        measured = None
        if not self._files.are_copies:
            with contextlib.suppress(OSError):  # a file has just gone: a later run looks for itself
                measured = measure_files(outputs, Mirror({}))
        seconds = time.monotonic() - began
        return NodeResult(CACHED if cached else COMPLETED, seconds, outputs, damage=damage, files=measured)


def _list_folder(folder: str) -> list[str]:
    """Return what is in a folder; nothing where there is none. A path is never taken for a pattern."""
    return [name.rstrip("/") for name in fileio.listdir(folder)] if fileio.isdir(folder) else []


def _remove(path: str) -> None:
    if fileio.isdir(path):
        fileio.rmtree(path)
