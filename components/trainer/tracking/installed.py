"""Whether the trackers that a recipe names are installed. Imports none of them, and no TensorFlow."""

import importlib.util

from components.base.errors import UsageError
from components.base.extras import install_command
from components.trainer.tracking.config import TrackingConfig

# By setting: what is imported for it. MLflow keeps a local store by SQLAlchemy and Alembic, which
# mlflow-skinny does not bring along.
_MODULES = {"wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


def check_installed(config: TrackingConfig) -> None:
    """Check that the packages that `config` asks for can be imported.

    Raises:
        UsageError: It cannot; says how to install it.
    """
    for setting, modules in _MODULES.items():
        if getattr(config, setting) is None:
            continue
        missing = [module for module in modules if not _is_installed(module)]
        if missing:
            raise UsageError(
                f"training.tracking.{setting}: {', '.join(missing)} is not installed here: "
                f"{install_command(setting)}, or set training.tracking.{setting}=null"
            )


def _is_installed(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    # A folder `wandb` or `mlflow` of former runs in the working directory passes for a package without code.
    return spec is not None and spec.origin is not None
