"""The tasks of a package: which nodes share one, what it reads from others, and what it waits for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from components.base.errors import UsageError
from pipeline.recipe.recipe import Recipe
from pipeline.steps import INGEST, TRAINER, Artifact, Step, list_upstream, name_nodes, producer_of, step_named
from pipeline.targets.kubeflow.config import KubeflowConfig, TaskConfig


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of a package.

    Attributes:
        nodes: The steps that run in it, in turn; the first task's begin with Ingest.
        takes: The artifacts that it reads from other tasks.
        waits_for: The first nodes of the tasks that it waits for without reading from them.
        asks: What it asks of the cluster.
    """

    nodes: tuple[str, ...]
    takes: tuple[Artifact, ...]
    waits_for: tuple[str, ...]
    asks: TaskConfig

    @property
    def name(self) -> str:
        """Return the name that users see."""
        return name_nodes(self.nodes)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the rows of its nodes."""
        return tuple(INGEST if node == INGEST.id else step_named(node) for node in self.nodes)

    @property
    def pushes(self) -> bool:
        """Return whether the Pusher is one of its nodes."""
        return any(step.is_pusher for step in self.steps)


def plan_tasks(recipe: Recipe) -> list[Task]:
    """Return the tasks of a recipe, each after those that it waits for.

    Raises:
        UsageError: Nodes that are to share a task do not follow each other, or ask for different things.
    """
    config = recipe.kubeflow
    upstream = {INGEST.id: (), **list_upstream(recipe.optional_steps)}
    if config.together is None:
        groups = _group_by_default(config, tuple(upstream))
    else:
        groups = list(_group_as_asked(config.together, tuple(upstream)))
    tasks: list[Task] = []
    task_of: dict[str, Task] = {}
    # The tasks that have ended for certain when a task starts, by its first node.
    before: dict[str, set[str]] = {}
    for nodes in groups:
        steps = [INGEST if node == INGEST.id else step_named(node) for node in nodes]
        takes = dict.fromkeys(
            name
            for step in steps
            for name in step.takes
            if producer_of(name) in upstream and producer_of(name) not in nodes
        )
        read_from = {task_of[producer_of(name)].nodes[0] for name in takes}
        order = [task_of[up].nodes[0] for node in nodes for up in upstream[node] if up not in nodes]
        if tasks and not config.metadata.takes_parallel_tasks:
            order.append(tasks[-1].nodes[0])
        before[nodes[0]] = read_from.union(*(before[first] for first in read_from))
        waits_for = []
        # The latest first: it may have waited for the others itself.
        for first in sorted(order, key=list(before).index, reverse=True):
            if first not in before[nodes[0]]:
                waits_for.append(first)
                before[nodes[0]] |= {first, *before[first]}
        artifacts = tuple(map(_find_artifact, takes))
        task = Task(nodes, artifacts, tuple(waits_for), _join_asks(config, nodes))
        tasks.append(task)
        task_of.update(dict.fromkeys(nodes, task))
    return tasks


def _find_artifact(name: str) -> Artifact:
    producer = producer_of(name)
    step = INGEST if producer == INGEST.id else step_named(producer)
    return next(artifact for artifact in step.gives if artifact.name == name)


def _group_by_default(config: KubeflowConfig, order: Sequence[str]) -> list[tuple[str, ...]]:
    """Return few groups, since a task takes seconds to start.

    Kubeflow keeps the outputs of tasks that succeed. So a gate that fails its task begins a group: what it
    refuses is on the pages of nodes before it. Nodes that ask the cluster for different things do not share
    a task.
    """
    groups: list[list[str]] = []
    for node in order:
        last = groups[-1][-1] if groups else None
        # A training on several pods is long: meanwhile the UI has the pages of all nodes before it.
        alone = config.workers is not None and TRAINER in (node, last)
        starts = last is None or alone or (node != INGEST.id and _fails_its_task(step_named(node)))
        if starts or config.task(node) != config.task(str(last)):
            groups.append([node])
        else:
            groups[-1].append(node)
    return [tuple(group) for group in groups]


def _fails_its_task(step: Step) -> bool:
    """Return whether a node fails its task by what it refuses; the Pusher has a verdict instead."""
    return step.is_gate and not step.is_pusher


def _group_as_asked(together: Sequence[Sequence[str]], order: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the groups that a recipe gives, and all other nodes by themselves.

    Raises:
        UsageError: Nodes that are to share a task do not follow each other.
    """
    shared = {name: group for group in together for name in group}
    position = 0
    while position < len(order):
        group = tuple(name for name in shared.get(order[position], (order[position],)) if name in order)
        expected = tuple(order[position : position + len(group)])
        if set(group) != set(expected):
            raise UsageError(
                f"kubeflow.together: {', '.join(group)} do not follow each other: the nodes run as "
                f"{', '.join(order)}"
            )
        yield expected
        position += len(group)


def _join_asks(config: KubeflowConfig, nodes: Sequence[str]) -> TaskConfig:
    """Return what nodes that share a task ask for, where all that ask agree.

    Raises:
        UsageError: They say different things.
    """
    asked = {name: config.task(name) for name in nodes if name in config.tasks}
    different = [name for name, task in asked.items() if task != next(iter(asked.values()))]
    if different:
        raise UsageError(
            f"kubeflow.tasks: {next(iter(asked))} and {different[0]} share a task (kubeflow.together) and "
            "ask for different things: give them the same"
        )
    return next(iter(asked.values()), config.defaults)
