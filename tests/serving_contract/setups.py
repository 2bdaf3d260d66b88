"""How the servers are started that the cases ask: TF Serving's own flags and text files.

`write_folder` writes the models and all files; a server that has the folder under another path, such as in a
container, needs that path in its files.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

MAIN_CONFIG = """\
model_config_list {
  config { name: "half_plus_two" base_path: "{seen}/models/half_plus_two" model_platform: "tensorflow" }
  config {
    name: "two_versions" base_path: "{seen}/models/two_versions" model_platform: "tensorflow"
    model_version_policy { all {} }
    version_labels { key: "stable" value: 123 }
    version_labels { key: "canary" value: 124 }
    version_labels { key: "with space" value: 123 }
  }
  config { name: "half plus three" base_path: "{seen}/models/half_plus_three" model_platform: "tensorflow" }
  config {
    name: "half_plus_two_tf2" base_path: "{seen}/models/half_plus_two_tf2" model_platform: "tensorflow"
  }
  config { name: "classes" base_path: "{seen}/models/classes" model_platform: "tensorflow" }
  config { name: "counter" base_path: "{seen}/models/counter" model_platform: "tensorflow" }
  config { name: "values" base_path: "{seen}/models/values" model_platform: "tensorflow" }
  config { name: "image" base_path: "{seen}/models/image" model_platform: "tensorflow" }
  config { name: "multi" base_path: "{seen}/models/multi" model_platform: "tensorflow" }
  config { name: "never" base_path: "{seen}/models/never" model_platform: "tensorflow" }
  config { name: "growing" base_path: "{seen}/models/growing" model_platform: "tensorflow" }
  config { name: "latest" base_path: "{seen}/models/versions" model_platform: "tensorflow" }
  config {
    name: "latest_empty" base_path: "{seen}/models/versions" model_platform: "tensorflow"
    model_version_policy { latest {} }
  }
  config {
    name: "latest_two" base_path: "{seen}/models/versions" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
  }
  config {
    name: "specific" base_path: "{seen}/models/versions" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 3 versions: 7 } }
  }
  config {
    name: "all" base_path: "{seen}/models/versions" model_platform: "tensorflow"
    model_version_policy { all {} }
  }
}
"""

_OPTIONS_CONFIG = """\
model_config_list {
  config { name: "half_plus_two" base_path: "{seen}/models/half_plus_two" model_platform: "tensorflow" }
  config { name: "values" base_path: "{seen}/models/values" model_platform: "tensorflow" }
  config { name: "multi" base_path: "{seen}/models/multi" model_platform: "tensorflow" }
  config { name: "classes" base_path: "{seen}/models/classes" model_platform: "tensorflow" }
  {more}
}
"""
MORE = 'config { name: "more" base_path: "{seen}/models/half_plus_three" model_platform: "tensorflow" }'
METRICS = "/monitoring/prometheus/metrics"


def make_options_config(more: str = "") -> str:
    """Return the configuration of the setup `options`, with one more model or none."""
    return _OPTIONS_CONFIG.replace("{more}", more)


FILES = {
    "main.config": MAIN_CONFIG,
    "options.config": make_options_config(),
    "monitoring.config": f'prometheus_config {{ enable: true path: "{METRICS}" }}\n',
    "batching.config": "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 1000 }\n"
    "max_enqueued_batches { value: 100 }\nnum_batch_threads { value: 2 }\n",
}

# The flags of each setup besides the ports.
SETUPS: dict[str, tuple[str, ...]] = {
    "main": (
        "--model_config_file={seen}/main.config",
        "--monitoring_config_file={seen}/monitoring.config",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_grpc_healthcheck_service=true",
        "--max_num_load_retries=0",
    ),
    "plain": ("--model_name=half_plus_two", "--model_base_path={seen}/models/half_plus_two"),
    "options": (
        "--model_config_file={seen}/options.config",
        "--model_config_file_poll_wait_seconds=1",
        "--enable_batching=true",
        "--batching_parameters_file={seen}/batching.config",
        "--enable_cors_support=true",
        "--enable_serialization_as_tensor_content=true",
        "--enable_signature_method_name_check=true",
        "--ssl_config_file={seen}/ssl.config",
    ),
}


def make_flags(setup: str, seen: str) -> list[str]:
    """Return a setup's flags for a server that sees the contract's folder at `seen`."""
    return [flag.replace("{seen}", seen) for flag in SETUPS[setup]]


def write_folder(folder: Path, seen: str | None = None) -> None:
    """Write the models, the configurations and the certificates into a new folder.

    Args:
        folder: The folder; what is in it is removed.
        seen: Its path as the server sees it; the folder itself when None.
    """
    from tests.serving_contract.models import write_models

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_models(folder / "models")
    shutil.copytree(folder / "models", folder / "kept")
    seen = seen or str(folder.resolve())
    (folder / "seen").write_text(seen, encoding="utf-8")
    for name, text in FILES.items():
        (folder / name).write_text(text.replace("{seen}", seen), encoding="utf-8")
    _write_certificates(folder)


def _write_certificates(folder: Path) -> None:
    """Write a certificate for localhost with its key, and TF Serving's file with both as texts."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt")]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    lines = []
    for field, name in (("server_key", "server.key"), ("server_cert", "server.crt")):
        text = (folder / name).read_text(encoding="utf-8").replace("\n", "\\n")
        lines.append(f'{field}: "{text}"\n')
    (folder / "ssl.config").write_text("".join([*lines, "client_verify: false\n"]), encoding="utf-8")
