"""Class names in another language, as a recipe's `data.class_names` gives them. Imports no TensorFlow."""

from collections.abc import Sequence

from components.base.errors import UsageError
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
    aliases = class_aliases_of(folder)
    known = sorted({each for of_class in aliases.values() for each in of_class})
    if language not in known:
        wanted = f"one of {', '.join(known)}" if known else "none, since the model has names in one language"
        raise UsageError(
            f"--language: expected {wanted}, got {language!r}; data.class_names of a recipe adds others"
        )
    names = {name: aliases.get(name, {}).get(language, name) for name in class_names}
    if len(set(names.values())) < len(names):
        raise UsageError(
            f"--language {language}: expected another name for each class, got one that is also the name of "
            "another class; correct data.class_names of the recipe"
        )
    return names
