"""Writes kserve_fields.json: the fields of an InferenceService and their types, by KServe's Python package.

    pip download --no-deps kserve==0.21.0
    python -m tests.deploy.kserve_fields kserve-0.21.0-py3-none-any.whl

The package itself needs other versions of what the locks have. Its classes are made from the schema that
KServe installs in a cluster.
"""

import ast
import json
import re
import sys
import zipfile
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
_ROOT = "V1beta1InferenceService"


def read_classes(wheel: Path) -> dict[str, dict[str, str]]:
    """Return the type of each field of KServe's classes, by class and by name in YAML."""
    classes = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.startswith("kserve/models/v1beta1_"):
                continue
            for node in ast.walk(ast.parse(archive.read(name))):
                if isinstance(node, ast.ClassDef):
                    found = {
                        statement.targets[0].id: ast.literal_eval(statement.value)
                        for statement in node.body
                        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
                        if statement.targets[0].id in ("openapi_types", "attribute_map")
                    }
                    if len(found) == 2:
                        names, types = found["attribute_map"], found["openapi_types"]
                        classes[node.name] = {names[key]: types[key] for key in types}
    return classes


def reachable(classes: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the classes that an InferenceService may hold."""
    found: dict[str, dict[str, str]] = {}
    left = [_ROOT]
    while left:
        name = left.pop()
        if name in classes and name not in found:
            found[name] = classes[name]
            left += [word for kind in classes[name].values() for word in re.findall(r"\w+", kind)]
    return dict(sorted(found.items()))


if __name__ == "__main__":
    written = {"package": Path(sys.argv[1]).name, "classes": reachable(read_classes(Path(sys.argv[1])))}
    FILE.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
