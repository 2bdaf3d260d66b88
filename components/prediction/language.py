"""Class names in another language, as the card of a pushed model has them. Imports no TensorFlow."""

from collections.abc import Sequence

from components.base.class_aliases import translate
from components.base.saved_model import class_aliases_of


def translate_classes(folder: str, class_names: Sequence[str], language: str) -> dict[str, str]:
    """Return each class's name in a language; a class without one keeps its own.

    Args:
        folder: A pushed model.
        class_names: Its classes.
        language: A code, such as `pt`.

    Raises:
        UsageError: No class has a name in that language, or two classes would have the same name.
    """
    return translate("--language", class_aliases_of(folder), class_names, language)
