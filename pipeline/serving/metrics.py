"""Counters and histograms under TensorFlow Serving's names, as text for Prometheus."""

import bisect
import re
import threading
from collections.abc import Sequence

# In microseconds; the last bucket has no limit.
_LATENCIES = tuple(10 * 1.8**power for power in range(33))
_COUNTS = tuple(float(2**power) for power in range(15))
# Clients send names of models that are not there: this many, of this length, are counted by themselves.
_MOST_NAMES = 1000
_MOST_LETTERS = 256
OTHER_NAMES = "(other)"


class _Counter:
    kind = "counter"

    def __init__(self, labels: Sequence[str]):
        self._labels = labels
        self._values: dict[tuple[str, ...], int] = {}

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + amount

    def total(self) -> int:
        return sum(self._values.values())

    def lines(self, name: str) -> list[str]:
        return [f"{name}{{{_join(self._labels, labels)}}} {value}" for labels, value in self._values.items()]


class _Histogram:
    kind = "histogram"

    def __init__(self, labels: Sequence[str], limits: tuple[float, ...]):
        self._labels = labels
        self._limits = limits
        self._shown_limits = [*(f"{limit:g}" for limit in limits), "+Inf"]
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], value: float) -> None:
        counts = self._counts.setdefault(labels, [0] * (len(self._limits) + 1))
        counts[bisect.bisect_right(self._limits, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self, name: str) -> list[str]:
        lines = []
        for labels, counts in self._counts.items():
            shown = _join(self._labels, labels)
            prefix = shown + "," if shown else ""
            total = 0
            for limit, count in zip(self._shown_limits, counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{prefix}le="{limit}"}} {total}')
            lines.append(f"{name}_sum{{{shown}}} {self._sums[labels]:g}")
            lines.append(f"{name}_count{{{shown}}} {total}")
        return lines


class Metrics:
    """All counters of a server, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = _Counter(("model_name", "status"))
        self._request_latency = _Histogram(("model_name", "API", "entrypoint"), _LATENCIES)
        self._runtime_latency = _Histogram(("model_name", "API", "runtime"), _LATENCIES)
        self._example_counts = _Histogram(("model",), _COUNTS)
        self._example_total = _Counter(("model",))
        self._queuing = _Histogram(("thread_pool_name",), _LATENCIES)
        self._wrapped_runs = _Counter(())
        self._names: set[str] = set()
        self._by_name: dict[str, _Counter | _Histogram] = {
            "/tensorflow/serving/batching_session/queuing_latency": self._queuing,
            "/tensorflow/serving/batching_session/wrapped_run_count": self._wrapped_runs,
            "/tensorflow/serving/request_count": self._requests,
            "/tensorflow/serving/request_example_count_total": self._example_total,
            "/tensorflow/serving/request_example_counts": self._example_counts,
            "/tensorflow/serving/request_latency": self._request_latency,
            "/tensorflow/serving/runtime_latency": self._runtime_latency,
        }

    def record_request(self, model: str, status: str) -> None:
        """Count a call with the name of its code; names that were never answered are limited in number."""
        with self._lock:
            if model not in self._names:
                is_one_more = len(self._names) < _MOST_NAMES and len(model) <= _MOST_LETTERS
                if status == "OK" or is_one_more:
                    self._names.add(model)
                else:
                    model = OTHER_NAMES
            self._requests.add((model, status))

    def record_latency(self, model: str, api: str, entrypoint: str, seconds: float) -> None:
        """Keep the time of a call that succeeded."""
        with self._lock:
            self._request_latency.add((model, api, entrypoint), seconds * 1e6)

    def record_runtime(self, model: str, api: str, seconds: float) -> None:
        """Keep the time of a run of the session, with what waits before it."""
        with self._lock:
            self._runtime_latency.add((model, api, "TF1"), seconds * 1e6)

    def record_examples(self, model: str, count: int) -> None:
        """Count the examples of a request."""
        with self._lock:
            self._example_counts.add((model,), count)
            self._example_total.add((model,), count)

    def record_batch(self, pool: str, queued_seconds: Sequence[float]) -> None:
        """Count a batch, and keep how long each of its requests was queued."""
        with self._lock:
            self._wrapped_runs.add(())
            for seconds in queued_seconds:
                self._queuing.add((pool,), seconds * 1e6)

    def totals(self) -> dict[str, int]:
        """Return the sums of all counters by their names."""
        with self._lock:
            return {
                name: metric.total() for name, metric in self._by_name.items() if isinstance(metric, _Counter)
            }

    def page(self) -> str:
        """Return the text for Prometheus."""
        lines = []
        with self._lock:
            for name, metric in self._by_name.items():
                shown = re.sub("[^a-zA-Z0-9_]", ":", name)
                lines += [f"# TYPE {shown} {metric.kind}", *metric.lines(shown)]
        return "\n".join(lines) + "\n"


def _join(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
