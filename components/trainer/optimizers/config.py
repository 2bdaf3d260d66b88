"""Settings of optimisers: `training.optimizer`, `training.optimizer_options` and `training.ema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from components.base.settings import NotNegativeFloat, Number, PositiveFloat, Settings

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "lion", "nadam"]

# Of each optimiser: its options, and what they are if a recipe says nothing. Keras' own, apart from sgd's.
OPTIONS: dict[OptimizerName, dict[str, float | bool]] = {
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    "adamw": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    "sgd": {"momentum": 0.9, "nesterov": True},
    "rmsprop": {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    "adagrad": {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
    "adadelta": {"rho": 0.95, "epsilon": 1e-7},
    "lion": {"beta_1": 0.9, "beta_2": 0.99},
    "nadam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
}
assert set(OPTIONS) == set(get_args(OptimizerName))

# Below 1: an average that never takes anything in would stay what it was.
_Decay = Annotated[Number, Field(ge=0.0, lt=1.0)]


class OptimizerOptions(Settings):
    """Options of the optimiser; null for its own default (docs/training.md)."""

    momentum: _Decay | None = Field(None, description="sgd, rmsprop: share of the step before that is kept")
    nesterov: bool | None = Field(None, description="sgd: whether momentum is Nesterov's")
    beta_1: _Decay | None = Field(
        None, description="adam, adamw, nadam, lion: decay of the mean of the gradients"
    )
    beta_2: _Decay | None = Field(
        None,
        description="adam, adamw, nadam: decay of the mean of their squares; lion: decay of the momentum",
    )
    epsilon: PositiveFloat | None = Field(
        None, description="all but sgd and lion: number that keeps the division from overflowing"
    )
    amsgrad: bool | None = Field(None, description="adam, adamw: whether the squares' mean never falls")
    rho: _Decay | None = Field(
        None, description="rmsprop, adadelta: decay of the mean of the squared gradients"
    )
    centered: bool | None = Field(
        None, description="rmsprop: whether gradients are divided by their deviation"
    )
    initial_accumulator_value: NotNegativeFloat | None = Field(
        None, description="adagrad: sum of the squared gradients before the first step"
    )

    def of(self, optimizer: OptimizerName) -> dict[str, Any]:
        """Return all options of an optimiser.

        Raises:
            ValueError: An option of another optimiser is set; the message names the optimisers that have it.
        """
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        for name, value in given.items():
            if name not in OPTIONS[optimizer]:
                having = [each for each, options in OPTIONS.items() if name in options]
                raise ValueError(
                    f"optimizer_options.{name}: it is for {', '.join(having)}, got {value} for optimizer: "
                    f"{optimizer}, whose options are {', '.join(OPTIONS[optimizer])}; leave it out"
                )
        options = {**OPTIONS[optimizer], **given}
        if given.get("nesterov") and not options["momentum"]:
            raise ValueError(
                "optimizer_options.nesterov: expected a momentum above 0, got 0.0; leave one of them out"
            )
        return options


class EmaConfig(Settings):
    """An exponential moving average of the weights (docs/training.md)."""

    decay: Annotated[Number, Field(gt=0.0, lt=1.0)] = Field(
        0.999,
        description="share of the average that is kept in each step; less in the first steps, "
        "(1 + steps) / (10 + steps) at most",
    )
    use: Literal["better", "always"] = Field(
        "better",
        description="better evaluates weights and average, and takes those with the lower eval loss; always "
        "takes the average",
    )
