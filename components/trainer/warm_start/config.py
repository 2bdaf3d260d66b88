"""Settings of a warm start: the part `training.warm_start` of a recipe."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from components.base.settings import IsPath, Settings

LATEST_BLESSED = "latest_blessed"


class WarmStartConfig(Settings):
    """Initial weights of a training (docs/warm-start.md).

    The recipe key is `from`; the field is `source` because `from` is a Python keyword.
    """

    source: Annotated[str, Field(min_length=1), IsPath(words=(LATEST_BLESSED, ""), makes_model=True)] = Field(
        alias="from",
        description="latest_blessed for the served model, or the path of a pushed model, a .keras or .h5 "
        "file, or a TensorFlow checkpoint",
    )
    fine_tune_checkpoint_type: Literal["classification", "detection", "full"] = Field(
        "full",
        description="full takes all weights; classification and detection take the backbone of a "
        "classifier or a detector, and train a new head first",
    )

    @property
    def is_latest_blessed(self) -> bool:
        """True if the source is the model that this pipeline serves."""
        return self.source == LATEST_BLESSED

    @property
    def backbone_only(self) -> bool:
        """True if the head, or its part for certain classes, starts from random weights."""
        return self.fine_tune_checkpoint_type != "full"

    @property
    def takes_shared_head(self) -> bool:
        """True if the parts of a head that are not for certain classes are taken too."""
        return self.fine_tune_checkpoint_type != "classification"

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What a run records of its recipe is a recipe again.
        values = dict(handler(self))
        return {"from": values.pop("source", self.source), **values}
