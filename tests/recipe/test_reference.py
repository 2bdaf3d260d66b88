"""docs/recipe.md is what the fields say."""

from pipeline.recipe.reference import PAGE, format_reference


def test_the_page_of_all_keys_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == format_reference(), "run `make docs`"


def test_rows_in_the_words_of_yaml() -> None:
    page = format_reference()
    assert "\n| `epochs` | whole number (1 or more) | `10` | epochs of the first stage, in which" in page
    assert (
        "\n| `channels` | `1` or `3` | `3` | 1 for gray images, 3 for RGB; images are converted |\n" in page
    )
    assert "\n| `flip` | `none`, `horizontal`, `vertical` or `horizontal_and_vertical` | `none` |" in page
    assert "\n| `from` | path | required | latest_blessed for the served model, or the path of" in page
    assert "\n| `area` | list of 2 numbers (0 to 1) | `[1.0, 1.0]` |" in page
    assert "\n| `splits` | mapping to numbers (0 to 1) | `{train: 0.8, eval: 0.1, test: 0.1}` |" in page


def test_a_class_of_settings_has_one_section() -> None:
    page = format_reference()
    assert page.count("\n## kubeflow.defaults\n") == 1
    assert "## kubeflow.tasks" not in page
    assert (
        "Ingest, asks for; its keys replace those of defaults: [kubeflow.defaults](#kubeflowdefaults)" in page
    )
