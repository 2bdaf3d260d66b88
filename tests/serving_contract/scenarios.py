"""Cases of several steps: counters, versions that come and go, labels, new configurations, metrics."""

# ruff: noqa: E501
from __future__ import annotations

import re

from tests.serving_contract.case import Case, Files, Grpc, Rest, Scenario
from tests.serving_contract.grpc_calls import reload_main
from tests.serving_contract.setups import METRICS, MORE, make_options_config

_ONE = '{"instances": [1.0]}'
# A server looks for new versions and configurations each second, and may be loading others.
_SOON = 40.0


def _count(signature: str, inputs: str, value: float) -> Grpc:
    return Grpc(
        f"{signature} gives {value:g}",
        "Predict",
        f'model_spec {{ name: "counter" signature_name: "{signature}" }} {inputs}',
        f'model_spec {{ name: "counter" version {{ value: 1 }} signature_name: "{signature}" }} '
        f'outputs {{ key: "output" value {{ dtype: DT_FLOAT tensor_shape {{}} float_val: {value} }} }}',
    )


_DELTA = 'inputs { key: "delta" value { dtype: DT_FLOAT tensor_shape {} float_val: %g } }'


def _serves(model: str, value: float, within_secs: float = 0, setup: str = "main") -> Rest:
    return Rest(
        f"{model} serves {value}",
        f"/v1/models/{model}:predict",
        _ONE,
        f'{{"predictions": [{value}]}}',
        within_secs=within_secs,
        setup=setup,
    )


def _is_gone(model: str, within_secs: float = 0, setup: str = "main") -> Rest:
    return Rest(
        f"{model} is gone",
        f"/v1/models/{model}:predict",
        _ONE,
        status=404,
        within_secs=within_secs,
        error=f"Servable not found for request: Latest({model})",
        setup=setup,
    )


def _states(model: str, *states: tuple[int, str]) -> Rest:
    rows = [f'{{"version": "{version}", "state": "{state}"}}' for version, state in states]
    return Rest(
        f"{model} is {states}",
        f"/v1/models/{model}",
        contains=f'{{"model_version_status": [{", ".join(rows)}]}}',
        within_secs=_SOON,
    )


def _reload(name: str, further: str = "", **expected: str | re.Pattern[str]) -> Grpc:
    return Grpc(
        f"reload {name}",
        "HandleReloadConfigRequest",
        reload_main(further),
        contains="{}",
        **expected,  # type: ignore[arg-type]
    )


def _model(name: str, path: str, rest: str = "") -> str:
    return (
        f'config {{ name: "{name}" base_path: "{{seen}}/models/{path}" model_platform: "tensorflow" {rest} }}'
    )


def _versions(rest: str) -> str:
    return _model("labelled", "versions", f"model_version_policy {{ all {{}} }} {rest}")


def _label(value: str, expected: Case | None = None) -> Rest:
    return Rest(f"label serves {value}", "/v1/models/labelled/labels/now:predict", _ONE,
                f'{{"predictions": [{value}]}}', within_secs=_SOON)  # fmt: skip


def _metric(name: str, labels: str, value: str = r"\d+") -> re.Pattern[str]:
    return re.compile(rf"(?m)^:tensorflow:serving:{name}\{{{labels}\}} {value}$")


def _has_metric(what: str, pattern: re.Pattern[str]) -> Rest:
    return Rest(f"metric {what}", METRICS, text=pattern)


_LATENCY = r'model_name="half_plus_two",API="predict",entrypoint="REST"'

SCENARIOS = [
    Scenario("a model with a state", (
        _count("reset_counter", "", 0),
        _count("get_counter", "", 0),
        _count("incr_counter_by", _DELTA % 3, 3),
        _count("incr_counter_by", _DELTA % 2.5, 5.5),
        _count("get_counter", "", 5.5),
        _count("reset_counter", "", 0),
        Rest("REST cannot ask a signature without inputs", "/v1/models/counter:predict",
             '{"signature_name": "get_counter", "inputs": {}}', status=400,
             error="Failed to get input map for signature: get_counter"),
    )),
    Scenario("versions come and go", (
        _serves("growing", 1.0),
        Files("a folder that is no version", copy=("versions/3", "growing/3.incomplete")),
        Files("version 2 appears", copy=("versions/2", "growing/2")),
        _serves("growing", 2.0, _SOON),
        _states("growing", (2, "AVAILABLE"), (1, "END")),
        Rest("version 1 is gone", "/v1/models/growing/versions/1:predict", _ONE, status=404,
             error="Servable not found for request: Specific(growing, 1)"),
        Files("version 00003 appears", copy=("versions/3", "growing/00003")),
        _serves("growing", 3.0, _SOON),
        Files("version 00003 disappears", remove="growing/00003"),
        _serves("growing", 2.0, _SOON),
        Files("version 2 disappears", remove="growing/2"),
        _serves("growing", 1.0, _SOON),
    )),
    Scenario("a configuration replaces the former one", (
        _is_gone("further"),
        _reload("with a further model", _model("further", "half_plus_three")),
        _serves("further", 3.5),
        _serves("half_plus_two", 2.5),
        _reload("without it"),
        _is_gone("further", _SOON),
        _states("further", (123, "END")),
        _serves("half_plus_two", 2.5),
    )),
    Scenario("labels move", (
        _reload("with a label", _versions('version_labels { key: "now" value: 1 }')),
        _label("1.0"),
        _reload("with the label at another version", _versions('version_labels { key: "now" value: 3 }')),
        _label("3.0"),
        _reload("with the label at a version that is not there", _versions('version_labels { key: "now" value: 999 }'),
                code="FAILED_PRECONDITION", details=re.compile(
                    "^Request to assign label to version 999 of model labelled, which is not currently available for inference")),
        _label("3.0"),
        _reload("with a new label at a version that is not there",
                _versions('version_labels { key: "now" value: 3 } version_labels { key: "next" value: 999 }')),
        Rest("the new label serves nothing", "/v1/models/labelled/labels/next:predict", _ONE, status=404,
             error="Servable not found for request: Specific(labelled, 999)"),
        _reload("without the label", _versions("")),
        Rest("the label is gone", "/v1/models/labelled/labels/now:predict", _ONE, status=400,
             error="Unrecognized servable version label: now", within_secs=_SOON),
        _reload("without the model"),
    )),
    Scenario("policies change", (
        _reload("with all versions", _model("changing", "versions", "model_version_policy { all {} }")),
        _states("changing", (3, "AVAILABLE"), (2, "AVAILABLE"), (1, "AVAILABLE")),
        _reload("with one version", _model("changing", "versions", "model_version_policy { specific { versions: 2 } }")),
        _states("changing", (3, "END"), (2, "AVAILABLE"), (1, "END")),
        _serves("changing", 2.0),
        _reload("without the model"),
    )),
    Scenario("a warm-up that fails is a load that fails", (
        _reload("with a model that cannot warm up", _model("bad", "bad_warm_up"), code="UNKNOWN",
                details=re.compile("did not become available")),
        _is_gone("bad"),
        _serves("half_plus_two", 2.5),
        _reload("without it"),
    )),
    Scenario("metrics", (
        _serves("half_plus_two", 2.5),
        _is_gone("nothing"),
        Rest("malformed", "/v1/foo", status=400),
        Grpc("predict by gRPC", "Predict", 'model_spec { name: "half_plus_two" } inputs { key: "x" value '
             "{ dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: 1 } }", contains="{}"),
        Grpc("multi-inference", "MultiInference", 'tasks { model_spec { name: "half_plus_two" signature_name: '
             '"regress_x_to_y" } method_name: "tensorflow/serving/regress" } input { example_list { examples '
             '{ features { feature { key: "x" value { float_list { value: 1 } } } } } } }', contains="{}"),
        _has_metric("of good requests", _metric("request_count", 'model_name="half_plus_two",status="OK"')),
        _has_metric("of refused requests", _metric("request_count", 'model_name="nothing",status="NOT_FOUND"')),
        _has_metric("of malformed requests", _metric("request_count", 'model_name="",status="INVALID_ARGUMENT"')),
        _has_metric("of latency by REST", _metric("request_latency_count", _LATENCY)),
        _has_metric("of latency in total", _metric("request_latency_sum", _LATENCY, r"[0-9.e+]+")),
        _has_metric("of latency by gRPC", _metric(
            "request_latency_count", 'model_name="half_plus_two",API="Predict",entrypoint="GRPC"')),
        _has_metric("of the shortest latency", _metric("request_latency_bucket", _LATENCY + ',le="10"')),
        _has_metric("of the third limit", _metric("request_latency_bucket", _LATENCY + r',le="32\.4"')),
        _has_metric("of any latency", _metric("request_latency_bucket", _LATENCY + r',le="\+Inf"')),
        _has_metric("of latency in 34 lines", re.compile(
            rf"(?s)\A(?:(?!\n:tensorflow:serving:request_latency_bucket\{{{_LATENCY}).)*"
            rf"(?:\n:tensorflow:serving:request_latency_bucket\{{{_LATENCY},le=[^\n]*){{34}}"
            rf"(?!.*\n:tensorflow:serving:request_latency_bucket\{{{_LATENCY})")),
        _has_metric("of TensorFlow's time", _metric(
            "runtime_latency_count", 'model_name="half_plus_two",API="Predict",runtime="TF1"')),
        _has_metric("of examples", _metric("request_example_count_total", 'model="half_plus_two"')),
        _has_metric("of examples per request", _metric("request_example_counts_count", 'model="half_plus_two"')),
        _has_metric("with its type", re.compile(r"(?m)^# TYPE :tensorflow:serving:request_count counter$")),
        _has_metric("with a histogram's type", re.compile(
            r"(?m)^# TYPE :tensorflow:serving:request_latency histogram$")),
    )),
    Scenario("a configuration file is read again", (
        _is_gone("more", setup="options"),
        Files("the file has a further model", write=("options.config", make_options_config(MORE))),
        _serves("more", 3.5, _SOON, setup="options"),
        Files("the file has it no more", write=("options.config", make_options_config())),
        _is_gone("more", _SOON, setup="options"),
        _serves("half_plus_two", 2.5, setup="options"),
    ), setup="options"),
]  # fmt: skip
