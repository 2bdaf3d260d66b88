"""The part `beam:` of a recipe: the engine that runs the Beam code of nodes. Imports no Beam."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_serializer, model_validator

from components.base.paths import GCS
from components.base.settings import IsPath, Positive, Settings
from components.base.words import suggest_and_list
from pipeline.steps import ENGINE_GROUPS

Engine = Literal["in_memory", "prism", "spark", "flink", "dataflow", "portable"]
DATAFLOW = "dataflow"
# Engines behind a job server that runs already.
SERVED: tuple[Engine, ...] = ("spark", "flink", "portable")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")
_LAST_PORT = 65535
# What each environment of workers needs.
_NEEDS = {"docker": "container_image", "process": "worker_command", "external": "worker_pool"}
_WORKERS = ("parallelism", "environment", *_NEEDS.values())
# The options of each engine, and those of them that it needs.
_OPTIONS: dict[Engine, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "in_memory": ((), ()),
    "prism": (("endpoint",), ()),
    **dict.fromkeys(SERVED, (("endpoint", *_WORKERS), ("endpoint",))),
    "dataflow": (
        ("project", "region", "temp_location", "container_image", "parallelism"),
        ("project", "region", "temp_location"),
    ),
}


def _check_address(value: str) -> str:
    match = _ADDRESS.fullmatch(value)
    if match is None or not 0 < int(match[2]) <= _LAST_PORT:
        raise ValueError(f"expected host:port, such as localhost:8099, got {value!r}")
    return value


def _check_bucket(value: str) -> str:
    if not value.startswith(GCS) or value == GCS:
        raise ValueError(f"expected gs://BUCKET/FOLDER, got {value!r}")
    return value


Address = Annotated[str, AfterValidator(_check_address)]
# Beam gets it among other arguments, as one word.
Word = Annotated[str, Field(pattern=r"^[^\s-]\S*$")]


class EngineConfig(Settings):
    """An engine with its options (docs/engines.md)."""

    engine: Engine = Field(
        "in_memory",
        description="what runs the Beam code of nodes: this process (in_memory), Prism, or Spark, Flink or "
        "another portable runner behind a job server, or Dataflow",
    )
    endpoint: Address | None = Field(
        None,
        description="host:port of a job server that runs already; null for in_memory and dataflow, and for a "
        "Prism that each node starts",
    )
    environment: Literal["loopback", "docker", "process", "external"] = Field(
        "loopback",
        description="where the Python workers of a job server's engine are: in the node's process on the "
        "same machine (loopback), in containers (docker), processes that each executor starts (process), or "
        "a worker pool (external)",
    )
    container_image: Word | None = Field(
        None, description="image of the workers, for environment docker and for dataflow; null for none"
    )
    worker_command: Word | None = Field(
        None, description="program that starts a worker, for environment process; null for none"
    )
    worker_pool: Address | None = Field(
        None, description="host:port of a worker pool, for environment external; null for none"
    )
    parallelism: Positive | None = Field(
        None,
        description="Flink's parallelism, Python processes per Spark executor, or Dataflow's most workers; "
        "null for the engine's choice",
    )
    project: Word | None = Field(None, description="Google Cloud project of dataflow; null for none")
    region: Word | None = Field(None, description="region of dataflow, such as europe-west4; null for none")
    temp_location: Annotated[str, AfterValidator(_check_bucket)] | None = Field(
        None, description="bucket folder for temporary files of dataflow; null for none"
    )

    @property
    def has_near_workers(self) -> bool:
        """Return whether the node's own process does the work, so that workers see its files."""
        return self.engine in ("in_memory", "prism") or (
            self.engine != DATAFLOW and self.environment == "loopback"
        )

    def check(self) -> None:
        """Refuse options that the engine lacks, or has no use for.

        Raises:
            ValueError: Begins with the option.
        """
        known, needed = _OPTIONS[self.engine]
        default = EngineConfig()
        given = [name for name in type(default).model_fields if getattr(self, name) != getattr(default, name)]
        for name in given:
            if name not in (*known, "engine"):
                users = ", ".join(engine for engine, (names, _) in _OPTIONS.items() if name in names)
                raise ValueError(
                    f"{name}: expected none with engine: {self.engine}, got {getattr(self, name)}; leave it "
                    f"out, or take an engine that has it ({users})"
                )
        for name in needed:
            if name not in given:
                raise ValueError(f"{name}: expected a value with engine: {self.engine}, got null; set it")
        if self.engine not in SERVED:
            return
        for environment, name in _NEEDS.items():
            if environment == self.environment and name not in given:
                raise ValueError(
                    f"{name}: expected a value with environment: {environment}, got null; set it"
                )
            if environment != self.environment and name in given:
                raise ValueError(
                    f"{name}: expected none with environment: {self.environment}, got {getattr(self, name)}; "
                    f"leave it out, or set environment: {environment}"
                )


class BeamConfig(EngineConfig):
    """The engine that runs the Beam code of nodes: ingested records, statistics, transform, metrics, answers.

    See docs/engines.md.
    """

    prism_location: Annotated[str | None, IsPath()] = Field(
        None, description="Prism's binary; null to have Beam look for it in its cache, or download it"
    )
    setup_file: Annotated[str | None, IsPath()] = Field(
        None, description="setup.py of a package that workers build and install; null for none"
    )
    extra_package: Annotated[str | None, IsPath()] = Field(
        None, description="wheel or source distribution that workers install; null for none"
    )
    nodes: dict[str, EngineConfig] = Field(
        {},
        description=f"engine of a group of nodes ({', '.join(ENGINE_GROUPS)}); its keys replace those of "
        "beam, and with another engine only its own count; an ingest that is not named here uses processes "
        "of its machine",
    )

    @model_validator(mode="after")
    def _options_fit(self) -> BeamConfig:
        for name in self.nodes:
            if name not in ENGINE_GROUPS:
                raise ValueError(f"nodes: there is no group {name!r}{suggest_and_list(name, ENGINE_GROUPS)}")
        self.check()
        for name in self.nodes:
            try:
                self.of(name).check()
            except ValueError as e:
                raise ValueError(f"nodes.{name}.{e}") from e
        used = self.engines
        starts_prism = any(one.engine == "prism" and one.endpoint is None for one in used)
        if self.prism_location and not starts_prism:
            raise ValueError(
                f"prism_location: expected none where no node starts Prism, got {self.prism_location}; leave "
                "it out, or set engine: prism without an endpoint"
            )
        for name in ("setup_file", "extra_package"):
            if getattr(self, name) and all(one.has_near_workers for one in used):
                raise ValueError(
                    f"{name}: expected none where all workers are in the node's process, got "
                    f"{getattr(self, name)}; leave it out"
                )
        ships = self.setup_file or self.extra_package
        if not ships and any(one.engine == DATAFLOW and not one.container_image for one in used):
            raise ValueError(
                "container_image: expected an image with Mirante for dataflow's workers, got null; set it, "
                "or give Mirante's setup_file, or its wheel as extra_package"
            )
        return self

    @field_serializer("nodes")
    def _as_given(self, nodes: dict[str, EngineConfig]) -> dict[str, Any]:
        # With all their keys the groups would take none of beam's when the recipe is read again.
        return {name: own.model_dump(exclude_unset=True) for name, own in nodes.items()}

    @property
    def engines(self) -> tuple[EngineConfig, ...]:
        """Return the engines of all groups of nodes."""
        return tuple(self.of(group) for group in ENGINE_GROUPS)

    def of(self, group: str) -> EngineConfig:
        """Return the engine of a group of nodes: the group's own options, then those of `beam`."""
        own = self.nodes.get(group)
        mine: dict[str, Any] = {name: getattr(self, name) for name in EngineConfig.model_fields}
        if own is None:
            return EngineConfig.model_validate(mine)
        given = {name: getattr(own, name) for name in own.model_fields_set}
        is_other = given.get("engine", self.engine) != self.engine
        return EngineConfig.model_validate(given if is_other else {**mine, **given})
