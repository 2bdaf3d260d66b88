"""The page of the Pusher: where the model is, or why it was not pushed."""

from collections.abc import Mapping

from components.base.outcome import Output
from components.base.serving_folder import TAKEN_BACK
from components.pages.markup import format_path, make_table
from components.pages.page import Page
from components.pages.tables import find_output


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the version that was pushed, or the reason for none."""
    properties = find_output(outputs, "pushed_model").properties
    is_pushed = properties.get("pushed") == 1
    page.add_verdict(is_pushed, "pushed" if is_pushed else "not pushed")
    if is_pushed:
        page.add(
            make_table(
                ["", ""],
                [
                    ["model", format_path(properties.get("pushed_destination", "not recorded"))],
                    ["version", str(properties.get("pushed_version", "not recorded"))],
                ],
            )
        )
        page.add_note("TF Serving serves the highest version in that folder.")
    elif TAKEN_BACK in properties:
        page.add_text(
            f"This model was pushed before as version {properties[TAKEN_BACK]}, which was taken back "
            "or removed since. It is not pushed again until that version's record in the folder pushes is "
            "removed; `mirante rollback` serves a version that it has taken back."
        )
    else:
        page.add_text(
            "The Evaluator or the InfraValidator did not bless the model; their pages say why. The model "
            "that was served before is still served."
        )
