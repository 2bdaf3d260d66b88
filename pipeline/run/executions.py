"""Executions and their output artifacts in ML Metadata."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from components.base import output_files
from components.base.output_files import FILES, measure_outputs

FAILED = metadata_store_pb2.Execution.FAILED
UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)


def find_executions(store: Any, run_id: str, nodes: Collection[Any]) -> list[Any]:
    """Return the executions of nodes of a compiled pipeline in one run."""
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    if run is None:
        return []
    of_nodes = set()
    for node in nodes:
        context = store.get_context_by_type_and_name("node", name_context(node))
        if context is not None:
            of_nodes |= {execution.id for execution in store.get_executions_by_context(context.id)}
    return [execution for execution in store.get_executions_by_context(run.id) if execution.id in of_nodes]


def put_away(store: Any, executions: Sequence[Any]) -> None:
    """Make executions count as failed."""
    for execution in executions:
        execution.last_known_state = FAILED
    if executions:
        store.put_executions(executions)


def is_resolved_as_before(store: Any, node: Any, execution: Any) -> bool:
    """Return whether a Resolver, which executes nothing, gave what it gave the last time."""
    # The node's: all Resolvers have one type.
    context = store.get_context_by_type_and_name("node", name_context(node))
    former = [
        other.id
        for other in store.get_executions_by_context(context.id)
        if other.id < execution.id and other.last_known_state == metadata_store_pb2.Execution.COMPLETE
    ]
    if not former:
        return False
    return {key: artifact.id for key, artifact in read_outputs(store, max(former)).items()} == {
        key: artifact.id for key, artifact in read_outputs(store, execution.id).items()
    }


def name_context(node: Any) -> str:
    """Return the name of the context that all executions of a node share."""
    (name,) = (c.name.field_value.string_value for c in node.contexts.contexts if c.type.name == "node")
    return str(name)


def read_outputs(store: Any, execution_id: int) -> dict[str, Any]:
    """Return the output artifacts of an execution by channel name, one for each."""
    return dict(read_all_outputs(store, execution_id))


def read_all_outputs(store: Any, execution_id: int) -> list[tuple[str, Any]]:
    """Return the output artifacts of an execution with their channel names."""
    events = [
        event
        for event in store.get_events_by_execution_ids([execution_id])
        if event.type in (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT)
    ]
    artifacts = {
        artifact.id: artifact
        for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])
    }
    return [(event.path.steps[0].key, artifacts[event.artifact_id]) for event in events]


def record_files(store: Any, artifacts: Sequence[Any]) -> None:
    """Record what the files of new outputs are."""
    for artifact in artifacts:
        artifact.custom_properties[FILES].string_value = measure_outputs(artifact.uri)
    if artifacts:
        store.put_artifacts(artifacts)


def find_damage(artifacts: Iterable[Any]) -> str | None:
    """Describe a file of cached outputs that is not what was written; None if there is none."""
    for artifact in artifacts:
        if FILES in artifact.custom_properties:
            damage = output_files.find_damage(artifact.uri, artifact.custom_properties[FILES].string_value)
            if damage is not None:
                return damage
    return None


def read_properties(artifact: Any) -> dict[str, Any]:
    """Return the custom properties of an artifact, without the record of its files."""
    return {
        key: getattr(value, value.WhichOneof("value"))
        for key, value in artifact.custom_properties.items()
        if key != FILES and value.WhichOneof("value")
    }
