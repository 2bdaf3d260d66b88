"""Nodes as tasks of Kubeflow Pipelines."""
