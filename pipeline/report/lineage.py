"""The sections of a report on the model, the nodes, and what the result was made from."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from components.base import files
from components.base.words import format_count
from components.exporter import page as exporter
from components.infra_validator import page as infra_validator
from components.pages.charts import COLOURS
from components.pages.markup import (
    Cell,
    Html,
    Seconds,
    escape,
    format_path,
    make_bar,
    make_table,
    render_part,
)
from components.pages.page import Page
from pipeline.history.runs import PastRun
from pipeline.recipe.load import load_recipe, recipe_names
from pipeline.recipe.recipe import Recipe

_MIB = 1 << 20
# What every recipe has, and of which no default tells anything.
_ALWAYS = ("name",)
# The status of a node that did something.
_RAN = ("completed", "failed")
# What a run has done is written down at its end.
NOT_RECORDED = "That is written down at the end of a run."


def show_model(page: Page, run: PastRun) -> None:
    """Add the size of the model, where it was pushed, and how fast it answers."""
    model = run.outputs["Trainer"]["model"]
    paths = files.list_below(model.uri)
    size = sum(os.path.getsize(path) for path in paths if os.path.exists(path))
    page.add_cards([("MiB, the exported model", round(size / _MIB, 2)), ("classes", len(page.class_names))])
    rows: list[list[Cell]] = [["exported by the Trainer", format_path(model.uri)]]
    if run.pushed_model:
        rows.append(["pushed", format_path(run.pushed_model)])
    if run.result.get("model_card"):
        rows.append(["model card", format_path(run.locate(run.result["model_card"]))])
    if answers := run.result.get("answers"):
        rows.append([f"answers ({answers['images']:,})", format_path(run.locate(answers["folder"]))])
    page.add(make_table(["", "where"], rows))
    if outputs := run.outputs.get("Exporter"):
        with page.part("Exports"):
            exporter.fill_page(page, outputs)
    if outputs := run.outputs.get("InfraValidator"):
        with page.part("Does it answer, and how fast"):
            infra_validator.fill_page(page, outputs)


def show_nodes(page: Page, run: PastRun) -> None:
    """Add the time and the peak memory of every node."""
    nodes: dict[str, dict[str, Any]] = run.result.get("components") or {}
    if not nodes:
        page.add_note("No node ran." if run.result else NOT_RECORDED)
        return
    longest = max((node["seconds"] for node in nodes.values()), default=0.0) or 1.0
    rows: list[list[Cell]] = []
    for name, node in nodes.items():
        peak = node.get("peak_memory_bytes") if node["status"] in _RAN else None
        rows.append(
            [
                name,
                node["status"],
                Seconds(node["seconds"]),
                make_bar(node["seconds"] / longest, COLOURS["train"]),
                None if peak is None else round(peak / _MIB),
            ]
        )
    page.add(make_table(["node", "status", "seconds", "", "peak memory, MiB"], rows))
    page.add_note(
        "The peak is that of the run's own process while the node ran; other processes that a node "
        "starts, such as InfraValidator's, are not in it. A dash: the node did not run; a cached one kept "
        "the result of an earlier run."
    )


def show_lineage(page: Page, run: PastRun) -> None:
    """Add data, code, stack, seed and settings."""
    record, data = run.record, run.data
    rows: list[list[Cell]] = [
        ["data, SHA-256", format_path(str(data["sha256"])) if data.get("sha256") else None],
        ["test split, SHA-256", format_path(str(data["test_sha256"])) if data.get("test_sha256") else None],
        ["data folder", format_path(str(run.find(str(data["path"])))) if data.get("path") else None],
        ["span", run.result.get("span")],
        ["root", format_path(str(run.root))],
        ["log", format_path(str(run.find(str(run.result["log"])))) if run.result.get("log") else None],
        ["random seed", str(run.settings.get("training.seed"))],
    ]
    if record is not None:
        rows += [["code", format_path(record.code) if record.code else "an installed package"]]
        rows += [[name, version] for name, version in record.versions.items()]
    page.add(make_table(["", "value"], [row for row in rows if row[1] is not None]))
    with page.part("Settings"):
        _show_settings(page, run)


def _show_settings(page: Page, run: PastRun) -> None:
    defaults = dict(_list_defaults(Recipe))
    name = str(run.settings.get("name"))
    recipe = _read_built_in(name)
    if recipe:
        changed = _list_changed(run.settings, recipe)
        if changed:
            page.add_text(f"Changed from the built-in recipe {name}:")
            page.add(make_table(["setting", "value", "in the recipe"], changed))
        else:
            page.add_text(f"As the built-in recipe {name} has them.")
    own = _list_changed(run.settings, defaults)
    table = make_table(["setting", "value", "default"], own)
    if recipe:
        table = render_part("details", f"{format_count(own, 'setting')} other than the defaults", table)
    else:
        page.add_text("Settings other than the defaults:")
    page.add(table)
    usual: list[list[Cell]] = [
        [key, _format_setting(value)]
        for key, value in run.settings.items()
        if defaults.get(key, key) == value
    ]
    words = f"{format_count(usual, 'setting')} as by default"
    page.add(render_part("details", words, make_table(["setting", "value"], usual), is_printed=False))


def _read_built_in(name: str) -> dict[str, Any]:
    """Return the settings of a built-in recipe by dotted key; empty if there is none of this name."""
    if name not in recipe_names():
        return {}
    recipe = load_recipe(name, elsewhere=True).model_dump(mode="json")
    return {key: value for part, inner in recipe.items() for key, value in _flatten(part, inner)}


def _list_changed(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> list[list[Cell]]:
    """Return rows of the settings that have another value than usual: key, value, and the usual one."""
    return [
        [key, _format_setting(value), _format_setting(usual[key]) if key in usual else "none"]
        for key, value in settings.items()
        if key not in _ALWAYS and not (key in usual and usual[key] == value)
    ]


def _list_defaults(settings: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of settings with their defaults, as a recipe that is kept has them."""
    for name, field in settings.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            continue
        if isinstance(default, BaseModel):
            yield from _list_defaults(type(default), f"{key}.")
        else:
            yield from _flatten(key, to_jsonable_python(default, by_alias=True))


def _flatten(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(f"{key}.{name}", inner)
    else:
        yield key, value


def _format_setting(value: Any) -> Html:
    if isinstance(value, str) and os.sep in value:
        return format_path(value)
    return escape(value if isinstance(value, str) else json.dumps(value))
