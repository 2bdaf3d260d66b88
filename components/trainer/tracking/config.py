"""Settings of tracking: the part `training.tracking` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.paths import is_remote
from components.base.redact import find_secret, redact
from components.base.settings import IsPath, NotNegative, Positive, Settings


class WandbConfig(Settings):
    """Weights & Biases; the key comes from WANDB_API_KEY or `wandb login`."""

    project: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        "mirante", description="project of Weights & Biases that gets the run"
    )
    entity: str | None = Field(None, description="team or user; null for the default of your account")
    mode: Literal["online", "offline"] = Field(
        "online", description="offline only writes to the disk, for `wandb sync`"
    )
    tags: tuple[str, ...] = Field((), description="tags of the run")


class MlflowConfig(Settings):
    """MLflow; MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD sign in to a server."""

    tracking_uri: Annotated[str | None, IsPath(prefix="sqlite:///", is_written=True)] = Field(
        None,
        description="a server, or a database such as sqlite:///mlflow.db; null for MLFLOW_TRACKING_URI, "
        "or without it `<root>/mlflow.db`",
    )
    experiment: Annotated[str, Field(min_length=1)] = Field(
        "mirante", description="experiment that gets the run; created if it does not exist"
    )

    @model_validator(mode="after")
    def _names_a_store_and_no_secret(self) -> MlflowConfig:
        uri = self.tracking_uri
        if uri is None:
            return self
        # The message is shown and logged, so that the URI is not in it.
        if secret := find_secret(uri):
            raise ValueError(
                f"tracking_uri: expected no secret, got {secret}; recipes are kept with every run: leave "
                "tracking_uri out and set the environment variable MLFLOW_TRACKING_URI, or for a server "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if not is_remote(uri) and uri != "databricks":
            raise ValueError(
                "tracking_uri: expected a server or a database, such as https://mlflow.example.org or "
                f"sqlite:///mlflow.db, got {redact(uri)!r}"
            )
        return self


class TrackingConfig(Settings):
    """Where training metrics are sent (docs/tracking.md)."""

    tensorboard: bool = Field(
        True, description="whether event files for TensorBoard are written next to the model"
    )
    wandb: WandbConfig | None = Field(None, description="report to Weights & Biases; null for no")
    mlflow: MlflowConfig | None = Field(None, description="report to MLflow; null for no")
    graph: bool = Field(True, description="whether TensorBoard gets the graph of the training step")
    profile_steps: tuple[Positive, Positive] | None = Field(
        None,
        description="first and last step of each stage that TensorFlow's profiler records; null for none",
    )
    mistakes: NotNegative = Field(
        16, description="misclassified eval images with the highest scores that are shown after each stage"
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TrackingConfig:
        if self.profile_steps is None:
            return self
        first, last = self.profile_steps
        if last < first:
            raise ValueError(
                f"profile_steps: the last step comes before the first, got {[first, last]}; give e.g. "
                "[20, 30]"
            )
        if not self.tensorboard:
            raise ValueError("profile_steps: profiles are looked at in TensorBoard: set tensorboard: true")
        return self
