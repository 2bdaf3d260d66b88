"""Class names in further languages, by class and language, as `data.class_names` gives them."""

from collections.abc import Mapping, Sequence

from components.base.errors import UsageError


def translate(
    key: str, aliases: Mapping[str, Mapping[str, str]], class_names: Sequence[str], language: str
) -> dict[str, str]:
    """Return each class's name in a language; a class without one keeps its own.

    Args:
        key: What asks for the language, for messages.
        aliases: The names in further languages.
        class_names: All classes.
        language: A code, such as `pt`.

    Raises:
        UsageError: No class has a name in that language, or two classes would have the same name.
    """
    known = sorted({code for of_class in aliases.values() for code in of_class})
    if language not in known:
        wanted = (
            f"one of {', '.join(known)}" if known else "none, since the classes have names in one language"
        )
        raise UsageError(
            f"{key}: expected {wanted}, got {language!r}; data.class_names of a recipe adds others"
        )
    names = {name: aliases.get(name, {}).get(language, name) for name in class_names}
    if len(set(names.values())) < len(names):
        raise UsageError(
            f"{key} {language}: expected another name for each class, got one that is also the name of "
            "another class; correct data.class_names of the recipe"
        )
    return names
