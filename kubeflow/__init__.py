"""Where else the pipeline runs. Never installed as a package: it would overwrite the Kubeflow SDK's."""
