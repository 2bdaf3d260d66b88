"""The part `kubeflow.metadata` of a recipe: where the store of ML Metadata is. No TensorFlow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.base.settings import Settings

# User and password of the metadata store in a task's process; from a Secret.
USER_VARIABLE = "MIRANTE_METADATA_USER"
PASSWORD_VARIABLE = "MIRANTE_METADATA_PASSWORD"

_PORTS = {"mysql": 3306, "postgresql": 5432}
_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_HOST = r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)?$"

Name = Annotated[str, Field(pattern=_NAME, max_length=253)]


class SecretKey(Settings):
    """One key of a Kubernetes Secret; its value is never in the compiled pipeline."""

    secret: Name = Field(description="name of the Secret, in the run's namespace")
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")] = Field(description="key within the Secret")


class MetadataConfig(Settings):
    """The store of ML Metadata that all tasks share."""

    type: Literal["sqlite", "mysql", "postgresql"] = Field("sqlite", description="database of the store")
    path: Annotated[str, Field(pattern=r"^/.+")] | None = Field(
        None,
        description="SQLite's file, on a ReadWriteOnce volume; null for "
        "`<pipeline_root>/metadata.sqlite`, and tasks that run one at a time",
    )
    host: Annotated[str, Field(pattern=_HOST)] = Field(
        "", description="name or address of the database server, without port; empty for SQLite"
    )
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] | None = Field(
        None, description="port of the database server; null for the usual one"
    )
    database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        "mirante", description="name of the database"
    )
    user: SecretKey | None = Field(None, description="Secret with the user of the database; null for none")
    password: SecretKey | None = Field(
        None, description="Secret with the password of the database; null for none"
    )

    @property
    def server_port(self) -> int:
        """Return the server's port, the usual one where none is given."""
        return self.port or _PORTS[self.type]

    @property
    def takes_parallel_tasks(self) -> bool:
        """Return whether tasks may run at the same time; files on a network's file system take one writer."""
        return self.type != "sqlite" or self.path is not None

    @model_validator(mode="after")
    def _parts_fit_together(self) -> MetadataConfig:
        if self.type == "sqlite":
            given = [
                name for name in ("host", "port", "user", "password") if getattr(self, name) not in ("", None)
            ]
            if given:
                raise ValueError(f"{given[0]}: SQLite has no server: give type mysql or postgresql with it")
        elif not self.host:
            raise ValueError(f"host: {self.type} needs one, e.g. the service mysql.kubeflow.svc")
        elif self.path is not None:
            raise ValueError(f"path: this is for sqlite, got type: {self.type}")
        if self.type == "postgresql" and self.database != self.database.lower():
            # It would be made in small letters, and then looked for as it is written.
            raise ValueError(f"database: small letters only with postgresql, got {self.database}")
        return self
