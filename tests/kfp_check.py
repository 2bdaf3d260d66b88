"""Kubeflow's own validation and compiler as one program, `kfp_check`.

Its folder is next to the one that MIRANTE_KFP_CLUSTER names.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from components.base.paths import replace_file

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = Path(os.environ.get("MIRANTE_KFP_CLUSTER") or ROOT.parent / "shared" / "kfp_cluster")


def check_packages(*packages: Path) -> list[dict[str, Any]]:
    """Return the Argo workflow that Kubeflow makes of each package; a package that it refuses fails the test.

    Nothing is checked or returned where the program is not available, unless MIRANTE_KFP_CLUSTER promises it.
    """
    program = _unpack()
    if program is None:
        assert "MIRANTE_KFP_CLUSTER" not in os.environ, f"no kfp_check next to {CLUSTER}"
        return []
    done = subprocess.run(
        [str(program), *map(str, packages)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert [line.partition(": accepted, ")[0] for line in done.stdout.splitlines()] == [*map(str, packages)]
    files = [package.with_name(f"{package.name}.workflow.json") for package in packages]
    workflows = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for file in files:
        file.unlink()
    return workflows


@cache
def _unpack() -> Path | None:
    """Return the program, which is kept in pytest's cache; None where it is not available."""
    packed = CLUSTER.with_name("kfp_check") / "kfp_check.gz"
    if not packed.is_file():
        return None
    program = ROOT / ".pytest_cache" / f"kfp_check-{packed.stat().st_size}"
    if not program.is_file():
        program.parent.mkdir(exist_ok=True)
        with replace_file(program) as part:
            with gzip.open(packed) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            part.chmod(0o755)
    return program
