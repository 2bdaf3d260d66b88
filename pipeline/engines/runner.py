"""Beam's runner for job servers: it refuses a server that is not there, and leaves no job behind.

A job server keeps the job of a process that was interrupted or killed. Spark's then refuses the next one. So
an interrupted job is cancelled, and so is one of the same name that is left from before.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.runners.portability import portable_runner

from components.base.errors import MiranteError

logger = logging.getLogger("mirante.engines")

# How a job has the name among its options.
_NAME = "beam:option:job_name:v1"
_CONNECT_LIMIT_SECS = 30.0
_CANCEL_LIMIT_SECS = 60.0


def check_endpoint(endpoint: str, limit_secs: float = _CONNECT_LIMIT_SECS) -> None:
    """Wait until a server answers at host:port.

    Raises:
        MiranteError: None does.
    """
    host, _, port = endpoint.rpartition(":")
    ends = time.monotonic() + limit_secs
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=limit_secs):
                return
        except OSError as e:
            if time.monotonic() > ends:
                raise MiranteError(
                    f"beam.endpoint: expected Beam's job server at {endpoint}, got {e.strerror or e}; "
                    "start it, or correct the address"
                ) from e
            time.sleep(0.5)


def cancel_left(job_service: Any, name: str | None) -> None:
    """Cancel the jobs of a name that still run, and wait until they have ended.

    Args:
        job_service: Beam's stub of the job server.
        name: The job's; none is cancelled without it.
    """
    if not name:
        return
    for job in job_service.GetJobs(api.GetJobsRequest()).job_info:
        if (
            job.state in portable_runner.TERMINAL_STATES
            or job.pipeline_options.fields[_NAME].string_value != name
        ):
            continue
        logger.warning("%s was left running; it is cancelled", job.job_id)
        job_service.Cancel(api.CancelJobRequest(job_id=job.job_id))
        ends = time.monotonic() + _CANCEL_LIMIT_SECS
        request = api.GetJobStateRequest(job_id=job.job_id)
        while job_service.GetState(request).state not in portable_runner.TERMINAL_STATES:
            if time.monotonic() > ends:
                raise MiranteError(f"{job.job_id}: the job server does not cancel it; start the server again")
            time.sleep(0.5)


class PortableRunner(portable_runner.PortableRunner):
    """Runs one pipeline on a job server that runs already."""

    def create_job_service(self, options: Any) -> Any:
        """Connect to the job server, and cancel what is left of this job."""
        check_endpoint(options.view_as(PortableOptions).job_endpoint)
        handle = super().create_job_service(options)
        cancel_left(handle.job_service, options.view_as(GoogleCloudOptions).job_name)
        return handle

    def run_portable_pipeline(self, pipeline: Any, options: Any) -> Any:
        """Submit the pipeline; the job is cancelled if the wait for its end is interrupted."""
        result = super().run_portable_pipeline(pipeline, options)
        wait = result.wait_until_finish

        def wait_or_cancel(duration: int | None = None) -> Any:
            try:
                return wait(duration)
            except BaseException as e:
                if not isinstance(e, Exception):
                    result.cancel()
                raise

        result.wait_until_finish = wait_or_cancel
        return result
