"""A standalone Spark cluster on this machine with Beam's job server: a master and two workers, no Docker.

    python -m benchmarks.spark_cluster FOLDER        fetches the jars with Maven, starts all of it, prints the
                                                     job server's address, and runs until it is interrupted

The folder is Spark's home: every process, executors too, has the jars of `FOLDER/jars`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

POM = Path(__file__).with_name("spark_pom.xml")
HOST = "127.0.0.1"
_START_SECS = 180
# Spark reaches into these packages of Java 17.
_OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio"),
        *("java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
        *("sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"),
    )
]
# Java compiles its code once: short jobs spend most of their time on that.
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def fetch_jars(folder: Path) -> Path:
    """Fetch Spark and Beam's job server with Maven if they are not there; returns their folder."""
    jars = folder / "jars"
    done = folder / "fetched"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = [f"-DoutputDirectory={jars}", f"-DbuildDirectory={folder}"]
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", *options]
        maven = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if maven.returncode:
            raise SystemExit(
                f"{' '.join(command)}: exit code {maven.returncode}; its last lines:\n{_cut(maven.stdout)}"
            )
        done.touch()
    return jars


def pick_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class SparkCluster:
    """A master, workers and Beam's job server.

    Attributes:
        endpoint: The job server's address.
        processes: All processes by name: `master`, `worker-0`, ..., `job-server`.

    Args:
        folder: Holds the jars, logs and working files.
        workers: Number of workers, each with one core.
        memory: Of each worker, as Spark writes it.
        keeps_executors: Whether all jobs have the same executors. Without it each job starts new ones, as
            Beam's job server does by default: 25 seconds on two cores instead of 4.
    """

    def __init__(self, folder: Path, workers: int = 2, memory: str = "1g", keeps_executors: bool = True):
        self._folder = folder
        self._jars = fetch_jars(folder)
        self._memory = memory
        self._properties = {
            "spark.ui.enabled": "false",
            "spark.executor.extraJavaOptions": " ".join(_QUICK),
            # A switch of Beam's own tests.
            "beam.spark.test.reuseSparkContext": str(keeps_executors).lower(),
        }
        master, jobs = pick_port(), pick_port()
        self._master = f"spark://{HOST}:{master}"
        self.endpoint = f"{HOST}:{jobs}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._start_all(workers, master, jobs)
        except BaseException:
            self.stop()
            raise

    def _start_all(self, workers: int, master: int, jobs: int) -> None:
        options = ["--host", HOST, "--port", str(master), "--webui-port", str(pick_port())]
        self._start("master", "org.apache.spark.deploy.master.Master", options)
        self._wait_for("master", master)
        for number in range(workers):
            self.start_worker(number)
        options = [f"--spark-master-url={self._master}", f"--job-host={HOST}", f"--job-port={jobs}"]
        options += [
            "--artifact-port=0",
            "--expansion-port=0",
            f"--artifacts-dir={self._folder / 'artifacts'}",
        ]
        self._start("job-server", "org.apache.beam.runners.spark.SparkJobServerDriver", options)
        self._wait_for("job-server", jobs)

    def _wait_for(self, name: str, port: int) -> None:
        """Wait until a process answers at its port.

        Raises:
            SystemExit: It ended, or does not answer; the message has the last lines of its log.
        """
        ends = time.monotonic() + _START_SECS
        while True:
            try:
                with socket.create_connection((HOST, port), 1):
                    return
            except OSError as e:
                code = self.processes[name].poll()
                if code is None and time.monotonic() < ends:
                    time.sleep(0.2)
                    continue
                what = f"no answer at port {port}" if code is None else f"exit code {code}"
                log = self._folder / f"{name}.log"
                raise SystemExit(f"{name}: {what}; the last lines of {log}:\n{_cut(log.read_bytes())}") from e

    def start_worker(self, number: int) -> None:
        """Start a worker; one of that number must not run."""
        options = ["--cores", "1", "--memory", self._memory, "--host", HOST, "--webui-port", str(pick_port())]
        options += ["--work-dir", str(self._folder / f"work-{number}"), self._master]
        name = "org.apache.spark.deploy.worker.Worker"
        self._start(f"worker-{number}", name, options)

    def list_workers(self) -> list[str]:
        """Return the names of the workers."""
        return [name for name in self.processes if name.startswith("worker-")]

    def kill_worker(self, number: int) -> None:
        """Kill a worker and its executors at once, as when its machine fails."""
        process = self.processes[f"worker-{number}"]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_executors(self, number: int, what: str = "") -> int:
        """Kill processes that a worker has started, and starts again; return how many there were.

        Args:
            number: The worker's.
            what: A part of their command line.
        """
        killed = 0
        for process in psutil.Process(self.processes[f"worker-{number}"].pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if what in " ".join(process.cmdline()):
                    process.kill()
                    killed += 1
        return killed

    def cpu_seconds(self) -> float:
        """Return the seconds of CPU of the processes, and of those that they started."""
        found = 0.0
        for started in self.processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                family = psutil.Process(started.pid)
                for process in (family, *family.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        times = process.cpu_times()
                        found += times.user + times.system + times.children_user + times.children_system
        return found

    def _start(self, name: str, main: str, options: Sequence[str]) -> None:
        properties = [f"-D{key}={value}" for key, value in self._properties.items()]
        command = [
            "java",
            "-Xmx512m",
            *_QUICK,
            *_OPENS,
            *properties,
            "-cp",
            f"{self._jars}/*",
            main,
            *options,
        ]
        environment = {
            **os.environ,
            "SPARK_HOME": str(self._folder),
            "SPARK_SCALA_VERSION": "2.12",
            "SPARK_LOCAL_IP": HOST,
        }
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def stop(self) -> None:
        """End all processes; executors end with their worker."""
        for process in reversed(self.processes.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _cut(log: bytes) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.decode("utf-8", "replace").splitlines()[-20:])


@contextlib.contextmanager
def spark_cluster(folder: Path, keeps_executors: bool = True) -> Iterator[SparkCluster]:
    """Yield a running cluster, and stop it."""
    cluster = SparkCluster(folder.absolute(), keeps_executors=keeps_executors)
    try:
        yield cluster
    finally:
        cluster.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), spark_cluster(Path(sys.argv[1])) as running:
        print(running.endpoint, flush=True)
        signal.pause()
