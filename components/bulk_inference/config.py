"""Settings of BulkInference: the part `bulk_inference` of a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from components.base.settings import IsPath, Positive, Settings, Share
from schemas import features

# The splits of the data: their names as an input are no paths.
SPLITS = (features.TRAIN, features.EVAL, features.TEST)


class BulkInferenceConfig(Settings):
    """Images that every new, blessed model is asked about."""

    input: Annotated[str, IsPath(words=SPLITS)] = Field(
        description=f"what to ask about: a split ({', '.join(SPLITS)}), or a folder or bucket of images or "
        "of TFRecord files"
    )
    format: Literal["parquet", "tfrecord"] = Field("parquet", description="files of the answers")
    top: Positive | None = Field(None, description="most predictions per image; null for all")
    min_score: Share | None = Field(
        None, description="lowest score of a prediction; null for 0, and 0.01 for boxes"
    )
    shard_images: Positive = Field(
        1000, description="most images per file of answers; TFRecord files have one file each"
    )

    @property
    def path(self) -> str | None:
        """The folder, bucket or file of the input; None for a split."""
        return None if self.input in SPLITS else self.input
