"""A package whose one task fails as told. Real annotations: kfp reads them, and takes no texts."""

import json
from pathlib import Path

from kfp import compiler, dsl, kubernetes

from tests.kfp_check import check_packages


def trainer(wanted: int, run: str):  # type: ignore[no-untyped-def]
    """Fail until there were as many attempts as wanted; each leaves the name of its pod."""
    import os

    from components.base.errors import MiranteError
    from pipeline.storage.mirror import Mirror
    from pipeline.targets.kubeflow.log import log_task

    root = "/mirante/attempts"
    with log_task("Trainer", run, root, Mirror(os.environ)):
        os.makedirs(root, exist_ok=True)
        with open(f"{root}/{run}", "a+") as file:
            print(os.environ["KFP_POD_NAME"], file=file)
            file.seek(0)
            attempt = len(file.readlines())
        if attempt < wanted:
            raise MiranteError(f"data: expected attempt {wanted}, got {attempt}")


def compile_attempts(folder: Path, image: str, name: str, wanted: int) -> Path:
    """Return the package of a task with two retries that fails until it was tried as often as wanted."""
    component = dsl.component(trainer, base_image=image, install_kfp_package=False)

    def define() -> None:
        task = component(wanted=wanted, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
        task.set_caching_options(False)
        retries = {"retries": 2, "backoff_secs": 1, "backoff_factor": 2.0, "backoff_max_secs": 60}
        task.set_env_variable("MIRANTE_RETRIES", json.dumps(retries))
        kubernetes.mount_pvc(task, "mirante", "/mirante")

    define.__annotations__ = {}
    package = folder / f"{name}.yaml"
    compiler.Compiler().compile(dsl.pipeline(name=name)(define), str(package))
    check_packages(package)
    return package
