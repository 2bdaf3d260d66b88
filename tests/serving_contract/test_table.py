"""The table of the contract itself: enough cases, each of which can be sent and compared."""

from __future__ import annotations

import collections

import pytest
from google.protobuf import text_format

from tests.serving_contract.case import Grpc, Rest, Scenario, find_difference, find_text_difference
from tests.serving_contract.client import _METHODS, _is_right_header, read_json
from tests.serving_contract.scenarios import SCENARIOS
from tests.serving_contract.setups import SETUPS
from tests.serving_contract.table import CASES, list_cases


def test_there_are_enough_cases_with_names_of_their_own() -> None:
    kinds = collections.Counter(type(case).__name__ for case in CASES)
    assert kinds["Rest"] >= 150
    assert kinds["Grpc"] >= 60
    names = collections.Counter((type(case), case.name) for case in (*CASES, *SCENARIOS))
    assert [name for name, count in names.items() if count > 1] == []
    assert sum(len(list_cases(setup)) for setup in SETUPS) == len(CASES) + len(SCENARIOS)


def test_every_row_can_be_sent_and_compared() -> None:
    for case in (*CASES, *(step for scenario in SCENARIOS for step in scenario.steps)):
        if isinstance(case, Grpc) and isinstance(case.request, str):
            _, request, answer = _METHODS[case.method]
            text_format.Parse(case.request, request())
            text_format.Parse(str(case.answer or ""), answer())
        if isinstance(case, Rest):
            for expected in filter(None, (case.answer, case.contains)):
                read_json(expected)


def test_every_step_has_the_setup_of_its_scenario() -> None:
    for scenario in SCENARIOS:
        assert {getattr(step, "setup", scenario.setup) for step in scenario.steps} == {scenario.setup}


@pytest.mark.parametrize(
    ("expected", "got", "difference"),
    [
        ('{"a": [1.0]}', '{ "a": [1.0] }', None),
        ("[1.0]", "[1]", "$[0]: expected '1.0', got '1'"),
        ("[NaN]", "[NaN]", None),
        ('["1"]', "[1]", "$[0]: expected '1', got '1'"),
        ('{"a": 1}', '{"b": 1}', "$.a is missing"),
        ("[1, 2]", "[1]", "$: expected 2 elements, got 1"),
        ('{"a": 1}', '{"a": 1, "b": 2}', "$ has further keys ['b']"),
        ("[true]", "[1]", "$[0]: expected True, got '1'"),
    ],
)
def test_documents_are_compared_as_they_are_written(expected: str, got: str, difference: str | None) -> None:
    assert find_difference(read_json(expected), read_json(got)) == difference


def test_a_part_of_a_document_may_lack_keys() -> None:
    assert find_difference({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}, is_part=True) is None
    assert find_difference({"a": [1]}, {"a": [1, 2]}, is_part=True) == "$.a: expected 1 elements, got 2"


def test_texts_are_compared_whole() -> None:
    assert find_text_difference("error", "a", "a") is None
    assert find_text_difference("error", "a", "ab") == "error: expected 'a', got 'ab'"


@pytest.mark.parametrize(
    ("expected", "got", "is_right"),
    [("a", "a", True), ("a", None, False), (None, None, True), (None, "a", False), ("!a", "b", True),
     ("!a", "a; charset=utf-8", False), ("!a", None, True), ("~^a", "ab", True), ("~^a", None, False)],
)  # fmt: skip
def test_headers(expected: str | None, got: str | None, is_right: bool) -> None:
    assert _is_right_header(expected, got) is is_right


def test_scenarios_have_steps() -> None:
    assert all(isinstance(scenario, Scenario) and scenario.steps for scenario in SCENARIOS)
