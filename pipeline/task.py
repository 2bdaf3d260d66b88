"""The door for compiled packages: they import `pipeline.task` by this name."""

from pipeline.targets.kubeflow.nodes import *  # noqa: F403
