"""Settings of the model card: the part `about` of a recipe."""

from pydantic import Field

from components.base.settings import Settings


class AboutConfig(Settings):
    """Texts of the model card, which nothing can measure; they change no result (docs/model-card.md)."""

    description: str | None = Field(None, description="what the model does, in a sentence; null for none")
    owners: tuple[str, ...] = Field((), description="people or teams that develop and maintain the model")
    contact: str | None = Field(None, description="where questions go, such as an address; null for none")
    license: str | None = Field(None, description="license of the model; null for none")
    references: tuple[str, ...] = Field((), description="papers and pages on the model or the data")
    intended_use: str | None = Field(None, description="what the model is made for; null for none")
    intended_users: str | None = Field(None, description="who should use it; null for none")
    out_of_scope: str | None = Field(None, description="what it must not be used for; null for none")
    factors: str | None = Field(
        None, description="what the answers may depend on, such as cameras, light or places; null for none"
    )
    training_data: str | None = Field(
        None, description="where the images come from, and who labelled them by what rules; null for none"
    )
    evaluation_data: str | None = Field(
        None, description="why the test images stand for those in use; null for none"
    )
    ethical_considerations: str | None = Field(
        None, description="risks and harms, and what was done about them; null for none"
    )
    language: str | None = Field(
        None,
        min_length=1,
        description="language of the class names in the report and the model card, such as pt: one of "
        "data.class_names; null for their own names",
    )
    caveats: str | None = Field(None, description="further limits, and advice for users; null for none")
