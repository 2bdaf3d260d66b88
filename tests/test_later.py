"""Packages whose own code runs when something of it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pipeline.later import IN_A_TASK, import_later

for name, part in IN_A_TASK.items():
    import_later(name, part)
import pipeline.node
import tfx.components.schema_gen.executor

def loaded(*names):
    return [name for name in names if name in sys.modules]

lazy = "tfx.components.bulk_inferrer.component", "nltk", "tensorflow_model_analysis.api.model_eval_lib"
print(loaded(*lazy))
import tensorflow_model_analysis as tfma
print(tfma.metrics.__name__, loaded(*lazy))
print(tfma.EvalConfig is tfma.proto.config_pb2.EvalConfig, loaded(*lazy))
tfma.load_eval_result
print(tfma.EvalConfig is tfma.proto.config_pb2.EvalConfig, hasattr(tfma, "Nothing"))
import pipeline.definition
from tfx.components import BulkInferrer
print(BulkInferrer.__module__, loaded(*lazy) == list(lazy))
before = sys.modules["tfx.components"]
import_later("tfx.components")
print(sys.modules["tfx.components"] is before, hasattr(before, "Nothing"))
"""


def test_a_package_is_loaded_when_it_is_needed_and_is_then_the_real_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-6:] == [
        "[]",
        # All of it but what is asked for: its metrics bring NLTK.
        "tensorflow_model_analysis.metrics ['nltk']",
        "True ['nltk']",
        "True False",
        "tfx.components.bulk_inferrer.component True",
        "True False",
    ]
