"""The digest of the code that can change a result."""

from __future__ import annotations

import ast
import functools
import shutil
from pathlib import Path

import pytest

from components.base import code
from components.base.code import closure, code_digest
from pipeline.digests import node_code_digest
from pipeline.steps import STEPS, step_named

pytestmark = pytest.mark.stack_free

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


SMALL = {
    "components/__init__.py": "",
    "components/a.py": '"""A."""\nfrom components.b import b\ndef f():\n    """Return 1."""\n    return 1\n',
    "components/b.py": "import numpy\nfrom schemas import features\ndef two():\n    import components.c\n",
    "components/c.py": "MODULE = 'components.d'\nCOMMAND = 'pipeline.commands.main'\n",
    "components/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import components.e\n",
    "components/e.py": "",
    "components/f.py": "def of(name):\n    return f'components.kinds.{name}'\n",
    "components/kinds/__init__.py": "import components.e\n",
    "components/kinds/x.py": "",
    "components/kinds/y.py": "",
    "pipeline/commands/main.py": "",
    "components/base/task.py": "TASKS = {'classification': 'components.tasks.classification',\n"
    " 'detection': 'components.tasks.detection'}\n",
    "components/g.py": "from components.base.task import part\ndef f(task):\n    part(task, 'bark').f()\n",
    "components/tasks/classification/__init__.py": "",
    "components/tasks/classification/bark.py": "import components.b\n",
    "components/tasks/classification/purr.py": "",
    "components/tasks/detection/__init__.py": "",
    "components/tasks/detection/bark.py": "",
    "schemas/__init__.py": "",
    "schemas/features.py": "A = 1\n",
}


def test_imports_are_followed_also_inside_functions_and_by_name(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    # E is for types' sake, and a command names a floor above.
    names = ["components.a", "components.b", "components.c", "components.d", "schemas", "schemas.features"]
    assert sorted(closure(["components.a"], tmp_path)) == names
    assert sorted(closure(["components.f"], tmp_path)) == [
        "components.f",
        "components.kinds.x",
        "components.kinds.y",
    ]
    with pytest.raises(ModuleNotFoundError, match=r"no module components\.none"):
        closure(["components.none"], tmp_path)


def test_what_is_asked_of_the_task_is_followed_into_its_room(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    everywhere = {"components.g", "components.base.task"}
    detection = {"components.tasks.detection", "components.tasks.detection.bark"}
    classification = {
        "components.tasks.classification",
        "components.tasks.classification.bark",
        *closure(["components.b"], tmp_path),
    }
    assert set(closure(["components.g"], tmp_path, "detection")) == everywhere | detection
    assert set(closure(["components.g"], tmp_path, "classification")) == everywhere | classification
    # Code that no task decides sees to all of them.
    assert set(closure(["components.g"], tmp_path)) == everywhere | detection | classification


def test_every_question_to_a_task_names_the_step() -> None:
    """A digest cannot follow a question whose step is computed."""
    asking = 0
    for package in ("components", "pipeline"):
        for path in (ROOT / package).rglob("*.py"):
            if "part(" not in (text := path.read_text(encoding="utf-8")):
                continue
            asked = [
                ast.unparse(node)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Call) and code.is_question(node)
            ]
            steps = code.read_code(path)[2]
            assert len({call.rpartition(", ")[2] for call in asked}) == len(steps), path
            asking += bool(asked)
    assert asking > 10


@pytest.mark.parametrize(
    ("name", "old", "new", "is_same"),
    [
        ("components/a.py", "return 1", "return 2", False),
        ("components/a.py", "return 1", "return  1  # one", True),
        ("components/a.py", '"""Return 1."""', '"""Return the number one."""', True),
        ("components/a.py", '"""A."""', "# A\n", True),
        ("components/d.py", "import components.e", "import components.b", False),
        ("components/e.py", "", "E = 1", True),
        ("schemas/features.py", "A = 1", "A = 2", False),
        ("schemas/features.py", "A = 1", "A = (\n    1\n)", True),
        ("pipeline/commands/main.py", "", "A = 1", True),
    ],
)
def test_what_is_executed_counts_and_words_do_not(
    name: str, old: str, new: str, is_same: bool, tmp_path: Path
) -> None:
    write(tmp_path, SMALL)
    before = code_digest("components.a", base=tmp_path)
    text = SMALL[name].replace(old, new) if old else new
    write(tmp_path, {name: text})
    assert (code_digest("components.a", base=tmp_path) == before) == is_same


def test_the_descriptions_of_options_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, {"components/a.py": "X = Field(1, ge=0, description='how many')\n"})
    before = code_digest("components.a", base=tmp_path)
    write(tmp_path, {"components/a.py": "X = Field(1, ge=0, description='the number of them')\n"})
    assert code_digest("components.a", base=tmp_path) == before
    write(tmp_path, {"components/a.py": "X = Field(2, ge=0, description='how many')\n"})
    assert code_digest("components.a", base=tmp_path) != before


def test_the_folder_does_not_count(tmp_path: Path) -> None:
    write(tmp_path / "one", SMALL)
    write(tmp_path / "two", SMALL)
    assert code_digest("components.a", base=tmp_path / "one") == code_digest(
        "components.a", base=tmp_path / "two"
    )


def test_a_library_counts_where_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, SMALL)
    before = {name: code_digest(f"components.{name}", base=tmp_path) for name in ("a", "c")}
    listed = code_digest("components.c", base=tmp_path, libraries=["numpy"])
    metadata = "Metadata-Version: 2.1\nName: numpy\nVersion: 99.0\n"
    write(tmp_path, {"site/numpy-99.0.dist-info/METADATA": metadata})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert code.version_of("numpy") == "99.0"
    assert code_digest("components.a", base=tmp_path) != before["a"]
    assert code_digest("components.c", base=tmp_path) == before["c"]
    assert code_digest("components.c", base=tmp_path, libraries=["numpy"]) != listed


ALL = {
    "ImportExampleGen", "ImportSchemaGen", "StatisticsGen", "ExampleValidator", "DistributionValidator",
    "DataGate", "Transform", "Tuner", "Trainer", "Evaluator", "InfraValidator", "Exporter", "Pusher",
    "BulkInference",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("components/tasks/classification/metrics.py", {"Evaluator"}),
        ("components/data_gate/component.py", {"DataGate"}),
        ("components/infra_validator/probe.py", {"InfraValidator"}),
        ("components/tasks/classification/answers.py", {"InfraValidator", "BulkInference"}),
        ("components/pusher/executor.py", {"Pusher"}),
        ("components/models/lenet.py", {"Trainer", "Tuner"}),
        ("components/trainer/loop.py", {"Trainer", "Tuner"}),
        # The rooms of tasks, asked by name: the recipe's own, no other.
        ("components/tasks/classification/transform.py", {"Transform", "Trainer", "Tuner"}),
        ("components/tasks/classification/trainer.py", {"Trainer", "Tuner"}),
        ("components/tasks/detection/transform.py", set()),
        ("components/tasks/detection/losses.py", set()),
        ("components/tuner/search.py", {"Tuner"}),
        ("components/example_gen/component.py", {"ImportExampleGen"}),
        ("components/schema_gen/component.py", {"ImportSchemaGen"}),
        # A node of the pipeline sees what was ingested, not the reader.
        ("components/ingest/sources/folder.py", set()),
        ("components/ingest/canonical.py", {"BulkInference"}),
        ("pipeline/definition.py", set()),
        ("components/pages/page.py", set()),
    ],
)
def test_the_nodes_that_a_module_can_change(name: str, nodes: set[str]) -> None:
    assert nodes_with(name, "classification") == nodes


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("components/tasks/detection/data_gate.py", {"DataGate"}),
        ("components/tasks/detection/error_kinds.py", {"Evaluator"}),
        ("components/tasks/detection/answers.py", {"InfraValidator", "BulkInference"}),
        ("components/tasks/classification/answers.py", set()),
        ("components/tasks/classification/data_gate.py", set()),
    ],
)
def test_the_nodes_that_a_module_of_a_task_can_change(name: str, nodes: set[str]) -> None:
    assert nodes_with(name, "detection") == nodes


@functools.cache
def modules_of(node: str, task: str) -> frozenset[str]:
    """The files of the checkout whose code a node's digest has."""
    found = closure(step_named(node).code, ROOT, task)
    return frozenset(str(path.relative_to(ROOT)) for path in found.values())


def nodes_with(name: str, task: str) -> set[str]:
    assert (ROOT / name).is_file()
    return {node for node in ALL if name in modules_of(node, task)}


def test_code_added_to_a_module_changes_these_digests_and_a_remark_none(tmp_path: Path) -> None:
    name, nodes = "components/tasks/classification/answers.py", {"InfraValidator", "BulkInference"}
    for package in code.PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))

    def digests(base: Path) -> dict[str, str]:
        return {node: node_code_digest(node, "classification", base) for node in ALL}

    before = digests(ROOT)
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(f"{text}\n# A remark.\n", encoding="utf-8")
    assert digests(tmp_path) == before
    (tmp_path / name).write_text(f"{text}\nADDED = 1\n", encoding="utf-8")
    after = digests(tmp_path)
    assert {node for node in ALL if after[node] != before[node]} == nodes


def test_every_node_that_executes_has_its_code() -> None:
    assert {step.id for step in STEPS if not step.is_resolver} == ALL
