"""TFX's Tuner, which also writes the table of all trials and leaves nothing else behind."""

from __future__ import annotations

import os
from typing import Any

from tfx.components.tuner import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

TRIALS_FILE = "trials.csv"
# TFX's names.
TUNER_RESULTS = standard_component_specs.TUNER_RESULTS_KEY
BEST_HYPERPARAMETERS = standard_component_specs.BEST_HYPERPARAMETERS_KEY


class TunerExecutor(executor.Executor):
    """TFX's executor, with the table."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Search, and write `best_hyperparameters` and `tuner_results`.

        Raises:
            MiranteError: Not one trial came to an end.
        """
        search: Any = executor.search(
            input_dict, exec_properties, self._get_tmp_dir(), print_tuning_summary=False
        )
        executor.write_best_hyperparameters(search, output_dict)
        # Not next to the best values: the Trainer expects that file alone in its folder.
        folder = artifact_utils.get_single_uri(output_dict[TUNER_RESULTS])
        io_utils.write_string_file(os.path.join(folder, TRIALS_FILE), search.table())
        fileio.rmtree(search.project_dir)


class Tuner(component.Tuner):
    """TFX's component, for one process; it ignores `tune_args`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TunerExecutor)
