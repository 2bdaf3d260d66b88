"""Options of a command that are made from the fields of a settings class.

Name, kind, default and help of an option are those of its field. The class is imported when the options are
needed, so that `mirante --help` imports no pydantic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click

from components.base.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from components.base.settings import Settings


class ShareRange(click.FloatRange):
    """A number from 0 to 1. Click lets nan pass, because nan passes every comparison."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number that a word stands for."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number from 0 to 1", param, ctx)
        return number


class FieldsCommand(click.Command):
    """A command with options from the fields of a settings class, before those that it has itself.

    Args:
        settings: Returns the class and the names of the fields, in the order of the help.
        given: By field, what its option has that the field does not say: `flag`, `metavar`, `type`.
        words: Returns texts for the placeholders in the help.
        arguments: As for click.Command.
    """

    def __init__(
        self,
        *arguments: Any,
        settings: Callable[[], tuple[type[Settings], tuple[str, ...]]],
        given: Mapping[str, Mapping[str, Any]],
        words: Callable[[], Mapping[str, str]] = dict,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._settings, self._given, self._words = settings, given, words
        self._is_complete = False

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the arguments, the options from the fields, and the command's own options."""
        if not self._is_complete:
            model, names = self._settings()
            made = [_option(name, model.model_fields[name], self._given.get(name, {})) for name in names]
            first = [param for param in self.params if isinstance(param, click.Argument)]
            self.params = [*first, *made, *(param for param in self.params if param not in first)]
            self._is_complete = True
        return super().get_params(ctx)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, with the words for its placeholders."""
        with_placeholders = self.help
        self.help = (with_placeholders or "").format(**self._words())
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = with_placeholders


def settings_from(model: type[Settings], options: Mapping[str, Any]) -> Any:
    """Return the settings that options stand for; an option that is not given leaves the default.

    Raises:
        UsageError: A value is refused; with the key and what was expected.
    """
    from pydantic import ValidationError

    from pipeline.recipe.wording import format_errors

    fields = model.model_fields
    values = {
        name: value
        for name, value in options.items()
        # An empty text for a mapping that is empty by default: a variable that is not set.
        if value is not None and not (value == "" and fields[name].default == {})
    }
    for name, value in values.items():
        if get_origin(fields[name].annotation) is dict:
            values[name] = _pairs(value, f"--{name.replace('_', '-')}", fields[name])
    try:
        return model(**values)
    except ValidationError as e:
        raise UsageError("\n".join(format_errors(e, model))) from e


def _option(name: str, field: FieldInfo, given: Mapping[str, Any]) -> click.Option:
    flag = given.get("flag", f"--{name.replace('_', '-')}")
    has_default = field.default is not None and field.default != {}
    text = field.description or ""
    if field.annotation is bool:
        return click.Option([flag, name], is_flag=True, default=None, help=f"{text[0].upper()}{text[1:]}.")
    return click.Option(
        [flag, name],
        type=given.get("type") or _type(field),
        metavar=given.get("metavar"),
        default=_shown(field.default) if has_default else None,
        show_default=has_default,
        help=f"{text[0].upper()}{text[1:]}.",
    )


def _type(field: FieldInfo) -> Any:
    """Return the kind of click's that takes what a field takes."""
    kinds: list[Any] = [field.annotation]
    rules = list(field.metadata)
    while get_origin(kinds[0]) in (Union, UnionType):
        kinds = [kind for kind in get_args(kinds[0]) if kind is not type(None)]
    kind: Any = kinds[0]
    while hasattr(kind, "__metadata__"):
        for rule in kind.__metadata__:
            rules += getattr(rule, "metadata", [rule])
        kind = kind.__origin__
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    bounds = {
        key: getattr(rule, at)
        for rule in rules
        for key, at in (("min", "ge"), ("max", "le"))
        if hasattr(rule, at)
    }
    if kind is bool:
        return click.BOOL
    if kind is int:
        return click.IntRange(**bounds)
    return ShareRange() if kind is float else str


def _shown(value: Any) -> Any:
    return ",".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else value


def _pairs(text: str, flag: str, field: FieldInfo) -> dict[str, Any]:
    """Return what `name=value,name=value` says."""
    _, value_kind = get_args(field.annotation)
    is_number = getattr(value_kind, "__origin__", value_kind) is float
    pairs: dict[str, Any] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        try:
            if not equals or key.strip() in pairs:
                raise ValueError("no =, or a name that is there already")
            pairs[key.strip()] = _finite(value) if is_number else value.strip()
        except ValueError as e:
            raise UsageError(f"{flag} {text}: expected name=value,name=value, got {item!r}") from e
    return pairs


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number
