"""Counters of `mirante serve` with names that clients make up."""

from __future__ import annotations

from pipeline.serving.metrics import OTHER_NAMES, Metrics


def test_names_that_clients_make_up_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    metrics.record_request("n" * 257, "NOT_FOUND")
    for number in range(1500):
        metrics.record_request(f"made-up-{number}", "NOT_FOUND")
    metrics.record_request("digits", "INVALID_ARGUMENT")
    metrics.record_request("digits", "OK")
    metrics.record_request("digits", "INVALID_ARGUMENT")
    name = ":tensorflow:serving:request_count"
    counted = [line for line in metrics.page().splitlines() if line.startswith(f"{name}{{")]
    assert len(counted) == 1000 + 4
    assert f'{name}{{model_name="{OTHER_NAMES}",status="NOT_FOUND"}} 501' in counted
    for status in ("OK", "INVALID_ARGUMENT"):
        assert f'{name}{{model_name="digits",status="{status}"}} 1' in counted


def test_the_totals_are_the_sums_of_the_counters() -> None:
    metrics = Metrics()
    metrics.record_request("a", "OK")
    metrics.record_request("b", "NOT_FOUND")
    metrics.record_latency("a", "predict", "REST", 1.0)
    assert metrics.totals() == {
        "/tensorflow/serving/batching_session/wrapped_run_count": 0,
        "/tensorflow/serving/request_count": 2,
        "/tensorflow/serving/request_example_count_total": 0,
    }
