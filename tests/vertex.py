"""Vertex AI Pipelines, as far as containers see it: runs the tasks of a compiled job, one process each.

It resolves what a task is given to the JSON of ExecutorInput, starts the container's own command and
arguments with a Python that has TFX loaded, and takes what the task wrote to its output file. A folder stands
for Cloud Storage FUSE's mount.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.make.quick import quick_environment, quick_python

ROOT = Path(__file__).resolve().parents[1]
_PROJECT_NUMBER = "123456789"


class Vertex:
    """One project's pipelines.

    Attributes:
        mount: The folder of all buckets, called gcs.
        artifacts: All that tasks have put out, as RuntimeArtifacts, the latest last.
    """

    def __init__(self, mount: Path, **environment: str):
        self.mount = mount
        self.artifacts: list[dict[str, Any]] = []
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(quick_python().parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "MIRANTE_BUCKETS": str(mount.parent),
            **quick_environment(),
            **environment,
        }

    def path(self, uri: str) -> Path:
        """Where an address in a bucket is on this machine."""
        assert uri.startswith("gs://"), uri
        return self.mount / uri.removeprefix("gs://")

    def run(self, job: dict[str, Any], job_id: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Runs a PipelineJob; returns the artifacts by task and output."""
        spec = job["pipelineSpec"]
        done: dict[str, dict[str, list[dict[str, Any]]]] = {}
        root = f"{job['runtimeConfig']['gcsOutputDirectory']}/{_PROJECT_NUMBER}/{job_id}"
        for name, task in in_order(spec["root"]["dag"]["tasks"]):
            component = spec["components"][task["componentRef"]["name"]]
            executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
            inputs = {
                key: copy.deepcopy(done[given["producerTask"]][given["outputArtifactKey"]])
                for key, given in (
                    (key, each["taskOutputArtifact"])
                    for key, each in task.get("inputs", {}).get("artifacts", {}).items()
                )
            }
            if "resolver" in executor:
                queries = executor["resolver"]["outputArtifactQueries"]
                done[name] = {key: self._query(query["filter"], inputs) for key, query in queries.items()}
            else:
                done[name] = self._run_container(executor["container"], component, task, inputs, root, name)
        return done

    def _run_container(
        self,
        container: dict[str, Any],
        component: dict[str, Any],
        task: dict[str, Any],
        inputs: dict[str, list[dict[str, Any]]],
        root: str,
        name: str,
    ) -> dict[str, list[dict[str, Any]]]:
        folder = f"{root}/{name}_{len(self.artifacts)}"
        outputs = {}
        for key, definition in component.get("outputDefinitions", {}).get("artifacts", {}).items():
            artifact = {
                "name": f"projects/{_PROJECT_NUMBER}/locations/europe-west4/artifacts/{len(self.artifacts)}",
                "type": definition["artifactType"],
                "uri": f"{folder}/{key}",
                "metadata": definition.get("metadata", {}),
            }
            outputs[key] = [artifact]
            self.artifacts.append(artifact)
        invocation = {
            "inputs": {
                "artifacts": {key: {"artifacts": artifacts} for key, artifacts in inputs.items()},
                "parameterValues": {
                    key: value["runtimeValue"]["constant"]
                    for key, value in task.get("inputs", {}).get("parameters", {}).items()
                },
            },
            "outputs": {
                "artifacts": {key: {"artifacts": artifacts} for key, artifacts in outputs.items()},
                "outputFile": f"{folder}/executor_output.json",
            },
        }
        output_file = self.path(invocation["outputs"]["outputFile"])
        if hook := container.get("lifecycle", {}).get("preCacheCheck"):
            self._start(hook, invocation, name)
            told = json.loads(output_file.read_text(encoding="utf-8"))
            invocation["inputs"]["parameterValues"].update(told["parameterValues"])
            _update(outputs, told)
        self._start(container, invocation, name)
        _update(outputs, json.loads(output_file.read_text(encoding="utf-8")))
        return outputs

    def _start(self, container: dict[str, Any], invocation: dict[str, Any], name: str) -> None:
        arguments = [
            json.dumps(invocation) if argument == "{{$}}" else argument
            for argument in [*container["command"], *container["args"]]
        ]
        done = subprocess.run(
            arguments, cwd=self.mount, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise AssertionError(f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")

    def _query(self, wanted: str, inputs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The latest artifact that a resolver's filter names, or none."""
        title = re.findall(r'schema_title="([\w.]+)"', wanted)[0]
        found = [a for a in self.artifacts if f"title: {title}\n" in a["type"]["instanceSchema"]]
        if "metadata.blessed.number_value=1" in wanted:
            found = [a for a in found if a["metadata"].get("blessed") == 1]
        if "name=" in wanted:
            names = [a["metadata"]["current_model_id"] for a in inputs["input"]]
            found = [a for a in found if a["name"] in names]
        return found[-1:]


def _update(outputs: dict[str, list[dict[str, Any]]], told: dict[str, Any]) -> None:
    for key, artifacts in told.get("artifacts", {}).items():
        (artifact,) = artifacts["artifacts"]
        outputs[key][0]["uri"] = artifact["uri"]
        outputs[key][0]["metadata"] = {**outputs[key][0]["metadata"], **artifact.get("metadata", {})}


def in_order(tasks: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tasks of a DAG, each after those that it needs."""
    left = dict(tasks)
    while left:
        for name, task in list(left.items()):
            needs = set(task.get("dependentTasks", ()))
            given = task.get("inputs", {}).get("artifacts", {}).values()
            needs |= {each["taskOutputArtifact"]["producerTask"] for each in given}
            if not needs & set(left):
                yield name, left.pop(name)
                break
        else:
            raise AssertionError(f"no order among {sorted(left)}")
