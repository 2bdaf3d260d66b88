"""Every task answers what every step asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.base.task import TASKS, part, task_named

if TYPE_CHECKING:
    # mypy compares the functions of these modules with the steps' protocols.
    from components.data_gate.protocol import TaskDataGate
    from components.tasks.classification import data_gate as classification_data_gate
    from components.tasks.detection import data_gate as detection_data_gate

    DATA_GATES: list[TaskDataGate] = [classification_data_gate, detection_data_gate]

# By step: what the step asks of the task's module.
STEPS = {"data_gate": ("FACTS", "FEATURE", "PICTURE", "Facts", "problem", "picture")}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_answers_a_step(task: str, step: str) -> None:
    assert task_named(task).name == task
    module = part(task, step)
    assert [name for name in STEPS[step] if not hasattr(module, name)] == []
