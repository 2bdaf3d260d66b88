"""Beam's runner for Prism, which ends its Prism with each pipeline.

Beam's own keeps one Prism for the process and ends it at exit. By then its folder for temporary files is
gone, and ending it fails. It also takes the handler of SIGINT. A Prism whose process was killed ends when it
has been idle for a while.
"""

from __future__ import annotations

from typing import Any

from apache_beam.runners.portability import prism_runner

from components.base.errors import MiranteError

_IDLE_LIMIT = "5m"


class _Prism(prism_runner.PrismJobServer):
    """A Prism process."""

    def prism_arguments(self, job_port: Any) -> list[Any]:
        """Return the arguments of Prism's command."""
        return [*super().prism_arguments(job_port), f"--idle_shutdown_timeout={_IDLE_LIMIT}"]

    def start(self) -> Any:
        """Find the binary, and start it.

        Raises:
            MiranteError: There is none, it cannot be downloaded, or it does not start.
        """
        try:
            return super().start()
        except Exception as e:
            raise MiranteError(
                f"beam.prism_location: expected a Prism that starts, got {e}; build it (docs/engines.md) "
                "and give its path"
            ) from e

    def stop(self) -> None:
        """End it, if it was started."""
        if self._server is not None:
            super().stop()


class PrismRunner(prism_runner.PrismRunner):
    """Runs one pipeline on a Prism of its own."""

    _prism: _Prism | None = None

    def default_job_server(self, options: Any) -> _Prism:
        """Return the Prism, which Beam starts."""
        self._prism = _Prism(options)
        return self._prism

    def start_and_replace_loopback_environments(self, pipeline: Any, options: Any) -> list[Any]:
        """Start the workers, and return what ends them and Prism after the pipeline."""
        return [*super().start_and_replace_loopback_environments(pipeline, options), self._stop]

    def run_portable_pipeline(self, pipeline: Any, options: Any) -> Any:
        """Submit the pipeline."""
        try:
            return super().run_portable_pipeline(pipeline, options)
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        if self._prism is not None:
            self._prism.stop()
            self._prism = None
