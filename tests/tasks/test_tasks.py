"""Every task answers what every step asks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from components.base.task import TASKS, part, task_named
from components.data_gate.protocol import TaskDataGate
from components.evaluator.protocol import TaskEvaluator
from components.exporter.protocol import TaskExport
from components.infra_validator.protocol import TaskAnswers
from components.pages.protocol import TaskPage
from components.trainer.trainee import TaskTrainer
from components.transform.preprocessing import TaskTransform
from pipeline.inspection.protocol import TaskInspection
from pipeline.recipe.rules import TaskRecipe

if TYPE_CHECKING:
    # mypy compares the functions of these modules with the steps' protocols.
    from components.tasks.classification import answers as classification_answers
    from components.tasks.classification import data_gate as classification_data_gate
    from components.tasks.classification import evaluator as classification_evaluator
    from components.tasks.classification import export as classification_export
    from components.tasks.classification import inspection as classification_inspection
    from components.tasks.classification import page as classification_page
    from components.tasks.classification import recipe as classification_recipe
    from components.tasks.classification import trainer as classification_trainer
    from components.tasks.classification import transform as classification_transform
    from components.tasks.detection import answers as detection_answers
    from components.tasks.detection import data_gate as detection_data_gate
    from components.tasks.detection import evaluator as detection_evaluator
    from components.tasks.detection import export as detection_export
    from components.tasks.detection import inspection as detection_inspection
    from components.tasks.detection import page as detection_page
    from components.tasks.detection import recipe as detection_recipe
    from components.tasks.detection import trainer as detection_trainer
    from components.tasks.detection import transform as detection_transform
    from components.tasks.multilabel import answers as multilabel_answers
    from components.tasks.multilabel import data_gate as multilabel_data_gate
    from components.tasks.multilabel import evaluator as multilabel_evaluator
    from components.tasks.multilabel import export as multilabel_export
    from components.tasks.multilabel import inspection as multilabel_inspection
    from components.tasks.multilabel import page as multilabel_page
    from components.tasks.multilabel import recipe as multilabel_recipe
    from components.tasks.multilabel import trainer as multilabel_trainer
    from components.tasks.multilabel import transform as multilabel_transform
    from components.trainer.trainee import Trainee

    DATA_GATES: list[TaskDataGate] = [classification_data_gate, multilabel_data_gate, detection_data_gate]
    EVALUATORS: list[TaskEvaluator] = [classification_evaluator, multilabel_evaluator, detection_evaluator]
    EXPORTS: list[TaskExport] = [classification_export, multilabel_export, detection_export]
    ANSWERS: list[TaskAnswers] = [classification_answers, multilabel_answers, detection_answers]
    INSPECTIONS: list[TaskInspection] = [
        classification_inspection,
        multilabel_inspection,
        detection_inspection,
    ]
    PAGES: list[TaskPage] = [classification_page, multilabel_page, detection_page]
    RECIPES: list[TaskRecipe] = [classification_recipe, multilabel_recipe, detection_recipe]
    TRANSFORMS: list[TaskTransform] = [classification_transform, multilabel_transform, detection_transform]
    TRAINERS: list[TaskTrainer] = [classification_trainer, multilabel_trainer, detection_trainer]
    TRAINEES: list[type[Trainee]] = [
        classification_trainer.Classification,
        multilabel_trainer.Multilabel,
        detection_trainer.Detection,
    ]

# What each step asks of the task's module.
STEPS: dict[str, type] = {
    "recipe": TaskRecipe,
    "data_gate": TaskDataGate,
    "transform": TaskTransform,
    "trainer": TaskTrainer,
    "evaluator": TaskEvaluator,
    "answers": TaskAnswers,
    "export": TaskExport,
    "page": TaskPage,
    "inspection": TaskInspection,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_answers_a_step(task: str, step: str) -> None:
    assert task_named(task).name == task
    asked = [name for name in vars(STEPS[step]) if not name.startswith("_")]
    assert asked
    assert [name for name in asked if not hasattr(part(task, step), name)] == []


@pytest.mark.parametrize("task", TASKS)
def test_answers_import_numpy_only(task: str) -> None:
    """InfraValidator's process loads the file without Mirante."""
    file = part(task, "answers").__file__
    program = f"""if True:
        import importlib.util, sys
        before = set(sys.modules)
        spec = importlib.util.spec_from_file_location("answers", {file!r})
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
    """
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    third_party = set(run.stdout.split()) - {"cython_runtime", *sys.stdlib_module_names}
    assert {name for name in third_party if not name.startswith("_")} == {"numpy"}
