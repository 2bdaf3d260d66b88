"""A run of Weights & Biases."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from components.base.errors import MiranteError
from components.base.redact import check_address, redact
from components.trainer.tracking import About
from components.trainer.tracking.background import CLOSE_SECS
from components.trainer.tracking.config import WandbConfig

if TYPE_CHECKING:
    from components.base.arrays import Array

_REACH_SECS = 10.0
# Less than what `Background.close` waits.
_FINISH_SECS = CLOSE_SECS - 10

logger = logging.getLogger("mirante.trainer")


def mode_of(config: WandbConfig) -> str:
    """Return the recipe's mode, unless WANDB_MODE says otherwise."""
    return os.environ.get("WANDB_MODE") or config.mode


def _reach(url: str) -> None:
    try:
        urllib.request.urlopen(url, timeout=_REACH_SECS).close()
    except urllib.error.HTTPError:
        pass  # It answers.
    except OSError as e:
        raise MiranteError(
            f"{redact(url)} cannot be reached ({redact(str(e))}): without a network take "
            "training.tracking.wandb.mode=offline"
        ) from e


class WandbRun:
    """One run; its id is the training's key, so that a resumed training continues its run.

    Each stage has an axis of its own, `<stage>/step`: W&B's own count of steps only ever grows, and stages
    begin anew.

    Args:
        config: The recipe's `training.tracking.wandb`.
        about: Which training.
        folder: A local folder for W&B's files, in a folder `wandb` there; WANDB_DIR wins over it.
    """

    def __init__(self, config: WandbConfig, about: About, folder: str):
        import wandb

        is_offline = mode_of(config) == "offline"
        if not is_offline:
            # Here, because W&B would ask for a key at the terminal, and a run that was begun
            # without a connection keeps the process from ending.
            if wandb.api.api_key is None:
                raise MiranteError("no key for W&B: set WANDB_API_KEY, or run `wandb login` once")
            base_url = wandb.setup().settings.base_url
            check_address("WANDB_BASE_URL", base_url)
            _reach(base_url)
        self._wandb = wandb
        os.makedirs(folder, exist_ok=True)
        self._run = wandb.init(
            project=config.project,
            entity=config.entity,
            mode="offline" if is_offline else "online",
            tags=list(config.tags) or None,
            id=about.key,
            name=about.name,
            # Without a server there is nothing to resume: `wandb sync --append` joins the parts.
            resume=None if is_offline else "allow",
            config=dict(about.settings),
            dir=os.environ.get("WANDB_DIR") or folder,
            # The log has what is printed; sources are not a training's results. Without the limit, a
            # connection that is gone would keep the process from ending.
            settings=wandb.Settings(
                console="off", silent=True, disable_code=True, finish_timeout=_FINISH_SECS
            ),
        )
        self._stages: set[str] = set()
        where = f"offline, {os.path.dirname(self._run.dir)}" if is_offline else self._run.url
        logger.info("Weights & Biases: %s", redact(str(where)))

    def _log(self, stage: str, step: int, values: Mapping[str, Any]) -> None:
        if stage not in self._stages:
            self._run.define_metric(f"{stage}/step", hidden=True)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            self._stages.add(stage)
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self._run.log({**named, f"{stage}/step": step})

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log one point of each value."""
        self._log(stage, step, values)

    def image(self, stage: str, step: int, name: str, image: Array) -> None:
        """Log an image."""
        self._log(stage, step, {name: self._wandb.Image(image)})

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """Do nothing."""

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Put the values into the run's summary: `final/<stage>/<name>`."""
        self._run.summary.update({f"final/{stage}/{name}": value for name, value in values.items()})

    def close(self, error: BaseException | None = None) -> None:
        """End the run, as failed if the training failed."""
        self._run.finish(exit_code=0 if error is None else 1)
