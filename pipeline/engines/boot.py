"""Starts a worker of Beam in this Python, as executors ask for it by `beam.worker_command`.

    #!/bin/sh
    exec /opt/mirante/bin/python -m pipeline.engines.boot "$@"

Beam's own program for this is written in Go and is in its images alone; it installs packages besides. Here
all that the worker needs is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format, text_format

_START_SECS = 60


def read_environment(worker_id: str, info: Any) -> dict[str, str]:
    """Return the variables by which Beam's worker finds its runner.

    Args:
        worker_id: The worker's.
        info: Beam's `ProvisionInfo`.
    """
    found = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    for name in ("control", "logging", "status"):
        endpoint = getattr(info, f"{name}_endpoint")
        if endpoint.url:
            found[f"{name.upper()}_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(endpoint)
    return found


def main(argv: Sequence[str]) -> None:
    """Ask the executor for the job, and work until it ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    given, _ = parser.parse_known_args(argv)  # the other endpoints are those of the answer

    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2 as api
    from apache_beam.portability.api import beam_provision_api_pb2_grpc as services

    with grpc.insecure_channel(given.provision_endpoint) as channel:
        stub = services.ProvisionServiceStub(channel)
        request = api.GetProvisionInfoRequest()
        info = stub.GetProvisionInfo(request, metadata=[("worker_id", given.id)], timeout=_START_SECS).info
    os.environ.update(read_environment(given.id, info))

    from apache_beam.runners.worker import sdk_worker_main  # it reads WORKER_ID when it is imported

    sdk_worker_main.main([])


if __name__ == "__main__":
    main(sys.argv[1:])
