"""A run of MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.redact import check_address, redact
from components.trainer.tracking import About
from components.trainer.tracking.config import MlflowConfig

if TYPE_CHECKING:
    from components.base.arrays import Array

logger = logging.getLogger("mirante.trainer")

# MLflow chooses the ids of runs itself: a training's run is found by this tag.
KEY_TAG = "mirante.training"
# What MLflow takes at once, and at most for a value.
_PARAMS_AT_ONCE, _PARAM_CHARS = 100, 6000


class MlflowRun:
    """One run; a resumed training continues the run with its key.

    Points that it has from before are not added again.

    Args:
        config: The recipe's `training.tracking.mlflow`.
        about: Which training.
        folder: A local folder for `mlflow.db` and `mlflow-artifacts`, where neither the recipe nor
            MLFLOW_TRACKING_URI names a store.
    """

    def __init__(self, config: MlflowConfig, about: About, folder: str):
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._param = Metric, Param
        database = Path(folder, "mlflow.db").absolute()
        uri = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"
        check_address("MLFLOW_TRACKING_URI", uri)
        if uri.startswith("sqlite:///"):
            database = Path(uri[len("sqlite:///") :]).absolute()
            database.parent.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(tracking_uri=uri)
        experiment_id = self._experiment(config.experiment, uri, database)
        runs = self._client.search_runs(
            [experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{about.key}'", max_results=1
        )
        self._goes_on = bool(runs)
        if runs:
            run = runs[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = self._client.create_run(experiment_id, run_name=about.name, tags={KEY_TAG: about.key})
        self._run_id = run.info.run_id
        self._log_params({k: v for k, v in _flat(about.settings) if k not in run.data.params})
        # By name: the last step that there is a point of.
        self._last: dict[str, int] = {}
        logger.info("MLflow: run %s of experiment %s in %s", self._run_id, config.experiment, redact(uri))

    def _experiment(self, name: str, uri: str, database: Path) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # Without a server MLflow would put artifacts into whatever is the working directory.
        artifacts = (database.parent / "mlflow-artifacts").as_uri() if uri.startswith("sqlite:///") else None
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def _log_params(self, values: Mapping[str, Any]) -> None:
        params = [self._param(name, str(value)[:_PARAM_CHARS]) for name, value in values.items()]
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run_id, params=params[start : start + _PARAMS_AT_ONCE])

    def _is_new(self, name: str, step: int) -> bool:
        if name not in self._last:
            history = self._client.get_metric_history(self._run_id, name) if self._goes_on else []
            self._last[name] = max((point.step for point in history), default=-1)
        is_new = step > self._last[name]
        self._last[name] = max(step, self._last[name])
        return is_new

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        points = [
            self._metric(name, float(value), now, step)
            for name, value in values.items()
            if self._is_new(name, step)
        ]
        if points:
            self._client.log_batch(self._run_id, metrics=points)

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log one point of each value, as `<stage>/<name>`."""
        self._log(step, {f"{stage}/{name}": value for name, value in values.items()})

    def image(self, stage: str, step: int, name: str, image: Array) -> None:
        """Log an image as the artifact `<stage>/<name>-<step>.png`."""
        self._client.log_image(self._run_id, image, artifact_file=f"{stage}/{name}-{step:06}.png")

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """Do nothing."""

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log the values as `final/<stage>/<name>`."""
        self._log(step, {f"final/{stage}/{name}": value for name, value in values.items()})

    def close(self, error: BaseException | None = None) -> None:
        """End the run: finished, failed, or killed by an interrupt."""
        status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        self._client.set_terminated(self._run_id, status=status)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
