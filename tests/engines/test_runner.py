"""Beam's runner for job servers: it cancels what is left there, and refuses a server that is not there."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_provision_api_pb2
from google.protobuf.struct_pb2 import Struct

from components.base.errors import MiranteError
from pipeline.engines.boot import read_environment
from pipeline.engines.prism import PrismRunner
from pipeline.engines.runner import cancel_left, check_endpoint

RUNNING, DONE, CANCELLED = api.JobState.RUNNING, api.JobState.DONE, api.JobState.CANCELLED


class JobService:
    """A job server's stub with some jobs."""

    def __init__(self, *jobs: tuple[str, int]):
        self.jobs = [list(job) for job in jobs]

    def GetJobs(self, request: Any) -> Any:  # noqa: N802 - Beam's name
        info = []
        for number, (name, state) in enumerate(self.jobs):
            options = Struct()
            options["beam:option:job_name:v1"] = name
            info.append(api.JobInfo(job_id=f"job-{number}", state=state, pipeline_options=options))
        return api.GetJobsResponse(job_info=info)

    def Cancel(self, request: Any) -> Any:  # noqa: N802 - Beam's name
        self.jobs[int(request.job_id[4:])][1] = CANCELLED
        return api.CancelJobResponse()

    def GetState(self, request: Any) -> Any:  # noqa: N802 - Beam's name
        return api.JobStateEvent(state=self.jobs[int(request.job_id[4:])][1])


def test_jobs_of_the_name_that_still_run_are_cancelled() -> None:
    service = JobService(("mine", DONE), ("mine", RUNNING), ("another", RUNNING), ("", RUNNING))
    cancel_left(service, None)
    cancel_left(service, "")
    assert [state for _, state in service.jobs] == [DONE, RUNNING, RUNNING, RUNNING]
    cancel_left(service, "mine")
    assert [state for _, state in service.jobs] == [DONE, CANCELLED, RUNNING, RUNNING]


def test_a_job_server_that_is_not_there_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(
            MiranteError, match=rf"beam\.endpoint: expected Beam's job server at {address}, got"
        ):
            check_endpoint(address, limit_secs=0.1)
        server.listen()
        check_endpoint(address, limit_secs=5)


def test_a_prism_that_does_not_start_is_named_and_can_be_stopped() -> None:
    prism = PrismRunner().default_job_server(PipelineOptions(["--prism_location=/no/such/prism"]))
    with pytest.raises(
        MiranteError, match=r"beam\.prism_location: expected a Prism that starts, got .*build"
    ):
        prism.start()
    prism.stop()


def test_a_worker_finds_its_runner_by_what_the_executor_says() -> None:
    info = beam_provision_api_pb2.ProvisionInfo(runner_capabilities=["one", "two"])
    info.pipeline_options["beam:option:job_name:v1"] = "mirante-基"
    info.control_endpoint.url = "localhost:4711"
    info.logging_endpoint.url = "localhost:4712"
    found = read_environment("1-1", info)
    assert json.loads(found.pop("PIPELINE_OPTIONS")) == {"beam:option:job_name:v1": "mirante-基"}
    assert found == {
        "WORKER_ID": "1-1",
        "RUNNER_CAPABILITIES": "one two",
        "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "localhost:4711"\n',
        "LOGGING_API_SERVICE_DESCRIPTOR": 'url: "localhost:4712"\n',
    }
