"""The table of nodes."""

from __future__ import annotations

import importlib.util

import pytest

from pipeline.steps import INGEST, STEPS, Step, list_upstream, node_ids

pytestmark = pytest.mark.stack_free


def is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("step", [INGEST, *STEPS], ids=lambda step: step.id)
def test_a_row_says_what_is_in_the_room(step: Step) -> None:
    assert is_there(f"{step.room}.page")
    assert is_there(f"{step.room}.outcome") == step.has_outcome
    assert all(map(is_there, step.code))


def test_rows_are_in_the_order_in_which_nodes_run() -> None:
    ids = [step.id for step in STEPS]
    assert len(set(ids)) == len(ids) == 16
    for number, step in enumerate(STEPS):
        assert set(step.after) <= set(ids[:number]), step.id


def test_optional_nodes_are_there_where_a_recipe_has_them() -> None:
    assert len(node_ids()) == 12
    assert set(node_ids({"tuner"})) - set(node_ids()) == {"Tuner"}
    assert list_upstream({"tuner"})["Trainer"] == (
        "ImportExampleGen",
        "ImportSchemaGen",
        "Transform",
        "Tuner",
    )
    assert list_upstream()["Trainer"] == ("ImportExampleGen", "ImportSchemaGen", "Transform")
    assert node_ids({"bulk_inference"})[-2:] == ("Pusher", "BulkInference")
    assert node_ids({"export"})[-2:] == ("Exporter", "Pusher")
    assert "Exporter" in list_upstream({"export"})["Pusher"]
    assert "Pusher" in list_upstream({"bulk_inference"})["BulkInference"]
    both = node_ids({"tuner", "base_model"})
    assert both[both.index("Transform") :][:4] == ("Transform", "BaseModelResolver", "Tuner", "Trainer")


def test_one_node_pushes_and_two_look_for_a_model() -> None:
    assert [step.id for step in STEPS if step.is_pusher] == ["Pusher"]
    assert [step.id for step in STEPS if step.is_resolver] == ["BaseModelResolver", "Resolver"]
