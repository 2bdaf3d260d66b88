"""All cases of the contract."""

from __future__ import annotations

from tests.serving_contract import grpc_calls, rest_examples, rest_predict, rest_routes, scenarios
from tests.serving_contract.case import Case, Scenario

CASES: list[Case] = [*rest_routes.CASES, *rest_predict.CASES, *rest_examples.CASES, *grpc_calls.CASES]


def list_cases(setup: str) -> list[Case | Scenario]:
    """Return the cases of a setup, and then its scenarios."""
    return [case for case in (*CASES, *scenarios.SCENARIOS) if case.setup == setup]
