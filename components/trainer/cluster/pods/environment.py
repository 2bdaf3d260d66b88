"""A process' place in the cluster: TF_CONFIG, for a worker pod from the variables that its Job gives it."""

import json
from collections.abc import Mapping, Sequence

from components.base.errors import UsageError

# Addresses of all processes, the chief first, as JSON.
CLUSTER = "MIRANTE_CLUSTER"
WAIT_SECS = "MIRANTE_CLUSTER_WAIT_SECS"
# Kubernetes gives it to each pod of an Indexed Job, counted from 0.
INDEX = "JOB_COMPLETION_INDEX"


def tf_config(addresses: Sequence[str], index: int) -> str:
    """Return TF_CONFIG for one process.

    Source: the format that `tf.distribute.cluster_resolver.TFConfigClusterResolver` reads.

    Args:
        addresses: `host:port` of all processes, the chief first.
        index: Which of them; the chief is 0.
    """
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


def job_environment(addresses: Sequence[str], wait_secs: int) -> dict[str, str]:
    """Return the environment variables of a Job's worker pods.

    Args:
        addresses: `host:port` of all processes, the chief first.
        wait_secs: How long each waits for the chief to begin.
    """
    return {CLUSTER: json.dumps(list(addresses)), WAIT_SECS: str(wait_secs)}


def worker_place(environment: Mapping[str, str]) -> tuple[str, float] | None:
    """Return this worker pod's TF_CONFIG and the seconds to wait for the chief; None outside of a pod.

    Raises:
        UsageError: It has some of the variables only, or they make no sense.
    """
    if CLUSTER not in environment:
        return None
    try:
        addresses = json.loads(environment[CLUSTER])
        index = int(environment[INDEX]) + 1
        wait_secs = float(environment[WAIT_SECS])
        if not isinstance(addresses, list) or not 1 <= index < len(addresses):
            raise ValueError(f"there is no worker {index - 1} in {environment[CLUSTER]}")
    except (KeyError, ValueError) as e:
        missing = f"{e.args[0]} is not set" if isinstance(e, KeyError) else str(e)
        raise UsageError(
            f"{CLUSTER}: this is no worker pod of an Indexed Job as a Trainer starts it: expected the "
            f"addresses of all processes as JSON, {INDEX} and {WAIT_SECS}; {missing}"
        ) from e
    return tf_config(addresses, index), wait_secs
