"""The page of ImportSchemaGen: the features that every record must have, and the classes."""

import os
from collections.abc import Mapping
from typing import Any

from components.base import files
from components.base.outcome import Output
from components.pages.markup import Cell, make_table
from components.pages.page import Page
from components.pages.tables import find_output

_MOST_NAMES = 500


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show the schema."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    path = os.path.join(find_output(outputs, "schema").uri, "schema.pbtxt")
    schema = text_format.Parse(files.read_text(path), schema_pb2.Schema())
    page.add_text("ExampleValidator compares every record with this schema.")
    rows: list[list[Cell]] = []
    for feature in schema.feature:
        needed = "in every record" if feature.presence.min_fraction == 1.0 else "may be missing"
        kind = schema_pb2.FeatureType.Name(feature.type).lower()
        rows.append([feature.name, kind, needed, _format_domain(feature)])
    with page.part("Features"):
        page.add(make_table(["feature", "type", "presence", "values"], rows))
    with page.part("Classes"):
        names = page.shown_names
        page.add_text(f"{len(names):,} classes in the order of their labels, from {page.task.first_label}:")
        page.add_text(", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else ""))


def _format_domain(feature: Any) -> str:
    kind = feature.WhichOneof("domain_info")
    if kind == "int_domain":
        domain = feature.int_domain
        low = domain.min if domain.HasField("min") else "any"
        return f"{low} to {domain.max}" if domain.HasField("max") else f"{low} or more"
    if kind == "string_domain":
        values = list(feature.string_domain.value)
        return f"{len(values)} values" if len(values) > 5 else ", ".join(values)
    return ""
