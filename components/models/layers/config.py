"""Settings of a layer: an entry of `model.layers`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from components.base.settings import Number, Positive, Settings

LayerType = Literal[
    "conv",
    "max_pool",
    "average_pool",
    "batch_norm",
    "activation",
    "dropout",
    "residual",
    "global_average_pool",
    "flatten",
    "dense",
]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "linear"]

# Of each kind: its options, and what they are if a recipe says nothing; None for one that has to be given.
OPTIONS: dict[LayerType, dict[str, Any]] = {
    "conv": {
        "filters": None,
        "size": 3,
        "stride": 1,
        "padding": "same",
        "activation": "relu",
        "bias": True,
    },
    "max_pool": {"size": 2, "stride": 2},
    "average_pool": {"size": 2, "stride": 2},
    "batch_norm": {"momentum": 0.9},
    "activation": {"activation": "relu"},
    "dropout": {"rate": 0.5},
    "residual": {"layers": None},
    "global_average_pool": {},
    "flatten": {},
    "dense": {"units": None, "activation": "relu", "bias": True},
}
assert set(OPTIONS) == set(get_args(LayerType))


def _read_word(value: Any) -> Any:
    """Return a layer without options, which may be given as a word, as a mapping."""
    return {"type": value} if isinstance(value, str) else value


class LayerConfig(Settings):
    """A layer; one without options may be given as a word, such as `flatten` (docs/models.md)."""

    type: LayerType = Field(description="kind of the layer")
    filters: Positive | None = Field(None, description="conv: channels that it gives; required")
    units: Positive | None = Field(None, description="dense: features that it gives; required")
    size: Positive | None = Field(
        None,
        description="conv, max_pool, average_pool: side of the window, in pixels of the map; null for 3, and "
        "2 when pooling",
    )
    stride: Positive | None = Field(
        None,
        description="conv, max_pool, average_pool: pixels between two windows; null for 1, and 2 when "
        "pooling",
    )
    padding: Literal["same", "valid"] | None = Field(
        None,
        description="conv: same adds a margin of 0, so that the map keeps its size; valid adds none; null "
        "for same",
    )
    activation: Activation | None = Field(
        None, description="conv, dense, activation: function of each value that it gives; null for relu"
    )
    bias: bool | None = Field(None, description="conv, dense: whether it adds a trained bias; null for true")
    momentum: Annotated[Number, Field(ge=0.0, lt=1.0)] | None = Field(
        None, description="batch_norm: share of its statistics that is kept in each step; null for 0.9"
    )
    rate: Annotated[Number, Field(ge=0.0, lt=1.0)] | None = Field(
        None, description="dropout: share of the values that training drops; null for 0.5"
    )
    layers: tuple[Layer, ...] | None = Field(
        None, description="residual: layers whose result is added to what goes into them; required"
    )

    def option(self, name: str) -> Any:
        """Return an option of this kind of layer, or its default."""
        given = getattr(self, name)
        return OPTIONS[self.type][name] if given is None else given

    @model_validator(mode="after")
    def _options_belong_to_the_kind(self) -> LayerConfig:
        known = OPTIONS[self.type]
        for name in type(self).model_fields:
            if name == "type":
                continue
            value = getattr(self, name)
            if value is not None and name not in known:
                having = [kind for kind, options in OPTIONS.items() if name in options]
                raise ValueError(
                    f"{name}: it is for {', '.join(having)}, got type: {self.type}, which has "
                    f"{', '.join(known) or 'no options'}; leave it out"
                )
            if value == ():
                raise ValueError(f"{name}: expected one layer or more, got []")
            if value is None and name in known and known[name] is None:
                raise ValueError(f"{name}: required for type: {self.type}, but not set")
        return self


Layer = Annotated[LayerConfig, BeforeValidator(_read_word)]
LayerConfig.model_rebuild()
